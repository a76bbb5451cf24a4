//! Pure. What the balancer thinks of each backend, for people and metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tcpforward_protocol::snapshot::{BackendState, TakesNew};

use crate::balancer::Balancer;
use crate::balancer::backend::{Backend, Failing};
use crate::balancer::entry::Entry;
use crate::balancer::health::Standing;

/// One backend, as of a moment.
#[derive(Clone, Debug)]
pub struct Account {
    /// Which.
    pub backend: Arc<Backend>,
    /// What Kubernetes says of it.
    pub state: BackendState,
    /// Whether it may be picked by that.
    pub takes_new: TakesNew,
    /// What its health means for new sessions.
    pub standing: Standing,
    /// When its ejection is over.
    pub ejected_until: Option<Instant>,
    /// What checks say; absent: none was made.
    pub check: Option<CheckAccount>,
    /// How long it takes to be reached: a peak EWMA. Absent: it never was.
    pub latency: Option<Duration>,
    /// Its part of all new sessions, from 0 to 1, before a slow start takes from it.
    pub share: f64,
    /// Sessions that it may have here.
    pub limit: Option<u64>,
}

/// What checks say of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckAccount {
    /// Of the latest check.
    pub result: CheckResult,
    /// The latest failure, until the verdict is good.
    pub failing: Option<Failing>,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// The backend is unfit.
    Failed,
    /// The backend is well.
    Passed,
    /// It could not be made, or this process did not run meanwhile.
    Unknown,
}

impl CheckResult {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 3] = [Self::Failed, Self::Passed, Self::Unknown];

    /// The word on pages, and the metric's label.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Passed => "passed",
            Self::Unknown => "unknown",
        }
    }
}

impl Standing {
    /// The word on pages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ejected => "Ejected",
            Self::Probation => "Probation",
            Self::Unhealthy => "Unhealthy",
            Self::Usable => "Usable",
        }
    }
}

impl Balancer {
    /// All backends, in the order of target and address.
    #[must_use]
    pub fn accounts(&self, now: Instant) -> Vec<Account> {
        let mut accounts: Vec<_> = self.entries.iter().map(|e| self.account(e, now)).collect();
        accounts.sort_by(|a, b| {
            let key =
                |account: &Account| (Arc::clone(&account.backend.target), account.backend.address);
            key(a).cmp(&key(b))
        });
        accounts
    }

    fn account(&self, entry: &Entry, now: Instant) -> Account {
        let rules = self.rules.as_ref();
        let target = rules.and_then(|rules| rules.relay.targets.get(entry.target));
        let limit = rules.and_then(|rules| rules.limit);
        let levels = self.failover.levels().iter();
        let of_level = target.and_then(|t| levels.clone().find(|l| l.number() == t.priority));
        Account {
            backend: Arc::clone(&entry.backend),
            state: entry.state,
            takes_new: entry.takes_new,
            standing: entry.health.standing(),
            ejected_until: entry.health.ejected_until(),
            check: entry.health.check(),
            latency: entry.latency.known_at(now),
            share: match of_level {
                Some(level) if !entry.is_spare => entry.share * level.share(),
                _ => 0.0,
            },
            limit: limit.map(|limit| limit.of(entry.hash)),
        }
    }

    /// Each priority, and its part of all new sessions, from 0 to 1.
    #[must_use]
    pub fn priorities(&self) -> Vec<(u32, f64)> {
        let levels = self.failover.levels().iter();
        levels
            .map(|level| (level.number(), level.share()))
            .collect()
    }
}
