//! Pure. How many may be ejected: a part of each priority, and never the last one that is usable.

use std::time::Instant;

use fastrand::Rng;
use tcpforward_protocol::snapshot::TakesNew;

use crate::balancer::Balancer;
use crate::balancer::arrange::Tally;
use crate::balancer::health::{Cause, Standing};

/// Ejections last longer or shorter by up to so much.
const JITTER: f64 = 0.1;

impl Balancer {
    /// Leaves it out, if so many may be.
    pub(super) fn eject(&mut self, id: usize, cause: Cause, now: Instant) {
        let chance = self.rng.as_mut().map_or(0.5, Rng::f64);
        let jitter = JITTER * (2.0 * chance - 1.0);
        let Some(rules) = &self.rules else {
            return;
        };
        let base = rules.health().passive.base_ejection_time;
        let tallies = &self.arranged.tallies;
        let usable: usize = tallies.iter().map(|t| t.usable).sum();
        let is_usable = self.standing(id) == Some(Standing::Usable);
        let has_other = usable > usize::from(is_usable);
        let tally = self.tally_of(id).and_then(|i| tallies.get(i));
        let may = |tally: &Tally| tally.ejected < self.allowance(tally, tallies);
        if !has_other || !tally.is_some_and(may) {
            return;
        }
        if let Some(entry) = self.entries.get_mut(id) {
            entry.health.eject(cause, base, jitter, now);
            entry.backend.count_ejection();
        }
    }

    /// Ends ejections of which there are too many, since backends have come or gone.
    pub(super) fn relax(&mut self) {
        let Some(rules) = self.rules.clone() else {
            return;
        };
        let tallies = self.tallies(&rules.relay.targets);
        let has_usable = tallies.iter().any(|t| t.usable > 0);
        for tally in &tallies {
            let allowed = if has_usable {
                self.allowance(tally, &tallies)
            } else {
                0
            };
            if tally.ejected <= allowed {
                continue;
            }
            let mut ejected: Vec<usize> = self.ejected(tally.number).collect();
            // Whoever would be back first is back first.
            ejected.sort_by_key(|id| self.ejected_until(*id));
            let too_many = ejected.len().saturating_sub(allowed);
            for id in ejected.into_iter().take(too_many) {
                if let Some(entry) = self.entries.get_mut(id) {
                    entry.health.release();
                }
            }
        }
    }

    /// How many of a priority may be ejected: that percentage, but one at least if the forward
    /// has another backend at all.
    fn allowance(&self, tally: &Tally, all: &[Tally]) -> usize {
        let Some(rules) = &self.rules else {
            return 0;
        };
        let percent = usize::from(rules.health().passive.max_ejection_percent);
        let part = tally.eligible * percent / 100;
        let eligible: usize = all.iter().map(|t| t.eligible).sum();
        let one = eligible > 1 && percent > 0;
        part.max(usize::from(one))
    }

    /// Counts it as what it is now.
    pub(super) fn recount(&mut self, id: usize, before: Standing) {
        let Some(after) = self.standing(id) else {
            return;
        };
        let tally = self.tally_of(id);
        if let Some(tally) = tally.and_then(|i| self.arranged.tallies.get_mut(i)) {
            tally.remove(before);
            tally.add(after);
        }
    }

    /// The tally in which it counts; absent: it takes no new sessions.
    fn tally_of(&self, id: usize) -> Option<usize> {
        let entry = self.entries.get(id)?;
        let target = self.rules.as_ref()?.relay.targets.get(entry.target)?;
        let tallies = &self.arranged.tallies;
        let tally = tallies.iter().position(|t| t.number == target.priority);
        tally.filter(|_| entry.takes_new == TakesNew::Yes && target.weight > 0)
    }

    /// Those that only their ejection leaves out.
    fn ejected(&self, number: u32) -> impl Iterator<Item = usize> {
        let rules = self.rules.as_ref();
        let targets = rules.map_or(&[][..], |rules| &rules.relay.targets);
        let is_ejected = |id: usize| self.standing(id) == Some(Standing::Ejected);
        let ids = self.eligible(targets);
        ids.filter(move |id| is_ejected(*id) && self.priority_of(*id) == Some(number))
    }

    fn ejected_until(&self, id: usize) -> Option<Instant> {
        self.entries.get(id)?.health.ejected_until()
    }

    fn standing(&self, id: usize) -> Option<Standing> {
        self.entries.get(id).map(|e| e.health.standing())
    }

    fn priority_of(&self, id: usize) -> Option<u32> {
        let entry = self.entries.get(id)?;
        let target = self.rules.as_ref()?.relay.targets.get(entry.target)?;
        Some(target.priority)
    }
}
