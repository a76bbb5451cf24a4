//! Pure. One forward as this process serves it: what sessions read, and what they count.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use tcpforward_protocol::answer::ServedSpec;
use tcpforward_protocol::snapshot::{Forward, ForwardName, Host};

use crate::balancer::account::CheckResult;
use crate::balancer::backend::Backend;
use crate::balancer::outcome::{Observed, Outcome};
use crate::balancer::request::{NoPick, Picked, Request};
use crate::connect::tunnels::Tunnels;
use crate::dial::budget::Budget;
use crate::dial::queue::Queue;
use crate::hosts::found::{Found, FoundHosts};
use crate::limits::Limits;
use crate::place::Terms;
use crate::sessions::Sessions;

mod active;
mod admit;
mod balancing;
mod counts;
mod look;

pub use active::Active;
pub use admit::Admitted;
pub use counts::{CONNECT_SECONDS, DialResult, STATUSES, Totals};

use balancing::Balancing;
use counts::Counts;

/// A forward in service. Its configuration is swapped; its balancer and counts stay.
#[derive(Debug)]
pub struct Served {
    /// Which.
    pub name: ForwardName,
    given: Mutex<Given>,
    active: RwLock<Arc<Active>>,
    balancing: Mutex<Balancing>,
    sessions: Arc<Sessions>,
    limits: Mutex<Limits>,
    tunnels: Mutex<Tunnels>,
    queue: Queue,
    budget: Mutex<Budget>,
    counts: Box<[Counts]>,
}

/// What the active forward is made of.
#[derive(Debug)]
struct Given {
    /// What the operator said.
    forward: Arc<Forward>,
    /// What DNS says.
    hosts: FoundHosts,
}

impl Served {
    /// A forward that `workers` threads will serve. `seed`: of all that is left to chance.
    #[must_use]
    pub fn new(
        forward: Arc<Forward>,
        terms: Terms,
        workers: usize,
        now: Instant,
        seed: u64,
    ) -> Self {
        let mut hosts = FoundHosts::default();
        let active = hosts.applied_to(&forward, &terms.settings);
        let mut balancing = Balancing::new(seed);
        balancing.update(&active, &terms.place, now, seed);
        let mut limits = Limits::default();
        limits.update(&active.spec.listener, terms.place.share());
        let mut tunnels = Tunnels::default();
        if let Some(connect) = &active.spec.connect {
            tunnels.update(connect, terms.place.share());
        }
        Self {
            name: forward.name.clone(),
            given: Mutex::new(Given { forward, hosts }),
            active: RwLock::new(Arc::new(Active::new(active, terms, None))),
            balancing: Mutex::new(balancing),
            sessions: Arc::new(Sessions::new(workers)),
            limits: Mutex::new(limits),
            tunnels: Mutex::new(tunnels),
            queue: Queue::default(),
            budget: Mutex::default(),
            counts: (0..workers.max(1)).map(|_| Counts::default()).collect(),
        }
    }

