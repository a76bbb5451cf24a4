//! Pure. How many may be ejected: a part of each priority, and never the last one that is usable.

use std::time::Instant;

use fastrand::Rng;

use crate::balancer::Balancer;
use crate::balancer::arrange::numbers;
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
        let targets = &rules.relay.targets;
        let is_eligible = self.eligible(targets).any(|other| other == id);
        let is_usable = |other: usize| self.standing(other) == Some(Standing::Usable);
        let has_other = self
            .eligible(targets)
            .any(|other| other != id && is_usable(other));
        let may = |number| self.ejected(number).count() < self.allowance(number);
        if !is_eligible || !has_other || !self.priority_of(id).is_some_and(may) {
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
        let targets = &rules.relay.targets;
        let is_usable = |id: usize| self.standing(id) == Some(Standing::Usable);
        let has_usable = self.eligible(targets).any(is_usable);
        for number in numbers(targets) {
            let allowed = if has_usable {
                self.allowance(number)
            } else {
                0
            };
            let mut ejected: Vec<usize> = self.ejected(number).collect();
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
    fn allowance(&self, number: u32) -> usize {
        let Some(rules) = &self.rules else {
            return 0;
        };
        let percent = usize::from(rules.health().passive.max_ejection_percent);
        let targets = &rules.relay.targets;
        let of = |id: &usize| self.priority_of(*id) == Some(number);
        let part = self.eligible(targets).filter(of).count() * percent / 100;
        let one = self.eligible(targets).nth(1).is_some() && percent > 0;
        part.max(usize::from(one))
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
