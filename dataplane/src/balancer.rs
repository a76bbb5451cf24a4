//! Pure. Which backend a session goes to. A forward has one of these per process; what it knows of
//! a backend is kept when the forward changes, by target, address and the right to go there.
//!
//! ```text
//!  outcomes ─► health of each backend ─┐
//!  forward, place ─► who takes new, who is near ─► arrange ─► priorities ─► groups ─► pick
//! ```
//!
//! All that depends on the number of backends is done when something changes; a pick only looks
//! at a few of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use tcpforward_protocol::snapshot::{BackendLimits, Forward, HealthCheck, Relay};

use crate::balancer::arrange::Arranged;
use crate::balancer::backend::Backend;
use crate::balancer::entry::{Entry, Gone, Key};
use crate::balancer::failover::Failover;
use crate::balancer::freed::Freed;
use crate::balancer::group::Group;
use crate::balancer::health::Standing;
use crate::balancer::outcome::{Observed, Outcome};
use crate::place::{Place, Share};

pub mod account;
mod arrange;
mod ask;
pub mod backend;
mod bag;
mod condition;
mod draw;
mod ejection;
mod entry;
mod failover;
mod freed;
mod group;
mod hashed;
pub mod health;
mod latency;
mod listing;
mod maglev;
pub mod outcome;
mod pick;
pub mod request;
mod round_robin;
mod schedule;
mod topology;

/// A forward with more backends than that is not arranged anew for each one that changes, which
/// takes milliseconds with 10,000 of them and holds up every pick. Whoever is left out is skipped at
/// once; all else that follows from it waits for the next tick.
const AT_ONCE: usize = 256;

/// Chooses backends for the sessions of one forward.
#[derive(Debug, Default)]
pub struct Balancer {
    /// Every backend of every target; an id is an index of these, until the next update.
    entries: Vec<Entry>,
    /// No backends any more, but with sessions: whoever comes back goes on as it was.
    gone: HashMap<Key, Gone>,
    rules: Option<Arc<Rules>>,
    failover: Failover,
    /// In step with the levels of `failover`.
    groups: Vec<Group>,
    arranged: Arranged,
    /// What was learned since it was arranged waits for `tick`.
    is_stale: bool,
    /// Told by those that were full.
    freed: Arc<Freed>,
    /// For the length of ejections.
    rng: Option<Rng>,
    /// The latest turn of round robin.
    turn: u64,
    #[cfg(test)]
    looks: usize,
    #[cfg(test)]
    arrangements: usize,
}

/// What the forward says, as far as it concerns the balancer.
#[derive(Clone, Debug)]
struct Rules {
    relay: Relay,
    limit: Option<Limit>,
}

/// Open sessions of a backend.
#[derive(Clone, Copy, Debug)]
struct Limit {
    pool: u32,
    share: Share,
}

impl Limit {
    /// Our part, of the backend with that hash. Each pod has room on some backends, even where
    /// there are more pods than a backend may have sessions.
    fn of(self, hash: u64) -> u64 {
        u64::from(self.share.turned(hash).part(self.pool))
    }
}

impl Rules {
    fn new(relay: &Relay, place: &Place) -> Self {
        let limit = |limits: &BackendLimits| Limit {
            pool: limits.connections.get(),
            share: place.share(),
        };
        Self {
            relay: relay.clone(),
            limit: relay.backend_limits.as_ref().map(limit),
        }
    }

    fn health(&self) -> &HealthCheck {
        &self.relay.health_check
    }
}

impl Balancer {
    /// Takes a forward's targets and backends as seen from `place`, keeping the state of those
    /// that stay. `seed` is for what is left to chance: where turns begin, how long ejections last.
    pub fn update(&mut self, forward: &Forward, place: &Place, now: Instant, seed: u64) {
        self.rng.get_or_insert_with(|| Rng::with_seed(seed));
        let relay = &forward.spec.relay;
        let rules = Rules::new(relay, place);
        self.list(forward, place, now, seed);
        if let Some(before) = &self.rules {
            let here = self.entries.iter_mut().map(|entry| &mut entry.health);
            let gone = self.gone.values_mut().map(|gone| &mut gone.health);
            for health in here.chain(gone) {
                health.adopt(before.health(), rules.health());
            }
        }
        self.rules = Some(Arc::new(rules));
        let _ = self.arrange(now);
    }

    /// Takes what was learned of a backend.
    pub fn observe(&mut self, backend: &Arc<Backend>, outcome: Outcome, now: Instant) -> Observed {
        backend.count(&outcome);
        let (Some(id), Some(rules)) = (self.id(backend), &self.rules) else {
            return Observed::Same;
        };
        let Some(entry) = self.entries.get_mut(id) else {
            return Observed::Same;
        };
        match &outcome {
            Outcome::DialFailed(_) => entry.latency.failed(now),
            Outcome::Reached { connect } => entry.latency.reached(*connect, now),
            _ => {}
        }
        let before = entry.health.standing();
        let wanted = entry.health.hear(outcome, rules.health(), now);
        if let Some(cause) = wanted {
            self.eject(id, cause, now);
        }
        self.settle(id, before, now)
    }

    /// Does what is due by time alone.
    pub fn tick(&mut self, now: Instant) -> Observed {
        if !self.is_stale && self.arranged.due.is_none_or(|due| now < due) {
            return Observed::Same;
        }
        let Some(rules) = &self.rules else {
            return Observed::Same;
        };
        for entry in &mut self.entries {
            let before = entry.health.standing();
            entry.health.tick(rules.health(), now);
            if before == Standing::Probation && entry.health.standing() == Standing::Usable {
                entry.start_slowly(now);
            }
        }
        self.arrange(now)
    }

    /// All backends, in no order.
    pub fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.entries.iter().map(|entry| &entry.backend)
    }

    /// Of this very record: another one of that name knows nothing of what this one did.
    fn id(&self, backend: &Arc<Backend>) -> Option<usize> {
        let id = backend.id();
        let is_same = |entry: &&Entry| Arc::ptr_eq(&entry.backend, backend);
        self.entries.get(id).filter(is_same).map(|_| id)
    }

    /// Puts into force what was learned of one.
    fn settle(&mut self, id: usize, before: Standing, now: Instant) -> Observed {
        let (Some(entry), Some(rules)) = (self.entries.get_mut(id), &self.rules) else {
            return Observed::Same;
        };
        let after = entry.health.standing();
        if before == after {
            // A trial that gets through sets a time at which it has proved enough.
            let due = [self.arranged.due, entry.health.due(rules.health())];
            self.arranged.due = due.into_iter().flatten().min();
            return Observed::from(entry.show());
        }
        if after == Standing::Usable {
            entry.start_slowly(now);
        }
        let _ = entry.show();
        if self.entries.len() > AT_ONCE {
            self.recount(id, before);
            self.is_stale = true;
        } else {
            let _ = self.arrange(now);
        }
        Observed::Changed
    }
}

#[cfg(test)]
mod tests;
