//! Pure. From what is known of each backend to what a pick looks at.

use std::time::Instant;

use tcpforward_protocol::snapshot::{BackendState, TakesNew, Target, WhenNoneHealthy};

use crate::balancer::Balancer;
use crate::balancer::ask::Probation;
use crate::balancer::entry::Entry;
use crate::balancer::failover::Strength;
use crate::balancer::group::{Group, Part, Parts};
use crate::balancer::health::Standing;
use crate::balancer::outcome::Observed;

/// What came of it, beside the groups.
#[derive(Clone, Debug)]
pub(super) struct Arranged {
    /// Backends that take new sessions, in whatever health.
    pub(super) eligible: usize,
    /// Backends that any session could go to.
    pub(super) choices: usize,
    pub(super) probation: Probation,
    pub(super) bar: Bar,
    /// Of each priority; kept right until the next time.
    pub(super) tallies: Vec<Tally>,
    /// When `tick` has something to do.
    pub(super) due: Option<Instant>,
}

impl Default for Arranged {
    fn default() -> Self {
        Self {
            eligible: 0,
            choices: 0,
            probation: Probation::Trials,
            bar: Bar::Available,
            tallies: Vec::new(),
            due: None,
        }
    }
}

/// How those of a priority stand that take new sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) number: u32,
    pub(super) eligible: usize,
    pub(super) usable: usize,
    pub(super) ejected: usize,
}

impl Tally {
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            eligible: 0,
            usable: 0,
            ejected: 0,
        }
    }

    pub(super) fn add(&mut self, standing: Standing) {
        self.eligible += 1;
        self.usable += usize::from(standing == Standing::Usable);
        self.ejected += usize::from(standing == Standing::Ejected);
    }

    pub(super) fn remove(&mut self, standing: Standing) {
        let less = |count: usize, is_one: bool| count.saturating_sub(usize::from(is_one));
        self.eligible = less(self.eligible, true);
        self.usable = less(self.usable, standing == Standing::Usable);
        self.ejected = less(self.ejected, standing == Standing::Ejected);
    }
}

/// Who may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bar {
    /// Whoever is not left out.
    Available,
    /// Whoever takes new sessions: nobody is healthy, and all are tried.
    Eligible,
}

impl Bar {
    pub(super) fn passes(self, entry: &Entry) -> bool {
        let standing = entry.health.standing();
        self == Self::Eligible || matches!(standing, Standing::Probation | Standing::Usable)
    }
}

impl Balancer {
    /// Makes the groups anew and shows what has changed.
    pub(super) fn arrange(&mut self, now: Instant) -> Observed {
        let Some(rules) = self.rules.clone() else {
            return Observed::Same;
        };
        self.is_stale = false;
        #[cfg(test)]
        {
            self.arrangements += 1;
        }
        self.relax();
        let relay = &rules.relay;
        let targets = &relay.targets;
        let numbers = numbers(targets);
        let bar = self.bar(targets, relay.health_check.when_none_healthy);
        let strength = |n: &u32| self.strength(*n, targets, bar);
        let strengths: Vec<_> = numbers.iter().map(strength).collect();
        self.failover.update(&strengths, &relay.failover, now);
        self.regroup(&numbers, targets, bar);
        let has_usable = strengths.iter().any(|s| s.usable > 0);
        self.arranged = Arranged {
            eligible: self.eligible(targets).count(),
            bar,
            tallies: self.tallies(targets),
            choices: self.mark_choices(has_usable),
            probation: if has_usable {
                Probation::Trials
            } else {
                Probation::Everyone
            },
            due: self.due(),
        };
        self.show(targets, now)
    }

    fn bar(&self, targets: &[Target], when_none_healthy: WhenNoneHealthy) -> Bar {
        let is_available = |id| {
            self.entries
                .get(id)
                .is_some_and(|e| Bar::Available.passes(e))
        };
        match when_none_healthy {
            WhenNoneHealthy::TryAll if !self.eligible(targets).any(is_available) => Bar::Eligible,
            WhenNoneHealthy::Refuse | WhenNoneHealthy::TryAll => Bar::Available,
        }
    }

    fn strength(&self, number: u32, targets: &[Target], bar: Bar) -> Strength {
        let is_leaving =
            |e: &Entry| e.state == BackendState::Terminating && e.takes_new == TakesNew::No;
        let is_of = |e: &&Entry| targets.get(e.target).is_some_and(|t| t.priority == number);
        let has_weight = |e: &&Entry| targets.get(e.target).is_some_and(|t| t.weight > 0);
        let listed = self.entries.iter().filter(is_of).filter(has_weight);
        let mut strength = Strength {
            number,
            total: 0,
            usable: 0,
            available: 0,
            desperate: 0,
        };
        for entry in listed {
            let (takes_new, standing) = (entry.takes_new, entry.health.standing());
            strength.total += usize::from(!is_leaving(entry));
            if takes_new == TakesNew::Yes {
                strength.usable += usize::from(standing == Standing::Usable);
                strength.available += usize::from(Bar::Available.passes(entry));
                strength.desperate += usize::from(bar.passes(entry));
            }
        }
        strength
    }

