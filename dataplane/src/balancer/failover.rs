//! Pure. How new sessions are split over the priorities.
//!
//! A priority that is well gets all that come to it. One that isn't keeps a part of them, and the
//! rest goes on to the next priority; the last one that has anybody gets what is left. When it is
//! well again, `failback` says when its part grows again.

use std::time::{Duration, Instant};

use tcpforward_protocol::snapshot::{self, Failback};

/// The priorities, lowest number first.
#[derive(Debug, Default)]
pub(super) struct Failover {
    levels: Vec<Level>,
    token: Option<String>,
    due: Option<Instant>,
}

/// How a priority stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strength {
    pub(super) number: u32,
    /// All that are not on their way out.
    pub(super) total: usize,
    /// Those against which nothing is held.
    pub(super) usable: usize,
    /// These, and those in probation.
    pub(super) available: usize,
    /// Those that are tried when nobody is available.
    pub(super) desperate: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Level {
    number: u32,
    /// Part that it may keep of what comes to it, until failback.
    cap: f64,
    /// Since when it is well and waits for failback.
    well_since: Option<Instant>,
    /// Of all new sessions.
    share: f64,
    had_share: bool,
    is_failed_back: bool,
}

impl Level {
    fn new(number: u32) -> Self {
        Self {
            number,
            cap: 1.0,
            well_since: None,
            share: 0.0,
            had_share: false,
            is_failed_back: false,
        }
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn share(&self) -> f64 {
        self.share
    }

    /// It waits for failback, and nobody goes there.
    pub(super) fn is_held(&self) -> bool {
        self.cap <= 0.0 && self.share <= 0.0
    }

    /// New sessions went there and have gone back to a better one.
    pub(super) fn is_failed_back(&self) -> bool {
        self.is_failed_back
    }
}

impl Failover {
    /// Splits anew.
    pub(super) fn update(
        &mut self,
        strengths: &[Strength],
        rule: &snapshot::Failover,
        now: Instant,
    ) {
        let is_told = self.take_token(&rule.failback);
        let former = std::mem::take(&mut self.levels);
        let level = |strength: &Strength| {
            let same = former.iter().find(|l| l.number == strength.number);
            same.cloned().unwrap_or_else(|| Level::new(strength.number))
        };
        self.levels = strengths.iter().map(level).collect();
        self.due = None;
        for (level, strength) in self.levels.iter_mut().zip(strengths) {
            let health = health(strength.available, strength, rule.min_healthy_percent);
            if is_told {
                level.cap = health;
            }
            let due = level.hold(health, &rule.failback, now);
            self.due = self.due.into_iter().chain(due).min();
        }
        self.split(strengths, rule.min_healthy_percent);
    }

    /// Whether the user has said that sessions shall go back.
    fn take_token(&mut self, failback: &Failback) -> bool {
        let token = match failback {
            Failback::Manual(token) => Some(token.clone()),
            Failback::Delayed(_) | Failback::Immediate => None,
        };
        let is_told = token.is_some() && self.token.is_some() && self.token != token;
        self.token = token;
        is_told
    }

    fn split(&mut self, strengths: &[Strength], min: Option<u8>) {
        // With nobody else, those in probation have to do, and then whoever is tried at all.
        let counts: [fn(&Strength) -> usize; 3] = [|s| s.usable, |s| s.available, |s| s.desperate];
        let has_any = |count: &fn(&Strength) -> usize| strengths.iter().any(|s| count(s) > 0);
        let Some(count) = counts.into_iter().find(has_any) else {
            self.levels.iter_mut().for_each(|level| level.share = 0.0);
            return;
        };
        let mut left = 1.0;
        let mut last = None;
        for (index, (level, strength)) in self.levels.iter_mut().zip(strengths).enumerate() {
            let part = health(count(strength), strength, min).min(level.cap);
            level.share = left * part;
            left -= level.share;
            if part > 0.0 {
                last = Some(index);
            }
        }
        // All wait, but sessions have to go somewhere: that is a failback, too.
        let waiting = || strengths.iter().position(|s| count(s) > 0);
        if let Some(level) = last.or_else(waiting).and_then(|i| self.levels.get_mut(i)) {
            level.share += left;
            if last.is_none() {
                level.cap = 1.0;
            }
        }
        let mut has_better = false;
        for level in &mut self.levels {
            level.had_share |= level.share > 0.0;
            level.is_failed_back = has_better && level.had_share && level.share <= 0.0;
            has_better |= level.share > 0.0;
        }
    }

    pub(super) fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// The level to which a session goes, by a number from 0 to below 1.
    pub(super) fn choose(&self, chance: f64) -> Option<usize> {
        let mut left = chance;
        let chosen = self.levels.iter().position(|level| {
            left -= level.share;
            left < 0.0
        });
        // Sums of fractions may miss one by a hair.
        chosen.or_else(|| self.levels.iter().rposition(|level| level.share > 0.0))
    }

    /// When a delay of failback is over.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }
}

impl Level {
    /// Lowers what it may keep at once, and raises it as failback says; gives the time at which
    /// that is due.
    fn hold(&mut self, health: f64, failback: &Failback, now: Instant) -> Option<Instant> {
        let delay = match failback {
            Failback::Delayed(delay) => *delay,
            Failback::Immediate => Duration::ZERO,
            Failback::Manual(_) => Duration::MAX,
        };
        if health < 1.0 && delay > Duration::ZERO {
            self.cap = self.cap.min(health);
            self.well_since = None;
            return None;
        }
        if self.cap >= 1.0 {
            return None;
        }
        let since = *self.well_since.get_or_insert(now);
        if now.saturating_duration_since(since) < delay {
            return since.checked_add(delay);
        }
        self.cap = 1.0;
        self.well_since = None;
        None
    }
}

/// Part of its sessions that a priority keeps when so many can be used.
fn health(count: usize, strength: &Strength, min: Option<u8>) -> f64 {
    let number = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    match min {
        _ if count == 0 => 0.0,
        None => 1.0,
        Some(min) => {
            let percent = 100.0 * number(count) / number(strength.total.max(1));
            (percent / f64::from(min.max(1))).min(1.0)
        }
    }
}

#[cfg(test)]
mod tests;
