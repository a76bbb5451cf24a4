//! Pure. Whether this thread itself was kept from running: then an answer that did not come in time
//! says nothing about who should have given it.

use std::time::{Duration, Instant};

/// How often the thread has to be seen while checks run.
pub const EVERY: Duration = Duration::from_millis(50);

/// So much later is a sign: the kernel gives a thread its turn within a few milliseconds where
/// there is a core for it.
const LATE: Duration = Duration::from_millis(100);

/// Of a short time half is enough to spoil it, but a timer is never exact.
const LEAST: Duration = Duration::from_millis(10);

/// Whether a check that had so long was ended too late: an answer may have been missed, or never
/// been asked for.
#[must_use]
pub fn is_late(started: Instant, timeout: Duration, now: Instant) -> bool {
    let taken = now.saturating_duration_since(started);
    taken.saturating_sub(timeout) > (timeout / 2).clamp(LEAST, LATE)
}

/// When the thread last did not run for a while.
#[derive(Clone, Copy, Debug)]
pub struct Starvation {
    seen: Instant,
    starved: Option<Instant>,
}

impl Starvation {
    /// From now on.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            seen: now,
            starved: None,
        }
    }

    /// The thread runs, and was expected to within `EVERY`.
    pub fn seen(&mut self, now: Instant) {
        if now.saturating_duration_since(self.seen) > EVERY + LATE {
            self.starved = Some(now);
        }
        self.seen = now;
    }

    /// The thread runs, and nobody had a reason to look before.
    pub fn rested(&mut self, now: Instant) {
        self.seen = now;
    }

    /// Whether it did not run at some time since then.
    #[must_use]
    pub fn since(&self, then: Instant) -> bool {
        self.starved.is_some_and(|starved| starved >= then)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_check_is_spoilt_by_a_short_pause() {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let ms = Duration::from_millis;
        for (timeout, taken, expected) in [
            (50, 50, false),
            (50, 75, false),
            (50, 120, true),
            (1, 11, false),
            (1, 12, true),
            (5000, 5100, false),
            (5000, 5101, true),
        ] {
            let is_late = is_late(start, ms(timeout), start + ms(taken));
            assert_eq!(is_late, expected, "{timeout} ms, {taken} ms");
        }
    }

    #[test]
    fn a_thread_that_does_not_run_is_starved() {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut starvation = Starvation::new(start);
        for ms in (50..1000).step_by(50) {
            starvation.seen(at(ms + 20));
        }
        assert!(!starvation.since(start));
        starvation.seen(at(1200));
        assert!(starvation.since(start) && starvation.since(at(1200)));
        assert!(!starvation.since(at(1201)), "that began later");
        // A rest is none.
        let mut starvation = Starvation::new(start);
        starvation.rested(at(5000));
        starvation.seen(at(5050));
        assert!(!starvation.since(start));
    }
}