    /// Ids of those that take new sessions.
    pub(super) fn eligible(&self, targets: &[Target]) -> impl Iterator<Item = usize> {
        let is_eligible = |e: &Entry| {
            e.takes_new == TakesNew::Yes && targets.get(e.target).is_some_and(|t| t.weight > 0)
        };
        let ids = self.entries.iter().enumerate();
        ids.filter(move |(_, e)| is_eligible(e)).map(|(id, _)| id)
    }

    fn regroup(&mut self, numbers: &[u32], targets: &[Target], bar: Bar) {
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); targets.len()];
        for id in self.eligible(targets).collect::<Vec<_>>() {
            let entry = self.entries.get(id).filter(|e| bar.passes(e));
            if let Some(of) = entry.and_then(|e| members.get_mut(e.target)) {
                of.push(id);
            }
        }
        for entry in &mut self.entries {
            entry.share = 0.0;
            entry.is_spare = false;
            entry.place = None;
        }
        let mut former = std::mem::take(&mut self.groups);
        let policy = self.rules.as_ref().map(|r| r.relay.load_balancer.policy);
        for number in numbers {
            let of = targets.iter().zip(&mut members);
            let mut parts = Parts::default();
            for (target, ids) in of.filter(|(t, _)| t.priority == *number) {
                let (near, far) = self.apart(std::mem::take(ids));
                parts.near.extend(self.part(target, near));
                parts.far.extend(self.part(target, far));
            }
            let at = former.iter().position(|g| g.number == *number);
            let before = at.map(|i| former.swap_remove(i));
            if let Some(policy) = policy {
                let group = Group::new(*number, parts, policy, before, &mut self.entries);
                self.groups.push(group);
            }
        }
    }

    /// Those that are near and those that are far; all count as near while no near one is usable.
    fn apart(&self, members: Vec<usize>) -> (Vec<usize>, Vec<usize>) {
        let entry = |id: &usize| self.entries.get(*id);
        let is_good = |e: &Entry| e.is_near && e.health.standing() == Standing::Usable;
        if !members.iter().filter_map(entry).any(is_good) {
            return (members, Vec::new());
        }
        let is_near = |id: &usize| entry(id).is_some_and(|e| e.is_near);
        members.into_iter().partition(is_near)
    }

    fn part(&self, target: &Target, members: Vec<usize>) -> Option<Part> {
        let entry = |id: &usize| self.entries.get(*id);
        let name = members.first().and_then(entry)?;
        Some(Part {
            target: name.backend.target.clone(),
            index: name.target,
            weight: target.weight,
            members,
        })
    }

    /// Says of each backend whether a session that fails elsewhere could go there.
    fn mark_choices(&mut self, has_usable: bool) -> usize {
        for entry in &mut self.entries {
            let is_good = !has_usable || entry.health.standing() == Standing::Usable;
            entry.is_choice = entry.share > 0.0 && is_good;
        }
        let levels = self.failover.levels();
        for (group, level) in self.groups.iter().zip(levels) {
            if level.is_held() {
                for id in group.members() {
                    if let Some(entry) = self.entries.get_mut(id) {
                        entry.is_choice = false;
                    }
                }
            }
        }
        self.entries.iter().filter(|e| e.is_choice).count()
    }

    pub(super) fn tallies(&self, targets: &[Target]) -> Vec<Tally> {
        let mut tallies: Vec<_> = numbers(targets).into_iter().map(Tally::new).collect();
        for entry in self.eligible(targets).filter_map(|id| self.entries.get(id)) {
            let number = targets.get(entry.target).map(|t| t.priority);
            let tally = tallies.iter_mut().find(|t| Some(t.number) == number);
            if let Some(tally) = tally {
                tally.add(entry.health.standing());
            }
        }
        tallies
    }

    fn due(&self) -> Option<Instant> {
        let rules = self.rules.as_ref()?.health();
        let of_entries = self.entries.iter().filter_map(|e| e.health.due(rules));
        of_entries.chain(self.failover.due()).min()
    }

    fn show(&self, targets: &[Target], now: Instant) -> Observed {
        let levels = self.failover.levels();
        let mut is_news = false;
        for entry in &self.entries {
            let number = targets.get(entry.target).map(|t| t.priority);
            let level = levels.iter().find(|l| Some(l.number()) == number);
            let is_failed_back = level.is_some_and(|l| l.is_failed_back());
            let condition = entry.condition(is_failed_back);
            is_news |= entry.backend.set_condition(condition, now);
            is_news |= entry.show();
        }
        Observed::from(is_news)
    }
}

/// Lowest first.
pub(super) fn numbers(targets: &[Target]) -> Vec<u32> {
    let mut numbers: Vec<u32> = targets.iter().map(|t| t.priority).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}
