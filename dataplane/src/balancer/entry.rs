//! Pure. What the balancer holds of one backend, beside what sessions share.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tcpforward_protocol::answer::LeftOut;
use tcpforward_protocol::snapshot::{self, BackendState, Origin, ServiceName, TakesNew};

use crate::balancer::Limit;
use crate::balancer::backend::{Backend, Condition};
use crate::balancer::health::{Health, Standing};
use crate::balancer::latency::Latency;
use crate::balancer::maglev;
use crate::balancer::request::Trial;

/// A backend that starts slowly begins with so much of its share.
const FIRST_SPEED: f64 = 0.1;

/// The name of a backend within its forward. An address that a target has by another namespace's leave,
/// or by another one's word, is not what it is by another right.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) target: Arc<str>,
    pub(super) address: SocketAddr,
    pub(super) origin: Origin,
    pub(super) granted: Option<Arc<ServiceName>>,
}

impl Key {
    /// Of an address that is the author's own word.
    pub(super) fn by_author(target: Arc<str>, address: SocketAddr) -> Self {
        Self {
            target,
            address,
            origin: Origin::Author,
            granted: None,
        }
    }

    pub(super) fn of(backend: &Backend) -> Self {
        Self {
            target: Arc::clone(&backend.target),
            address: backend.address,
            origin: backend.origin,
            granted: backend.granted.clone(),
        }
    }
}

/// What is kept of one that is no backend any more.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) backend: Weak<Backend>,
    pub(super) health: Health,
    latency: Latency,
}

/// One backend of the forward.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) backend: Arc<Backend>,
    /// Index of its target.
    pub(super) target: usize,
    /// Of its name, the same everywhere.
    pub(super) hash: u64,
    pub(super) state: BackendState,
    pub(super) takes_new: TakesNew,
    /// Topology prefers it.
    pub(super) is_near: bool,
    pub(super) health: Health,
    pub(super) latency: Latency,
    /// Its turn in round robin.
    pub(super) turn: u64,
    /// Its place in the bag that it is drawn from; absent: it is out of it.
    pub(super) place: Option<usize>,
    /// Of the sessions of its priority, or of those that find no near one; 0: it gets none.
    pub(super) share: f64,
    /// It is far, and only for sessions that find no near one.
    pub(super) is_spare: bool,
    /// How many share those sessions, itself included.
    pub(super) peers: f64,
    /// A session that fails elsewhere could go there.
    pub(super) is_choice: bool,
    /// Since when it takes sessions, if it starts slowly.
    starts: Option<Instant>,
    trial: Weak<()>,
}

impl Entry {
    pub(super) fn new(backend: Arc<Backend>, target: usize, starts: Option<Instant>) -> Self {
        let address = backend.address.to_string();
        let hash = maglev::hash(backend.target.as_bytes().iter().chain(address.as_bytes()));
        Self {
            backend,
            target,
            hash,
            state: BackendState::Ready,
            takes_new: TakesNew::Yes,
            is_near: true,
            health: Health::default(),
            latency: Latency::default(),
            turn: 0,
            place: None,
            share: 0.0,
            is_spare: false,
            peers: 1.0,
            is_choice: false,
            starts,
            trial: Weak::new(),
        }
    }

    pub(super) fn into_gone(self) -> Gone {
        Gone {
            backend: Arc::downgrade(&self.backend),
            health: self.health,
            latency: self.latency,
        }
    }

    /// The same backend, back again.
    pub(super) fn going_on_from(self, gone: Gone) -> Self {
        let mut health = gone.health;
        health.come_back();
        Self {
            health,
            latency: gone.latency,
            ..self
        }
    }

    /// Takes what Kubernetes says; one that takes new sessions again starts slowly.
    pub(super) fn list(&mut self, listed: &snapshot::Backend, target: usize, now: Instant) {
        if self.takes_new == TakesNew::No && listed.takes_new == TakesNew::Yes {
            self.starts = Some(now);
        }
        self.target = target;
        self.state = listed.state;
        self.takes_new = listed.takes_new;
    }

    pub(super) fn start_slowly(&mut self, now: Instant) {
        self.starts = Some(now);
    }

    /// How much of its share it takes, from a tenth to all.
    pub(super) fn speed(&self, slow_start: Option<Duration>, now: Instant) -> f64 {
        let (Some(window), Some(since)) = (slow_start, self.starts) else {
            return 1.0;
        };
        let age = now.saturating_duration_since(since);
        if age >= window {
            return 1.0;
        }
        FIRST_SPEED + (1.0 - FIRST_SPEED) * age.as_secs_f64() / window.as_secs_f64()
    }

    /// Whether it has as many sessions as it may have.
    pub(super) fn is_full(&self, limit: Option<Limit>) -> bool {
        limit.is_some_and(|limit| self.backend.open() >= limit.of(self.hash))
    }

    /// The same; if so, it is told when a session leaves it.
    pub(super) fn has_no_room(&self, limit: Option<Limit>) -> bool {
        if !self.is_full(limit) {
            return false;
        }
        self.backend.await_room();
        // Whoever left before that is seen here, whoever leaves after it tells.
        self.is_full(limit)
    }

    /// A session tries it. That goes on until it answers, if it is there for early resets.
    pub(super) fn is_on_trial(&self) -> bool {
        self.trial.strong_count() > 0 || self.health.awaits_answer()
    }

    /// The trial of a session that goes there now, if it is one.
    pub(super) fn try_out(&mut self) -> Option<Trial> {
        if self.health.standing() != Standing::Probation || self.is_on_trial() {
            return None;
        }
        let held = Arc::new(());
        self.trial = Arc::downgrade(&held);
        Some(Trial { _held: held })
    }

    /// What it means for the sessions that it has. Who takes new sessions only because nobody
    /// else is left is used, so it is no reason to end those that it has.
    pub(super) fn condition(&self, is_failed_back: bool) -> Condition {
        match (self.takes_new, self.state) {
            (TakesNew::No, BackendState::NotReady) => return Condition::NotReady,
            (TakesNew::No, BackendState::Terminating) => return Condition::Terminating,
            (TakesNew::No, BackendState::Ready) | (TakesNew::Yes, _) => {}
        }
        match self.health.left_out() {
            LeftOut::Ejected | LeftOut::Unhealthy if self.share == 0.0 => Condition::Unhealthy,
            _ if is_failed_back => Condition::FailedBack,
            _ => Condition::Usable,
        }
    }

    /// Shows how it is; true: that is news.
    pub(super) fn show(&self) -> bool {
        let health = &self.health;
        self.backend.show(health.left_out(), health.failing())
    }
}
