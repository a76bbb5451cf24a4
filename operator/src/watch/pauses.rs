//! Edge. How long a watch waits after a failure.
//!
//! kube's own backoff ends at 30 s: after an outage, news would come that much later. Ours ends where an
//! API server that has just come back can bear it: there are a dozen watches in a replica.

use std::time::Duration;

use kube::runtime::utils::Backoff;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(3);

/// Up to so much longer, so that replicas don't come in step.
const JITTER: f64 = 0.3;

/// Twice as long each time, up to a bound, until the watch works.
pub(super) struct Pauses(Duration);

impl Pauses {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST);
        Some(pause.mul_f64(1.0 + fastrand::f64() * JITTER))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_of_any_length_is_over_within_four_seconds() {
        let mut pauses = Pauses::new();
        let first = pauses.next().unwrap();
        assert!(first >= FIRST && first < 2 * FIRST, "{first:?}");
        for _ in 0..1000 {
            assert!(pauses.next().unwrap() < Duration::from_secs(4));
        }
        assert!(pauses.next().unwrap() >= LONGEST);
        pauses.reset();
        assert!(pauses.next().unwrap() < 2 * FIRST);
    }
}
