//! Pure. Whether this thread itself was kept from running: then an answer that did not come in time
//! says nothing about who should have given it.

use std::time::{Duration, Instant};

/// How often the thread has to be seen while checks run.
pub const EVERY: Duration = Duration::from_millis(50);

/// So much later is a sign: the kernel gives a thread its turn within a few milliseconds where
/// there is a core for it.
const LATE: Duration = Duration::from_millis(100);

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
