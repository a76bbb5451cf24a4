//! Pure. Which backend a session goes to: the one with the lowest priority number that can be
//! used and was not tried yet, by smooth weighted round robin. A forward has one of these per
//! process; its state is kept by (target, address) when the forward changes.
//!
//! ```text
//!  forward ─► priorities ─► Schedule of targets (weights) ─► Ring of backends (turns)
//! ```

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use tcpforward_protocol::snapshot::{BackendState, Forward, TakesNew, Target};

use crate::balancer::backend::{Backend, Condition, Failing};
use crate::balancer::outcome::{Failure, Observed, Outcome};
use crate::balancer::request::{Candidates, NoPick, Picked, Request};
use crate::balancer::ring::Ring;
use crate::balancer::schedule::Schedule;
use crate::place::Place;

pub mod backend;
pub mod outcome;
pub mod request;
mod ring;
mod schedule;

/// Chooses backends for the sessions of one forward.
#[derive(Debug, Default)]
pub struct Balancer {
    /// Of every target, whatever their state; shared with the sessions that use them.
    backends: HashMap<Key, Arc<Backend>>,
    /// By priority, lowest first; targets that can take new sessions only.
    priorities: Vec<Priority>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    target: Arc<str>,
    address: SocketAddr,
}

#[derive(Debug)]
struct Priority {
    number: u32,
    schedule: Schedule,
    /// In step with the schedule: slot i of the schedule is the i-th ring.
    rings: Vec<TargetRing>,
}

#[derive(Debug)]
struct TargetRing {
    name: Arc<str>,
    ring: Ring,
}

impl Balancer {
    /// Takes a forward's targets and backends, keeping the state of those that stay. `seed` says
    /// where new rings begin, so that many data planes don't all begin with the same backend.
    pub fn update(&mut self, forward: &Forward, _place: &Place, now: Instant, seed: u64) {
        let former = std::mem::take(&mut self.backends);
        self.backends = backends_of(forward, &former, now);
        for (key, backend) in former {
            if !self.backends.contains_key(&key) {
                backend.set_condition(Condition::Removed, now);
            }
        }
        let mut before = std::mem::take(&mut self.priorities);
        let mut numbers: Vec<u32> = forward
            .spec
            .relay
            .targets
            .iter()
            .map(|t| t.priority)
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let at = before.iter().position(|p| p.number == number);
            let old = at.map(|i| before.swap_remove(i));
            let targets = forward
                .spec
                .relay
                .targets
                .iter()
                .filter(|t| t.priority == number);
            self.priorities
                .push(self.priority(number, targets, forward, old, seed));
        }
    }

    fn priority<'a>(
        &self,
        number: u32,
        targets: impl Iterator<Item = &'a Target>,
        forward: &Forward,
        old: Option<Priority>,
        seed: u64,
    ) -> Priority {
        let (mut old_schedule, mut old_rings) =
            old.map(|p| (p.schedule, p.rings)).unwrap_or_default();
        let mut weights = Vec::new();
        let mut rings = Vec::new();
        for target in targets.filter(|t| t.weight > 0) {
            let usable: Vec<Arc<Backend>> = self.usable(target, forward);
            if usable.is_empty() {
                continue;
            }
            let slot = old_rings.iter().position(|r| *r.name == *target.name);
            let ring = slot
                .and_then(|i| old_rings.get_mut(i))
                .map(|r| std::mem::take(&mut r.ring));
            weights.push((target.weight, slot));
            rings.push(TargetRing {
                name: target.name.as_str().into(),
                ring: ring.unwrap_or_default().updated(usable, seed),
            });
        }
        let schedule = old_schedule.updated(&weights);
        Priority {
            number,
            schedule,
            rings,
        }
    }

    fn usable(&self, target: &Target, forward: &Forward) -> Vec<Arc<Backend>> {
        let name: Arc<str> = target.name.as_str().into();
        forward
            .backends
            .iter()
            .filter(|b| b.target == target.name && b.takes_new == TakesNew::Yes)
            .filter_map(|b| {
                let key = Key {
                    target: Arc::clone(&name),
                    address: b.address,
                };
                self.backends.get(&key).cloned()
            })
            .collect()
    }

    /// The next backend that was not tried, of the first priority that has one.
    ///
    /// # Errors
    /// There is none to go to.
    pub fn pick(&mut self, request: &Request<'_>, _rng: &mut Rng) -> Result<Picked, NoPick> {
        let tried = request.tried;
        let wanted = |p: &&mut Priority| request.priority.is_none_or(|number| p.number == number);
        let found = self
            .priorities
            .iter_mut()
            .filter(wanted)
            .find_map(|p| Some((p.pick(tried)?, p.number)));
        let Some((backend, priority)) = found else {
            let is_empty = self.priorities.iter().all(|p| p.rings.is_empty());
            return Err(if is_empty {
                NoPick::NoBackend
            } else {
                NoPick::AllTried
            });
        };
        let is_other = |b: &Arc<Backend>| !Arc::ptr_eq(b, &backend) && !is_tried(b, tried);
        let mut rings = self.priorities.iter().flat_map(|p| &p.rings);
        let has_more = rings.any(|r| r.ring.any(tried.len() + 1, is_other));
        Ok(Picked {
            place: backend.occupy(),
            candidates: if has_more {
                Candidates::More
            } else {
                Candidates::Last
            },
            priority,
            trial: None,
        })
    }

    /// Takes what was learned of a backend.
    pub fn observe(&mut self, backend: &Arc<Backend>, outcome: Outcome, _now: Instant) -> Observed {
        let is_news = match outcome {
            Outcome::Answered | Outcome::CheckFailed(_) | Outcome::CheckPassed => false,
            Outcome::DialFailed(failure) | Outcome::EarlyReset(failure) => {
                backend.count_failed(failure.reason);
                backend.set_failing(Some(failing(backend.failing(), failure)))
            }
            Outcome::Reached { connect } => {
                backend.count_reached(connect);
                backend.set_failing(None)
            }
        };
        if is_news {
            Observed::Changed
        } else {
            Observed::Same
        }
    }

    /// Does what is due by time alone.
    pub fn tick(&mut self, _now: Instant) -> Observed {
        Observed::Same
    }

    /// The backend of that target and address, in whatever state it is.
    #[must_use]
    pub fn find(&self, target: &str, address: SocketAddr) -> Option<&Arc<Backend>> {
        self.backends.get(&Key {
            target: target.into(),
            address,
        })
    }

    /// All backends, in no order.
    pub fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.backends.values()
    }
}

