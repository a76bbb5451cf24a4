//! Pure. Which backends the pool reaches: `BackendsAvailable` and the counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use k8s_openapi::jiff::Timestamp;
use tcpforward_protocol::answer::{DialError, FailingBackend};
use tcpforward_protocol::snapshot::{Backend, Forward, TakesNew};
use tcpforward_protocol::{BACKENDS_BYTES, BACKENDS_PER_FORWARD};

use super::{
    BACKENDS_AVAILABLE, NO_ENDPOINTS, NO_HEALTHY_BACKEND, NOT_LOOKED_AT, PoolView, Verdict,
    bounded, seconds, whole,
};
use crate::compile::Outcome;
use crate::crd::TcpForwardStatus;
use crate::crd::status::{Backends, UnhealthyBackend};

pub(super) struct Reached {
    pub(super) verdict: Verdict,
    pub(super) counts: Option<Backends>,
}

pub(super) fn look(
    outcome: &Outcome,
    pool: &PoolView,
    former: Option<&TcpForwardStatus>,
) -> Reached {
    let Some(forward) = &outcome.forward else {
        return Reached {
            verdict: Verdict::unknown(BACKENDS_AVAILABLE, NOT_LOOKED_AT),
            counts: None,
        };
    };
    if let Some(kept) = former.filter(|_| pool.members.is_empty()).and_then(kept) {
        return kept;
    }
    let unhealthy = unhealthy(forward, pool);
    let total = candidates(forward).count();
    let healthy = total - unhealthy.len();
    Reached {
        verdict: verdict(outcome, forward, &unhealthy),
        counts: Some(Backends {
            total: whole(total),
            healthy: whole(healthy),
            ejected: 0,
            summary: format!("{healthy}/{total}"),
            unhealthy: unhealthy.values().take(UNHEALTHY).cloned().collect(),
        }),
    }
}

/// What a former lease holder said, until there is someone to ask.
fn kept(former: &TcpForwardStatus) -> Option<Reached> {
    Some(Reached {
        verdict: Verdict::of(BACKENDS_AVAILABLE, former)?,
        counts: former.backends.clone(),
    })
}

fn candidates(forward: &Forward) -> impl Iterator<Item = &Backend> {
    forward
        .backends
        .iter()
        .filter(|backend| backend.takes_new == TakesNew::Yes)
}

type Unhealthy<'a> = BTreeMap<(&'a str, SocketAddr), UnhealthyBackend>;

/// Those that more than half of the pool fails to reach: one pod with a broken network says
/// nothing about a backend.
fn unhealthy<'a>(forward: &'a Forward, pool: &PoolView) -> Unhealthy<'a> {
    let mut reports: BTreeMap<(&str, SocketAddr), Vec<&FailingBackend>> = BTreeMap::new();
    for member in &pool.members {
        // One vote for each member, however often it names a backend.
        let said = member.failing.iter();
        let said: BTreeMap<_, _> = said.map(|f| ((f.target.as_str(), f.address), f)).collect();
        for (key, failing) in said {
            reports.entry(key).or_default().push(failing);
        }
    }
    candidates(forward)
        .filter_map(|backend| {
            let key = (backend.target.as_str(), backend.address);
            let reports = reports.get(&key)?;
            let earliest = reports.iter().min_by_key(|report| report.since_ms)?;
            let most = reports.len() * 2 > pool.members.len();
            most.then(|| (key, described(earliest)))
        })
        .collect()
}

fn described(failing: &FailingBackend) -> UnhealthyBackend {
    let (reason, hint) = match failing.reason {
        DialError::Other => ("DialFailed", "look at the data plane's log"),
        DialError::Refused => ("ConnectionRefused", "does the server listen on this port?"),
        DialError::Reset => (
            "EarlyReset",
            "does the server accept this client and protocol?",
        ),
        DialError::Unexpected => (
            "UnexpectedAnswer",
            "is the server well, and does the check ask what it understands?",
        ),
        DialError::Timeout => ("DialTimeout", "does a NetworkPolicy or a firewall drop it?"),
        DialError::Unreachable => ("Unreachable", "is there a route to this address?"),
    };
    let since = i64::try_from(failing.since_ms).unwrap_or_default();
    let message: String = failing.message.chars().take(MESSAGE_CHARS).collect();
    UnhealthyBackend {
        target: failing.target.clone(),
        address: failing.address.to_string(),
        reason: reason.to_owned(),
        message: bounded(format!("{message}; {hint}")),
        since: seconds(Timestamp::from_millisecond(since).unwrap_or_default()),
    }
}

fn verdict(outcome: &Outcome, forward: &Forward, unhealthy: &Unhealthy<'_>) -> Verdict {
    let bad = |reason, message: String| Verdict::bad(BACKENDS_AVAILABLE, reason, message);
    let total = candidates(forward).count();
    let targets = &forward.spec.relay.targets;
    if total == 0 {
        let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        return bad(
            NO_ENDPOINTS,
            format!(
                "no endpoint takes new sessions; are the Services' pods Ready, and do the \
                 selectors match them? targets: {}",
                names.join(", ")
            ),
        );
    }
    if targets.iter().all(|target| target.weight == 0) {
        let message = "every target has weight 0, so there are no new sessions; give one a weight";
        return bad(NO_ENDPOINTS, message.to_owned());
    }
    let weighted = |backend: &&Backend| {
        targets
            .iter()
            .any(|target| target.name == backend.target && target.weight > 0)
    };
    let fine =
        |backend: &Backend| !unhealthy.contains_key(&(backend.target.as_str(), backend.address));
    let healthy = total - unhealthy.len();
    if candidates(forward).filter(weighted).any(fine) {
        let cut = match outcome.left_out {
            0 => String::new(),
            n => format!(
                "; {n} more are left out: one forward holds at most {BACKENDS_PER_FORWARD} or {} \
                 MiB of them; spread them over several",
                BACKENDS_BYTES >> 20
            ),
        };
        let message = format!("{healthy} of {total} backends are healthy{cut}");
        return Verdict::good(BACKENDS_AVAILABLE, message);
    }
    match unhealthy.values().next() {
        Some(first) => bad(
            NO_HEALTHY_BACKEND,
            format!(
                "no backend is reached; {} of target {}: {}",
                first.address, first.target, first.message
            ),
        ),
        None => bad(
            NO_ENDPOINTS,
            "only targets of weight 0 have endpoints; give one of them a weight".to_owned(),
        ),
    }
}

/// Entries of `status.backends.unhealthy` at most.
const UNHEALTHY: usize = 8;

/// Of a failure's own text, so that the hint behind it is not cut.
const MESSAGE_CHARS: usize = 180;