    /// Swaps the configuration, if it is another one; sessions keep theirs.
    pub fn update(&self, forward: Arc<Forward>, terms: Terms, now: Instant, seed: u64) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        // Not by the hash: a build that doesn't know a field drops it and keeps the hash.
        if given.forward != forward {
            given.forward = forward;
        }
        self.refresh(&mut given, terms, now, seed);
    }

    /// Takes what the name of a target leads to. True: that is news.
    pub fn set_host(
        &self,
        target: &str,
        host: &Host,
        found: &Found,
        now: Instant,
        seed: u64,
    ) -> bool {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if !given.hosts.set(target, host, found) {
            return false;
        }
        let terms = self.active().terms.clone();
        self.refresh(&mut given, terms, now, seed);
        true
    }

    /// Puts what is given into force, where that changes something.
    fn refresh(&self, given: &mut Given, terms: Terms, now: Instant, seed: u64) {
        let before = self.active();
        let forward = given.hosts.applied_to(&given.forward, &terms.settings);
        if before.forward == forward && before.terms == terms {
            return;
        }
        if before.forward != forward || before.terms.place != terms.place {
            let mut balancing = self.balancing();
            balancing.update(&forward, &terms.place, now, seed);
        }
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.update(&forward.spec.listener, terms.place.share());
        drop(limits);
        if let Some(connect) = &forward.spec.connect {
            self.tunnels().update(connect, terms.place.share());
        }
        let active = Arc::new(Active::new(forward, terms, Some(&before)));
        let is_other_right = !active.has_the_rights_of(&before);
        *self.active.write().unwrap_or_else(PoisonError::into_inner) = active;
        self.sessions.stir();
        if is_other_right {
            self.sessions.rights_changed();
        }
        self.queue.serve(self, now);
    }

    /// Those that are open.
    #[must_use]
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// Which state of the forward is served.
    #[must_use]
    pub fn spec(&self) -> ServedSpec {
        let forward = &self.active().forward;
        ServedSpec {
            hash: forward.spec_hash,
            generation: forward.spec.generation,
        }
    }

    /// The configuration of a session that begins now.
    #[must_use]
    pub fn active(&self) -> Arc<Active> {
        Arc::clone(&self.active.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The backend for a session, with a place on it; `target`: of that one, as clients of a CONNECT
    /// proxy ask for.
    ///
    /// # Errors
    /// There is none to go to.
    pub fn pick(&self, target: Option<&str>, request: &Request<'_>) -> Result<Picked, NoPick> {
        self.balancing().pick(target, request)
    }

    /// Takes what was learned of a backend.
    pub fn observe(&self, backend: &Arc<Backend>, outcome: Outcome, now: Instant) -> Observed {
        match outcome {
            Outcome::CheckFailed(_) => self.checked(CheckResult::Failed),
            Outcome::CheckPassed => self.checked(CheckResult::Passed),
            _ => {}
        }
        let observed = self.balancing().observe(backend, outcome, now);
        if observed == Observed::Changed {
            // It may be well again, and then it has places.
            self.queue.serve(self, now);
        }
        self.stirred_by(observed)
    }

    /// Does what is due by time alone.
    pub fn tick(&self, now: Instant) -> Observed {
        let observed = self.balancing().tick(now);
        // A place is free without anybody giving it back when a backend is well again.
        self.queue.serve(self, now);
        self.stirred_by(observed)
    }

    fn stirred_by(&self, observed: Observed) -> Observed {
        if observed == Observed::Changed {
            self.sessions.stir();
        }
        observed
    }

    /// Ends the sessions whose time has come.
    pub fn close_sessions(&self, now: Instant, rng: &mut fastrand::Rng) {
        self.sessions.tick(&self.active(), now, rng);
    }

    /// Those who wait for a place on a backend.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The tunnels of a CONNECT proxy.
    pub fn tunnels(&self) -> MutexGuard<'_, Tunnels> {
        self.tunnels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What may be raced.
    pub(crate) fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All backends, in no order.
    #[must_use]
    pub fn backends(&self) -> Vec<Arc<Backend>> {
        self.balancing().backends().cloned().collect()
    }

    fn balancing(&self) -> MutexGuard<'_, Balancing> {
        self.balancing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::sync::samples::{self, terms};

    #[test]
    fn another_forward_of_the_same_hash_takes_effect() {
        let whole = samples::forward("f", 1, &[]);
        let backends = vec![samples::backend("t", "10.0.0.1:80")];
        let whole = Forward::new(whole.name, whole.spec, backends);
        let lossy = Forward {
            backends: Vec::new(),
            ..whole.clone()
        };
        let served = samples::served(lossy);
        let now = tokio::time::Instant::now().into_std();
        served.update(Arc::new(whole.clone()), terms(), now, 0);
        assert_eq!(*served.active().forward, whole);
        assert_eq!(served.backends().len(), 1);
        let before = served.active();
        served.update(Arc::new(whole), terms(), now, 0);
        assert!(Arc::ptr_eq(&before, &served.active()), "nothing to swap");
    }

    #[test]
    fn what_a_name_leads_to_survives_an_update() {
        let now = tokio::time::Instant::now().into_std();
        let host = Host {
            name: "db".to_owned(),
            port: NonZeroU16::MIN,
        };
        let mut plain = samples::forward("f", 1, &[]);
        plain.spec.relay.targets[0].host = Some(host.clone());
        let served = Served::new(Arc::new(plain.clone()), terms(), 1, now, 0);
        let found = Found {
            addresses: vec!["192.0.2.1".parse().unwrap()],
            error: None,
        };
        assert!(served.set_host("t", &host, &found, now, 0));
        assert!(!served.set_host("t", &host, &found, now, 0));
        let before = served.backends();
        plain.spec.generation += 1;
        served.update(Arc::new(plain), terms(), now, 0);
        assert_eq!(served.active().forward.spec.generation, 2);
        assert!(Arc::ptr_eq(&before[0], &served.backends()[0]));
        assert_eq!(served.hosts()[0].1, Some(found));
    }
}