impl Priority {
    fn pick(&mut self, tried: &[Arc<Backend>]) -> Option<Arc<Backend>> {
        let Self {
            schedule, rings, ..
        } = self;
        schedule.next(|slot| rings.get_mut(slot)?.ring.next(|b| !is_tried(b, tried)))
    }
}

fn backends_of(
    forward: &Forward,
    former: &HashMap<Key, Arc<Backend>>,
    now: Instant,
) -> HashMap<Key, Arc<Backend>> {
    let mut names: HashMap<&str, Arc<str>> = HashMap::new();
    let record = |b| {
        let b: &tcpforward_protocol::snapshot::Backend = b;
        let target = names
            .entry(b.target.as_str())
            .or_insert_with(|| b.target.as_str().into());
        let key = Key {
            target: Arc::clone(target),
            address: b.address,
        };
        let new = || Arc::new(Backend::new(Arc::clone(&key.target), key.address, now));
        let backend = former.get(&key).cloned().unwrap_or_else(new);
        backend.set_condition(condition(b), now);
        (key, backend)
    };
    forward.backends.iter().map(record).collect()
}

fn condition(backend: &tcpforward_protocol::snapshot::Backend) -> Condition {
    match (backend.takes_new, backend.state) {
        (TakesNew::Yes, _) | (_, BackendState::Ready) => Condition::Usable,
        (_, BackendState::NotReady) => Condition::NotReady,
        (_, BackendState::Terminating) => Condition::Terminating,
    }
}

fn failing(before: Option<Failing>, failure: Failure) -> Failing {
    Failing {
        reason: failure.reason,
        message: failure.message,
        since_ms: before.map_or(failure.at_ms, |f| f.since_ms),
    }
}

fn is_tried(backend: &Arc<Backend>, tried: &[Arc<Backend>]) -> bool {
    tried.iter().any(|t| Arc::ptr_eq(t, backend))
}

#[cfg(test)]
mod tests;
