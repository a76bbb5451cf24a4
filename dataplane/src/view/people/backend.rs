//! Pure. One backend of one forward, for people.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;
use tcpforward_protocol::snapshot::{BackendState, TakesNew};

use crate::balancer::account::{Account, CheckAccount};
use crate::balancer::backend::REASONS;
use crate::served::DialResult;
use crate::view::people::Moment;

/// One backend. What is absent does not apply, or is not known.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendView {
    /// Name of its target.
    pub target: String,
    /// ip:port
    pub address: SocketAddr,
    /// As the EndpointSlices say.
    pub state: &'static str,
    /// Whether new sessions may go there.
    pub takes_new: bool,
    /// What its health means for new sessions.
    pub standing: &'static str,
    /// How it stands with the sessions that it has.
    pub condition: &'static str,
    /// Since when, in Unix milliseconds.
    pub condition_since_ms: u64,
    /// When its ejection is over, in Unix milliseconds.
    pub ejected_until_ms: Option<u64>,
    /// The latest check.
    pub check: Option<CheckView>,
    /// How long it takes to be reached, by the latest dials.
    pub latency_ms: Option<f64>,
    /// Its part of all new sessions, from 0 to 1, before a slow start takes from it.
    pub share: f64,
    /// Sessions at present.
    pub open: u64,
    /// Sessions that it may have here.
    pub limit: Option<u64>,
    /// Sessions since it is known.
    pub total: u64,
    /// Dials that reached it.
    pub reached: u64,
    /// Failures by reason; those that never came are left out.
    pub failed: BTreeMap<&'static str, u64>,
    /// Times that it was ejected.
    pub ejections: u64,
    /// Bytes to it.
    pub up_bytes: u64,
    /// Bytes from it.
    pub down_bytes: u64,
    /// What failed last: the check that leaves it out, else the latest dial.
    pub failing: Option<String>,
    /// Unix milliseconds of the first failure in a row.
    pub failing_since_ms: Option<u64>,
}

/// The latest check of a backend.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckView {
    /// What came of it.
    pub result: &'static str,
    /// The latest failure, until the verdict is good.
    pub error: Option<String>,
    /// Unix milliseconds of the first failure in a row.
    pub failing_since_ms: Option<u64>,
}

impl BackendView {
    pub(super) fn new(account: Account, moment: &Moment) -> Self {
        let backend = &account.backend;
        let counts = backend.counts();
        let (condition, since) = backend.condition();
        let failing = backend.failing();
        let words = REASONS.iter().map(|r| DialResult::Failed(*r).word());
        let failed = words.zip(counts.failed).filter(|(_, n)| *n > 0);
        Self {
            target: backend.target.to_string(),
            address: backend.address,
            state: match account.state {
                BackendState::NotReady => "NotReady",
                BackendState::Ready => "Ready",
                BackendState::Terminating => "Terminating",
            },
            takes_new: account.takes_new == TakesNew::Yes,
            standing: account.standing.word(),
            condition: condition.word(),
            condition_since_ms: moment.date(since),
            ejected_until_ms: account.ejected_until.map(|at| moment.date(at)),
            check: account.check.map(CheckView::new),
            latency_ms: account
                .latency
                .map(|latency| latency.as_secs_f64() * 1000.0),
            share: account.share,
            open: counts.open,
            limit: account.limit,
            total: counts.total,
            reached: counts.reached,
            failed: failed.collect(),
            ejections: counts.ejections,
            up_bytes: counts.up,
            down_bytes: counts.down,
            failing_since_ms: failing.as_ref().map(|f| f.since_ms),
            failing: failing.map(|f| f.message),
        }
    }
}

impl CheckView {
    fn new(check: CheckAccount) -> Self {
        Self {
            result: check.result.word(),
            failing_since_ms: check.failing.as_ref().map(|f| f.since_ms),
            error: check.failing.map(|f| f.message),
        }
    }
}
