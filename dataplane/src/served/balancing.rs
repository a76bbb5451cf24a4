//! Pure. The balancers of a forward: one for a relay, whatever its targets; of a CONNECT proxy one for
//! each, because its clients say to which they go. Locked for the length of a pick.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tcpforward_protocol::snapshot::{Forward, ForwardSpec, Target};

use crate::balancer::Balancer;
use crate::balancer::account::Account;
use crate::balancer::backend::Backend;
use crate::balancer::outcome::{Observed, Outcome};
use crate::balancer::request::{NoPick, Picked, Request};
use crate::place::Place;

/// Who chooses.
#[derive(Debug)]
pub(super) struct Balancing {
    /// By the target that clients ask for; the one of a relay has no name.
    balancers: BTreeMap<String, Balancer>,
    rng: fastrand::Rng,
}

impl Balancing {
    /// Without anybody to choose from. `seed`: of all that is left to chance.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            balancers: BTreeMap::new(),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Takes a forward's targets and backends as seen from `place`.
    pub(super) fn update(&mut self, forward: &Forward, place: &Place, now: Instant, seed: u64) {
        let parts = parts(forward);
        let mut former = std::mem::take(&mut self.balancers);
        for (target, part) in parts {
            let mut balancer = former.remove(&target).unwrap_or_default();
            balancer.update(&part, place, now, seed);
            self.balancers.insert(target, balancer);
        }
        // Sessions learn that their backends are gone.
        let nobody = Forward {
            backends: Vec::new(),
            ..forward.clone()
        };
        for balancer in former.values_mut() {
            balancer.update(&nobody, place, now, seed);
        }
    }

    /// `target`: which one is asked for; of a relay none is.
    pub(super) fn pick(
        &mut self,
        target: Option<&str>,
        request: &Request<'_>,
    ) -> Result<Picked, NoPick> {
        let balancer = self.balancers.get_mut(target.unwrap_or_default());
        balancer
            .ok_or(NoPick::NoBackend)?
            .pick(request, &mut self.rng)
    }

    pub(super) fn observe(
        &mut self,
        backend: &Arc<Backend>,
        outcome: Outcome,
        now: Instant,
    ) -> Observed {
        let balancer = match self.balancers.get_mut("") {
            None => self.balancers.get_mut(&*backend.target),
            relay => relay,
        };
        balancer.map_or(Observed::Same, |balancer| {
            balancer.observe(backend, outcome, now)
        })
    }

    pub(super) fn tick(&mut self, now: Instant) -> Observed {
        let mut observed = Observed::Same;
        for balancer in self.balancers.values_mut() {
            if balancer.tick(now) == Observed::Changed {
                observed = Observed::Changed;
            }
        }
        observed
    }

    pub(super) fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.balancers.values().flat_map(Balancer::backends)
    }

    /// In the order of target and address.
    pub(super) fn accounts(&self, now: Instant) -> Vec<Account> {
        let all = self.balancers.values();
        all.flat_map(|balancer| balancer.accounts(now)).collect()
    }

    /// Of a relay; clients of a CONNECT proxy choose for themselves.
    pub(super) fn priorities(&self) -> Vec<(u32, f64)> {
        let relay = self.balancers.get("");
        relay.map(Balancer::priorities).unwrap_or_default()
    }
}

/// What each balancer gets of a forward.
fn parts(forward: &Forward) -> Vec<(String, Cow<'_, Forward>)> {
    if forward.spec.connect.is_none() {
        return vec![(String::new(), Cow::Borrowed(forward))];
    }
    let mut backends: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for backend in &forward.backends {
        let of_target = backends.entry(&backend.target).or_default();
        of_target.push(backend.clone());
    }
    let mut relay = forward.spec.relay.clone();
    let targets = std::mem::take(&mut relay.targets);
    let part = |target: Target| {
        let mut relay = relay.clone();
        let name = target.name.clone();
        relay.targets = vec![target];
        let spec = ForwardSpec {
            requires: Vec::new(),
            listener: forward.spec.listener.clone(),
            relay,
            connect: None,
            via: None,
            ..forward.spec
        };
        let part = Forward {
            name: forward.name.clone(),
            spec,
            backends: backends.remove(name.as_str()).unwrap_or_default(),
            grants: forward.grant(&name).into_iter().cloned().collect(),
            ..*forward
        };
        (name, Cow::Owned(part))
    };
    targets.into_iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use tcpforward_protocol::testing;

    use super::*;
    use crate::balancer::backend::Condition;
    use crate::sync::samples;

    fn proxy(backends: &[(&str, &str)]) -> Forward {
        let backends = backends.iter();
        let backends = backends.map(|(target, address)| testing::backend(target, address));
        let mut forward = testing::forward("n/f", backends.collect());
        forward.spec.connect = Some(testing::connect(Vec::new()));
        forward
    }

    fn pick(balancing: &mut Balancing, target: &str) -> Result<String, NoPick> {
        let request = Request {
            tried: &[],
            source: "192.0.2.1".parse().unwrap(),
            now: now(),
            priority: None,
        };
        let picked = balancing.pick(Some(target), &request)?;
        Ok(picked.place.backend().address.to_string())
    }

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[test]
    fn a_client_gets_backends_of_the_target_that_it_asks_for() {
        let place = samples::terms().place;
        let forward = proxy(&[("a", "10.0.0.1:80"), ("b", "10.0.0.2:80")]);
        let mut balancing = Balancing::new(1);
        balancing.update(&forward, &place, now(), 1);
        for _ in 0..5 {
            assert_eq!(pick(&mut balancing, "a").unwrap(), "10.0.0.1:80");
            assert_eq!(pick(&mut balancing, "b").unwrap(), "10.0.0.2:80");
        }
        assert_eq!(pick(&mut balancing, "c"), Err(NoPick::NoBackend));
        assert_eq!(pick(&mut balancing, ""), Err(NoPick::NoBackend));
        assert_eq!(balancing.backends().count(), 2);
        assert_eq!(balancing.priorities(), []);
    }

    #[test]
    fn a_target_that_is_gone_tells_its_sessions() {
        let place = samples::terms().place;
        let mut balancing = Balancing::new(1);
        let both = proxy(&[("a", "10.0.0.1:80"), ("b", "10.0.0.2:80")]);
        balancing.update(&both, &place, now(), 1);
        let [a, b] = [0, 1].map(|i| Arc::clone(balancing.backends().nth(i).unwrap()));
        balancing.update(&proxy(&[("a", "10.0.0.1:80")]), &place, now(), 1);
        assert_eq!(a.condition().0, Condition::Usable);
        assert_eq!(b.condition().0, Condition::Removed);
        assert!(Arc::ptr_eq(&a, balancing.backends().next().unwrap()));
    }
}
