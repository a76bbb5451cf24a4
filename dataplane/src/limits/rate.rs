//! Pure. A token bucket that holds one second's worth.

use std::time::{Duration, Instant};

/// So much comes at once at most, after a pause.
const BURST: Duration = Duration::from_secs(1);

/// So many a second.
#[derive(Debug)]
pub(super) struct Rate {
    /// What one costs; absent: none is admitted at all.
    cost: Option<Duration>,
    /// When the bucket is full again; absent: it is.
    full_at: Option<Instant>,
}

impl Rate {
    /// What was taken from the bucket `before` is taken from this one.
    pub(super) fn new(per_second: u32, before: Option<Self>) -> Self {
        Self {
            cost: BURST.checked_div(per_second),
            full_at: before.and_then(|rate| rate.full_at),
        }
    }

    pub(super) fn admits(&mut self, now: Instant) -> bool {
        let Some(cost) = self.cost else {
            return false;
        };
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + cost;
        let admits = full_at <= now + BURST;
        if admits {
            self.full_at = Some(full_at);
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any moment to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn admitted(rate: &mut Rate, now: Instant, tries: u32) -> usize {
        (0..tries).filter(|_| rate.admits(now)).count()
    }

    #[test]
    fn a_second_s_worth_at_once_and_then_as_many_as_time_gives() {
        for per_second in [1, 3, 7, 500, 10_000] {
            let (mut rate, start) = (Rate::new(per_second, None), start());
            let expected = usize::try_from(per_second).unwrap();
            assert_eq!(admitted(&mut rate, start, 20_000), expected);
            let mut later = 0;
            for step in 1..=1000 {
                let now = start + Duration::from_millis(step * 10);
                later += admitted(&mut rate, now, 20_000);
            }
            assert!(
                (expected * 10 - 1..=expected * 10).contains(&later),
                "{per_second}: {later}"
            );
        }
    }

    #[test]
    fn none_is_none_and_another_rate_fills_no_bucket() {
        let start = start();
        assert!(!Rate::new(0, None).admits(start));
        let mut rate = Rate::new(10, None);
        assert_eq!(admitted(&mut rate, start, 20), 10);
        let mut slower = Rate::new(5, Some(rate));
        assert_eq!(admitted(&mut slower, start, 20), 0);
        assert_eq!(
            admitted(&mut slower, start + Duration::from_millis(400), 20),
            2
        );
    }
}
