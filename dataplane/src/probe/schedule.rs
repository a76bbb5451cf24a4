//! Pure. When each backend is checked next, spread evenly over time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fastrand::Rng;

/// Which check.
pub type Id = u64;

/// A check is placed where fewer others stand this near before and after it.
const NEAR: Duration = Duration::from_millis(50);

/// The time from one check to the next differs from the interval by so much of it, so that the
/// checks of several data planes don't stay in step.
const JITTER: f64 = 0.1;

/// The checks to come.
#[derive(Debug, Default)]
pub struct Schedule {
    due: BTreeSet<(Instant, Id)>,
    by_id: BTreeMap<Id, Instant>,
}

impl Schedule {
    /// Plans the first check of a backend: at any time of the interval, also after a restart, when
    /// all backends are new.
    pub fn first(&mut self, id: Id, now: Instant, interval: Duration, rng: &mut Rng) {
        self.place(id, now, interval, rng);
    }

    /// Plans the check after one that began at `started`.
    pub fn next(
        &mut self,
        id: Id,
        started: Instant,
        now: Instant,
        interval: Duration,
        rng: &mut Rng,
    ) {
        let earliest = started + interval.mul_f64(1.0 - JITTER);
        let latest = started + interval.mul_f64(1.0 + JITTER);
        let earliest = earliest.max(now);
        self.place(
            id,
            earliest,
            latest.saturating_duration_since(earliest),
            rng,
        );
    }

    /// Of two times within `length` after `from`, the one with fewer others near it: left to
    /// chance alone, some moments have several times as many as others.
    fn place(&mut self, id: Id, from: Instant, length: Duration, rng: &mut Rng) {
        self.remove(id);
        let mut any = || from + length.mul_f64(rng.f64());
        let (a, b) = (any(), any());
        let at = if self.near(a) <= self.near(b) { a } else { b };
        self.due.insert((at, id));
        self.by_id.insert(id, at);
    }

    fn near(&self, at: Instant) -> usize {
        let from = at.checked_sub(NEAR).unwrap_or(at);
        self.due.range((from, 0)..(at + NEAR, 0)).count()
    }

    /// Forgets a check.
    pub fn remove(&mut self, id: Id) {
        if let Some(at) = self.by_id.remove(&id) {
            self.due.remove(&(at, id));
        }
    }

    /// When the next one is due.
    #[must_use]
    pub fn soonest(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes one that is due.
    pub fn pop(&mut self, now: Instant) -> Option<Id> {
        let &(at, id) = self.due.first()?;
        if at > now {
            return None;
        }
        self.remove(id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    /// The times of all checks of so many backends within a minute of a start.
    fn minute(backends: u64, seed: u64) -> Vec<(Duration, Id)> {
        let (mut schedule, mut rng) = (Schedule::default(), Rng::with_seed(seed));
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        for id in 0..backends {
            schedule.first(id, start, INTERVAL, &mut rng);
        }
        let mut times = Vec::new();
        while let Some(now) = schedule.soonest() {
            if now > start + Duration::from_secs(60) {
                return times;
            }
            let id = schedule.pop(now).unwrap();
            times.push((now - start, id));
            schedule.next(id, now, now, INTERVAL, &mut rng);
        }
        times
    }

    #[test]
    fn no_moment_has_many_more_checks_than_another() {
        for seed in 0..50 {
            let times = minute(200, seed);
            let mut buckets = [0_u32; 601];
            for (at, _) in &times {
                buckets[usize::try_from(at.as_millis()).unwrap() / 100] += 1;
            }
            let mean = f64::from(buckets.iter().sum::<u32>()) / 600.0;
            let most = f64::from(*buckets.iter().max().unwrap());
            assert!(most <= 3.0 * mean, "{most} in 100 ms, {mean} on average");
            // The first interval of all, in which a restart would show.
            let first: u32 = buckets[..50].iter().sum();
            assert!((190..=222).contains(&first), "{first}");
        }
    }

    #[test]
    fn a_backend_is_checked_once_an_interval_give_or_take_a_tenth() {
        let times = minute(10, 1);
        for id in 0..10 {
            let of: Vec<_> = times
                .iter()
                .filter(|(_, i)| *i == id)
                .map(|(t, _)| *t)
                .collect();
            assert!(of[0] <= INTERVAL);
            for pair in of.windows(2) {
                let pause = (pair[1] - pair[0]).as_secs_f64();
                assert!((4.49..=5.51).contains(&pause), "{pause}");
            }
        }
    }

    #[test]
    fn a_check_that_is_gone_is_not_due() {
        let (mut schedule, mut rng) = (Schedule::default(), Rng::with_seed(1));
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        schedule.first(1, start, INTERVAL, &mut rng);
        schedule.first(2, start, INTERVAL, &mut rng);
        assert_eq!(schedule.pop(start), None);
        schedule.remove(1);
        let later = start + INTERVAL;
        assert_eq!(schedule.pop(later), Some(2));
        assert_eq!((schedule.pop(later), schedule.soonest()), (None, None));
        // After one that took longer than its interval, the next one is at once.
        schedule.next(2, start, later + INTERVAL, INTERVAL, &mut rng);
        assert_eq!(schedule.soonest(), Some(later + INTERVAL));
    }
}
