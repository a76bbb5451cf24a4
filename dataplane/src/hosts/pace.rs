//! Pure. When a name is asked for again.

use std::time::Duration;

use fastrand::Rng;

/// A shorter time to live is taken for this: a name is asked for once a second at most.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// A longer one is taken for this: an address that was given up is left within minutes.
pub const LONGEST: Duration = Duration::from_secs(300);

/// Failures in a row back off from `SHORTEST` to this.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// How often a name failed in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    failures: u32,
}

impl Pace {
    /// The pause after an answer that may be kept for so long. Up to a tenth is added, so that
    /// many names, and many data planes, don't ask at the same time.
    pub fn answered(&mut self, ttl: Duration, rng: &mut Rng) -> Duration {
        self.failures = 0;
        let ttl = ttl.clamp(SHORTEST, LONGEST);
        (ttl + ttl.mul_f64(rng.f64() / 10.0)).min(LONGEST)
    }

    /// The pause after no answer: it doubles, give or take a quarter.
    pub fn failed(&mut self, rng: &mut Rng) -> Duration {
        let doubled = SHORTEST.saturating_mul(1 << self.failures.min(8));
        self.failures = self.failures.saturating_add(1);
        let pause = doubled
            .min(LONGEST_BACK_OFF)
            .mul_f64(0.75 + rng.f64() / 2.0);
        pause.clamp(SHORTEST, LONGEST_BACK_OFF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_for_its_time_within_bounds() {
        let (mut pace, mut rng) = (Pace::default(), Rng::with_seed(1));
        for (ttl, least, most) in [(0, 1.0, 1.1), (60, 60.0, 66.0), (86_400, 300.0, 300.0)] {
            for _ in 0..100 {
                let pause = pace
                    .answered(Duration::from_secs(ttl), &mut rng)
                    .as_secs_f64();
                assert!((least..=most).contains(&pause), "{ttl}: {pause}");
            }
        }
    }

    #[test]
    fn failures_back_off_until_there_is_an_answer() {
        let (mut pace, mut rng) = (Pace::default(), Rng::with_seed(1));
        let mut pauses = |pace: &mut Pace| -> Vec<f64> {
            (0..9)
                .map(|_| pace.failed(&mut rng).as_secs_f64())
                .collect()
        };
        let expected = [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0];
        for _ in 0..100 {
            for (pause, expected) in pauses(&mut pace).into_iter().zip(expected) {
                let near = (expected * 0.75..=expected * 1.25).contains(&pause);
                assert!(
                    near && (1.0..=30.0).contains(&pause),
                    "{pause} for {expected}"
                );
            }
            pace.answered(Duration::ZERO, &mut Rng::with_seed(2));
        }
    }
}
