//! Pure. How many Events may be written: a few at once, then now and then, for each forward and for all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tcpforward_protocol::snapshot::ForwardName;

/// A forward that flaps tells ten turns at once and then one a minute: who reads them has understood.
const EACH: Rate = Rate {
    burst: 10,
    every: Duration::from_secs(60),
};

/// A data plane that goes turns all forwards of its pool: the API server keeps each Event for an hour.
const ALL: Rate = Rate {
    burst: 200,
    every: Duration::from_millis(200),
};

#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    every: Duration,
}

/// What is left of a rate.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u32,
    /// When what is left was counted.
    at: Instant,
}

impl Bucket {
    fn full(rate: Rate, now: Instant) -> Self {
        Self {
            left: rate.burst,
            at: now,
        }
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at);
        let more = elapsed.as_nanos() / rate.every.as_nanos().max(1);
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(more).min(rate.burst);
        self.at = match self.left == rate.burst {
            true => now,
            false => self.at + rate.every.saturating_mul(more),
        };
    }
}

/// Counts what was written. It holds those forwards that have lately told something: with the rate
/// of all, fewer than 3,200.
#[derive(Debug)]
pub(super) struct Pace {
    all: Bucket,
    each: BTreeMap<ForwardName, Bucket>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            all: Bucket::full(ALL, now),
            each: BTreeMap::new(),
        }
    }

    /// Whether one more may be written now.
    pub(super) fn allows(&mut self, name: &ForwardName, now: Instant) -> bool {
        self.all.refill(ALL, now);
        if self.all.left == 0 {
            return false;
        }
        self.each.retain(|_, bucket| {
            bucket.refill(EACH, now);
            bucket.left < EACH.burst
        });
        let full = || Bucket::full(EACH, now);
        let own = self.each.entry(name.clone()).or_insert_with(full);
        if own.left == 0 {
            return false;
        }
        own.left -= 1;
        self.all.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::now;

    #[test]
    fn a_forward_that_flaps_is_heard_ten_times_and_then_once_a_minute() {
        let start = now();
        let mut pace = Pace::new(start);
        let (web, db) = (
            ForwardName::new("shop", "web"),
            ForwardName::new("shop", "db"),
        );
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut heard =
            |name: &ForwardName, time| (0..20).filter(|_| pace.allows(name, time)).count();
        assert_eq!(heard(&web, at(0)), 10);
        assert_eq!(heard(&db, at(0)), 10, "others are heard");
        assert_eq!(heard(&web, at(59)), 0);
        assert_eq!(heard(&web, at(60)), 1);
        assert_eq!(heard(&web, at(119)), 0, "from the latest whole minute");
        assert_eq!(heard(&web, at(120)), 1);
        assert_eq!(heard(&web, at(7200)), 10);
    }

    #[test]
    fn all_together_are_bounded_and_nothing_is_kept_of_the_quiet() {
        let start = now();
        let mut pace = Pace::new(start);
        let name = |i: usize| ForwardName::new("shop", &format!("web-{i}"));
        let at = |millis| start + Duration::from_millis(millis);
        let allowed =
            |pace: &mut Pace, time| (0..500).filter(|i| pace.allows(&name(*i), time)).count();
        assert_eq!(allowed(&mut pace, at(0)), 200);
        assert_eq!(allowed(&mut pace, at(199)), 0);
        assert_eq!(allowed(&mut pace, at(1000)), 5);
        assert_eq!(pace.each.len(), 200);
        assert!(pace.allows(&name(7), at(600_000)));
        assert_eq!(pace.each.len(), 1);
    }
}
