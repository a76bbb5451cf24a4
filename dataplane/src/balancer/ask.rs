//! Pure. One pick under way: what is asked of each candidate.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use crate::balancer::Limit;
use crate::balancer::arrange::Bar;
use crate::balancer::draw::By;
use crate::balancer::entry::Entry;
use crate::balancer::health::Standing;
use crate::balancer::maglev;
use crate::balancer::request::Request;

/// A request, and what it is measured by.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) entries: &'a mut [Entry],
    pub(super) terms: Terms,
    pub(super) rng: &'a mut Rng,
    /// The latest turn that was given.
    pub(super) turn: &'a mut u64,
    /// Candidates that were looked at: a test counts them.
    pub(super) looks: usize,
}

/// What holds for each candidate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) limit: Option<Limit>,
    pub(super) slow_start: Option<Duration>,
    pub(super) probation: Probation,
    pub(super) bar: Bar,
}

/// Whether a session may go to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// This session can't, others may.
    NotNow,
    /// None may until it has room, or until all is arranged anew.
    Out,
    Yes,
}

/// Who may go to backends in probation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probation {
    /// Anybody: nobody better is left.
    Everyone,
    /// One at a time.
    Trials,
}

impl Ask<'_> {
    /// Whether this session may go there.
    pub(super) fn fit(&mut self, id: usize) -> Fit {
        self.looks += 1;
        let Some(entry) = self.entries.get(id) else {
            return Fit::Out;
        };
        if !self.terms.bar.passes(entry) || entry.has_no_room(self.terms.limit) {
            return Fit::Out;
        }
        let is_allowed = entry.health.standing() != Standing::Probation
            || self.terms.probation == Probation::Everyone
            || (self.request.priority.is_none() && !entry.is_on_trial());
        if is_allowed && !self.is_tried(id) {
            Fit::Yes
        } else {
            Fit::NotNow
        }
    }

    pub(super) fn is_tried(&self, id: usize) -> bool {
        let backend = self.entries.get(id).map(|e| &e.backend);
        let mut tried = self.request.tried.iter();
        tried.any(|b| backend.is_some_and(|backend| Arc::ptr_eq(b, backend)))
    }

    /// Whether it has as many sessions as it may have.
    pub(super) fn is_full(&self, id: usize) -> bool {
        let entry = self.entries.get(id);
        entry.is_some_and(|entry| entry.is_full(self.terms.limit))
    }

    /// Its open sessions, and its share of all of its priority.
    pub(super) fn load(&self, id: usize) -> (u64, f64) {
        let entry = self.entries.get(id);
        entry.map_or((0, 0.0), |e| (e.backend.open(), e.share))
    }

    /// By what two are compared. Nobody knows how near one is that was never dialled: until then
    /// it gets its share of sessions, not all of them.
    pub(super) fn comparable(&self, one: usize, other: usize, by: By) -> By {
        let is_known = |id: usize| self.entries.get(id).is_some_and(|e| e.latency.is_known());
        if is_known(one) && is_known(other) {
            by
        } else {
            By::Connections
        }
    }

    /// Of two, the one that costs less is better.
    pub(super) fn cost(&self, id: usize, by: By) -> f64 {
        let Some(entry) = self.entries.get(id) else {
            return f64::INFINITY;
        };
        let load = whole(entry.backend.open()) / (entry.share * self.speed(id));
        match by {
            By::Connections => load,
            // Load is by share, and with equal shares one session makes a load of `peers`.
            By::Latency => (load / entry.peers + 1.0) * entry.latency.at(self.request.now),
        }
    }

    /// How much of its share a backend takes that starts slowly; 1: all.
    fn speed(&self, id: usize) -> f64 {
        let entry = self.entries.get(id);
        entry.map_or(1.0, |e| e.speed(self.terms.slow_start, self.request.now))
    }

    /// Lets chance decide whether a backend that starts slowly takes this session.
    pub(super) fn is_up_to_speed(&mut self, id: usize) -> bool {
        let speed = self.speed(id);
        speed >= 1.0 || self.rng.f64() < speed
    }

    /// The same, but always the same for that client until it is up to speed.
    pub(super) fn is_up_to_speed_for(&self, id: usize, client: u64) -> bool {
        let name = self.entries.get(id).map_or(0, |e| e.hash);
        unit(maglev::mix(client ^ name)) < self.speed(id)
    }

    /// Sends a backend to the end.
    pub(super) fn new_turn(&mut self, id: usize) -> u64 {
        *self.turn += 1;
        if let Some(entry) = self.entries.get_mut(id) {
            entry.turn = *self.turn;
        }
        *self.turn
    }
}

/// From 0 to below 1.
pub(super) fn unit(hash: u64) -> f64 {
    whole(hash >> 11) / whole(1 << 53)
}

/// Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(super) fn whole(count: u64) -> f64 {
    count as f64
}
