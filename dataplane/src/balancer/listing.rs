//! Pure. From a forward's backends to what the balancer holds of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tcpforward_protocol::snapshot::{Forward, Relay};

use crate::balancer::Balancer;
use crate::balancer::backend::{Backend, Condition};
use crate::balancer::entry::{Entry, Key};
use crate::balancer::topology::Near;
use crate::place::Place;

impl Balancer {
    /// Takes the backends of a forward, keeping what is known of those that stay.
    pub(super) fn list(&mut self, forward: &Forward, place: &Place, now: Instant, seed: u64) {
        // The backends of a forward that begins are whole at once: there are no others.
        let starts = self.rules.is_some().then_some(now);
        let mut former: HashMap<Key, Entry> = std::mem::take(&mut self.entries)
            .into_iter()
            .map(|entry| (Key::of(&entry.backend), entry))
            .collect();
        let relay = &forward.spec.relay;
        for (index, target) in relay.targets.iter().enumerate() {
            let name: Arc<str> = target.name.as_str().into();
            let granted = forward.grant(&target.name);
            let granted = granted.map(|grant| Arc::new(grant.service.clone()));
            let backends = forward.backends.iter();
            let listed = backends.filter(|b| b.target == target.name);
            let near = Near::of(relay.load_balancer.topology, place, listed.clone());
            let mut new = Vec::new();
            for backend in listed {
                let key = Key {
                    target: Arc::clone(&name),
                    address: backend.address,
                    origin: target.origin,
                    granted: granted.clone(),
                };
                let id = self.entries.len();
                let mut entry = former.remove(&key).unwrap_or_else(|| {
                    new.push(id);
                    self.entry(&key, index, starts, now)
                });
                entry.list(backend, index, now);
                entry.is_near = near.holds(backend, place);
                self.entries.push(entry);
            }
            self.give_turns(new, seed);
        }
        for (id, entry) in self.entries.iter().enumerate() {
            entry.backend.listed_as(id);
        }
        self.leave(former, forward, now);
    }

    /// That of before, if a session still has its backend.
    fn entry(&mut self, key: &Key, target: usize, starts: Option<Instant>, now: Instant) -> Entry {
        let gone = self.gone.remove(key);
        let before = gone.and_then(|gone| Some((gone.backend.upgrade()?, gone)));
        if let Some((backend, gone)) = before {
            return Entry::new(backend, target, starts).going_on_from(gone);
        }
        let backend = Backend::telling(Arc::clone(&self.freed), key.clone(), now);
        Entry::new(Arc::new(backend), target, starts)
    }

    /// New ones come last, beginning anywhere, so that many data planes don't all begin with the
    /// same one.
    fn give_turns(&mut self, mut new: Vec<usize>, seed: u64) {
        let count = u64::try_from(new.len()).unwrap_or(u64::MAX).max(1);
        new.rotate_left(usize::try_from(seed % count).unwrap_or(0));
        for id in new {
            self.turn += 1;
            if let Some(entry) = self.entries.get_mut(id) {
                entry.turn = self.turn;
            }
        }
    }

    fn leave(&mut self, former: HashMap<Key, Entry>, forward: &Forward, now: Instant) {
        let former = former.into_iter();
        self.gone
            .extend(former.map(|(key, entry)| (key, entry.into_gone())));
        let rules = self.rules.clone();
        let host = |relay: &Relay, name: &str| {
            let target = relay.targets.iter().find(|t| t.name == name)?;
            target.host.clone()
        };
        // Bounded: only those that a session has.
        self.gone.retain(|key, gone| {
            let Some(backend) = gone.backend.upgrade() else {
                return false;
            };
            // That one answer of DNS has it no more doesn't mean that it is no server any more.
            let before = rules.as_ref().and_then(|r| host(&r.relay, &key.target));
            if before.is_none() || before != host(&forward.spec.relay, &key.target) {
                backend.set_condition(Condition::Removed, now);
            }
            true
        });
    }
}
