//! A balancer with a clock that stands still, spoken to by names of backends.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tcpforward_protocol::answer::DialError;
use tcpforward_protocol::snapshot::{Policy, Relay};

use super::super::*;
use crate::balancer::backend::Condition;
use crate::balancer::outcome::Failure;
use crate::balancer::request::{NoPick, Picked, Request};

pub(super) struct Rig {
    pub(super) balancer: Balancer,
    pub(super) forward: Forward,
    pub(super) place: Place,
    pub(super) now: Instant,
    pub(super) rng: Rng,
    /// Sessions that go on.
    pub(super) open: Vec<Picked>,
}

impl Rig {
    /// (weight, priority, backends) of each target; backends are t0:1, t0:2 … t1:1 …
    pub(super) fn new(targets: &[(u32, u32, u16)], edit: impl FnOnce(&mut Relay)) -> Self {
        let mut forward = super::forward(targets);
        edit(&mut forward.spec.relay);
        let mut rig = Self {
            balancer: Balancer::default(),
            forward,
            place: Place::default(),
            now: super::now(),
            rng: Rng::with_seed(7),
            open: Vec::new(),
        };
        rig.update();
        rig
    }

    pub(super) fn of(policy: Policy, targets: &[(u32, u32, u16)]) -> Self {
        Self::new(targets, |relay| relay.load_balancer.policy = policy)
    }

    fn update(&mut self) {
        let Self {
            balancer,
            forward,
            place,
            ..
        } = self;
        balancer.update(forward, place, self.now, 0);
    }

    /// Another state of the forward.
    pub(super) fn edit(&mut self, edit: impl FnOnce(&mut Forward)) {
        edit(&mut self.forward);
        self.update();
    }

    pub(super) fn after(&mut self, seconds: f64) -> Observed {
        self.now += Duration::from_secs_f64(seconds);
        self.balancer.tick(self.now)
    }

    pub(super) fn pick_but(
        &mut self,
        tried: &[&str],
        source: IpAddr,
        priority: Option<u32>,
    ) -> Result<Picked, NoPick> {
        let tried: Vec<_> = tried.iter().map(|name| self.find(name)).collect();
        let request = Request {
            tried: &tried,
            source,
            now: self.now,
            priority,
        };
        self.balancer.pick(&request, &mut self.rng)
    }

    pub(super) fn pick(&mut self) -> Result<Picked, NoPick> {
        let source = self.anyone();
        self.pick_but(&[], source, None)
    }

    pub(super) fn anyone(&mut self) -> IpAddr {
        IpAddr::V4(self.rng.u32(..).into())
    }

    /// Names of so many picks in a row; or why there is none.
    pub(super) fn names(&mut self, count: usize) -> Vec<String> {
        let name = |picked: Result<Picked, NoPick>| match picked {
            Ok(picked) => name(picked.place.backend()),
            Err(reason) => format!("{reason:?}"),
        };
        (0..count).map(|_| name(self.pick())).collect()
    }

    /// How many of so many picks each one gets.
    pub(super) fn counts(&mut self, count: usize) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for name in self.names(count) {
            *counts.entry(name).or_default() += 1;
        }
        counts
    }

    pub(super) fn find(&self, name: &str) -> Arc<Backend> {
        let mut all = self.balancer.backends();
        Arc::clone(all.find(|b| self::name(b) == name).unwrap())
    }

    pub(super) fn observe(&mut self, name: &str, outcome: Outcome) -> Observed {
        let backend = self.find(name);
        self.balancer.observe(&backend, outcome, self.now)
    }

    pub(super) fn reached(&mut self, name: &str, millis: u64) -> Observed {
        let connect = Duration::from_millis(millis);
        self.observe(name, Outcome::Reached { connect })
    }

    /// So many dials in a row fail.
    pub(super) fn fails(&mut self, name: &str, times: usize) {
        for _ in 0..times {
            let _ = self.observe(name, Outcome::DialFailed(failure()));
        }
    }

    pub(super) fn condition(&self, name: &str) -> Condition {
        self.find(name).condition().0
    }
}

pub(super) fn name(backend: &Backend) -> String {
    format!("{}:{}", backend.target, backend.address.port())
}

pub(super) fn failure() -> Failure {
    Failure {
        reason: DialError::Refused,
        message: "connection refused".to_owned(),
        at_ms: 1,
    }
}
