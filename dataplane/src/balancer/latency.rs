//! Pure. How long a backend takes to be reached: a peak EWMA. A longer time counts at once, a
//! shorter one by and by, and what is not seen again fades, so that a slow backend gets its chance.

use std::time::{Duration, Instant};

/// In so much time a sample fades to 1/e.
const TAU: Duration = Duration::from_secs(10);

/// A dial that failed counts as one that took at least so long: who refuses fast is not near.
const FAILED: Duration = Duration::from_secs(1);

/// Of one backend.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latency(Option<(Duration, Instant)>);

impl Latency {
    /// Whether it was ever dialled.
    pub(super) fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// At that time, in seconds; 0: not known.
    pub(super) fn at(&self, now: Instant) -> f64 {
        self.0.map_or(0.0, |(peak, seen)| {
            let age = now.saturating_duration_since(seen);
            peak.as_secs_f64() * fade(age)
        })
    }

    /// At that time; absent: it was never dialled.
    pub(super) fn known_at(&self, now: Instant) -> Option<Duration> {
        self.0.map(|_| Duration::from_secs_f64(self.at(now)))
    }

    pub(super) fn reached(&mut self, connect: Duration, now: Instant) {
        let Some((_, seen)) = self.0 else {
            self.0 = Some((connect, now));
            return;
        };
        let before = Duration::from_secs_f64(self.at(now));
        let keep = fade(now.saturating_duration_since(seen));
        let mixed = before.mul_f64(keep) + connect.mul_f64(1.0 - keep);
        self.0 = Some((mixed.max(connect), now));
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.reached(FAILED, now);
    }
}

fn fade(age: Duration) -> f64 {
    (-age.as_secs_f64() / TAU.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(is: f64, expected_ms: f64) {
        assert!((is * 1000.0 - expected_ms).abs() < 0.01, "{is} s");
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let start = tokio::time::Instant::now().into_std();
        let at = |s| start + Duration::from_secs(s);
        let mut latency = Latency::default();
        close(latency.at(start), 0.0);
        latency.reached(Duration::from_millis(10), start);
        latency.reached(Duration::from_millis(100), start);
        close(latency.at(start), 100.0);
        close(latency.at(at(10)), 36.788);
        latency.reached(Duration::from_millis(1), at(10));
        close(latency.at(at(10)), 36.788 * 0.36788 + 0.63212);
        latency.failed(at(10));
        close(latency.at(at(10)), 1000.0);
    }
}
