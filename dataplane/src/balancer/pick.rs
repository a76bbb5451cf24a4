//! Pure. One backend for one session.

use std::sync::Arc;

use fastrand::Rng;
use tcpforward_protocol::snapshot::Policy;

use crate::balancer::Balancer;
use crate::balancer::ask::{Ask, Terms, unit};
use crate::balancer::backend::Backend;
use crate::balancer::failover::Failover;
use crate::balancer::group::Group;
use crate::balancer::hashed;
use crate::balancer::request::{Candidates, NoPick, Picked, Request};

impl Balancer {
    /// A backend that was not tried, with a place on it.
    ///
    /// # Errors
    /// There is none to go to.
    pub fn pick(&mut self, request: &Request<'_>, rng: &mut Rng) -> Result<Picked, NoPick> {
        self.welcome_freed();
        let picked = self.pick_arranged(request, rng);
        if picked.is_err() && self.is_stale {
            // What was learned since may well leave somebody.
            let _ = self.arrange(request.now);
            return self.pick_arranged(request, rng);
        }
        picked
    }

    /// Puts those back that were full and are no more.
    fn welcome_freed(&mut self) {
        for backend in self.freed.take() {
            let id = backend.upgrade().and_then(|backend| self.id(&backend));
            let Some(id) = id else { continue };
            for group in &mut self.groups {
                group.put_back(id, &mut self.entries);
            }
        }
    }

    fn pick_arranged(&mut self, request: &Request<'_>, rng: &mut Rng) -> Result<Picked, NoPick> {
        let Some(rules) = &self.rules else {
            return Err(NoPick::NoBackend);
        };
        let relay = &rules.relay;
        let chance = match relay.load_balancer.policy {
            Policy::ConsistentHash => unit(hashed::client(request.source)),
            _ => rng.f64(),
        };
        let order = self.failover.choose(chance);
        let terms = Terms {
            limit: rules.limit,
            slow_start: relay.load_balancer.slow_start,
            probation: self.arranged.probation,
            bar: self.arranged.bar,
        };
        let mut ask = Ask {
            request,
            entries: &mut self.entries,
            terms,
            rng,
            turn: &mut self.turn,
            looks: 0,
        };
        let picked = pick_from(&mut self.groups, &self.failover, order, &mut ask);
        let picked = picked.ok_or_else(|| match self.arranged.eligible {
            0 => NoPick::NoBackend,
            _ => nobody(&self.groups, &self.failover, &ask),
        });
        #[cfg(test)]
        {
            self.looks = ask.looks;
        }
        let (id, priority) = picked?;
        let candidates = self.candidates(id, request.tried);
        let limit = rules.limit;
        let Some(entry) = self.entries.get_mut(id) else {
            return Err(NoPick::NoBackend);
        };
        let trial = match request.priority {
            None => entry.try_out(),
            Some(_) => None,
        };
        let place = entry.backend.occupy();
        if entry.has_no_room(limit) {
            for group in &mut self.groups {
                group.take_out(id, &mut self.entries);
            }
        }
        Ok(Picked {
            place,
            candidates,
            priority,
            trial,
        })
    }

    fn candidates(&self, picked: usize, tried: &[Arc<Backend>]) -> Candidates {
        let is_choice = |id: &usize| self.entries.get(*id).is_some_and(|e| e.is_choice);
        let gone = tried.iter().filter_map(|b| self.id(b)).filter(is_choice);
        let used = gone.count() + usize::from(is_choice(&picked));
        if self.arranged.choices > used {
            Candidates::More
        } else {
            Candidates::Last
        }
    }
}

/// Why there is nobody, though there are backends. Those that wait for failback are no hope: a
/// place on them would be given to nobody.
fn nobody(groups: &[Group], failover: &Failover, ask: &Ask<'_>) -> NoPick {
    if groups.iter().all(|group| group.members().next().is_none()) {
        return NoPick::NoneHealthy;
    }
    let levels = groups.iter().zip(failover.levels());
    let only = ask.request.priority;
    let is_asked = |group: &Group| only.is_none_or(|number| number == group.number);
    let open = levels.filter(|(group, level)| is_asked(group) && !level.is_held());
    let mut members = open.flat_map(|(group, _)| group.members());
    if members.any(|id| !ask.is_tried(id) && ask.is_full(id)) {
        NoPick::AllFull
    } else {
        NoPick::AllTried
    }
}

/// First whoever is on trial in a better priority, then the priority whose turn it is, then all
/// others but those that wait for failback.
fn pick_from(
    groups: &mut [Group],
    failover: &Failover,
    chosen: Option<usize>,
    ask: &mut Ask<'_>,
) -> Option<(usize, u32)> {
    if let Some(number) = ask.request.priority {
        let group = groups.iter_mut().find(|g| g.number == number)?;
        return Some((group.pick(ask)?, number));
    }
    let levels = failover.levels();
    let is_open = |i: &usize| levels.get(*i).is_some_and(|l| !l.is_held());
    let is_spare = |i: &usize| levels.get(*i).is_some_and(|l| l.share() <= 0.0) && is_open(i);
    let chosen = chosen?;
    let trials = (0..chosen).filter(is_spare);
    let others = (0..levels.len()).filter(is_open);
    trials.chain([chosen]).chain(others).find_map(|i| {
        let group = groups.get_mut(i)?;
        Some((group.pick(ask)?, group.number))
    })
}
