//! Pure. What became of a load.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

/// What became of a load.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Operations that were done, or bytes that were moved.
    pub units: u64,
    /// How long that took.
    pub time: Duration,
    /// Operations that failed.
    pub failures: u64,
    /// Why the first one failed.
    pub reason: Option<String>,
    /// Nanoseconds of each operation.
    waits: Histogram<u64>,
}

/// Three digits of each wait are kept.
const DIGITS: u8 = 3;

impl Default for Outcome {
    fn default() -> Self {
        Self {
            units: 0,
            time: Duration::ZERO,
            failures: 0,
            reason: None,
            waits: empty(),
        }
    }
}

#[expect(clippy::expect_used, reason = "at most five digits are allowed")]
fn empty() -> Histogram<u64> {
    Histogram::new(DIGITS).expect("three digits")
}

impl Outcome {
    /// One without operations, which may have failed.
    #[must_use]
    pub fn of(ended: Result<()>) -> Self {
        let mut outcome = Self::default();
        if let Err(error) = ended {
            outcome.failed(&error);
        }
        outcome
    }

    /// Counts one operation that took so long.
    ///
    /// # Errors
    /// Longer than a histogram holds.
    pub fn note(&mut self, wait: Duration) -> Result<()> {
        self.units += 1;
        Ok(self.waits.record(u64::try_from(wait.as_nanos())?)?)
    }

    /// Counts one that failed.
    pub fn failed(&mut self, error: &anyhow::Error) {
        self.failures += 1;
        self.reason.get_or_insert_with(|| format!("{error:#}"));
    }

    /// Adds another one's operations and failures.
    ///
    /// # Errors
    /// Never: all histograms are made alike.
    pub fn add(&mut self, other: Self) -> Result<()> {
        self.units += other.units;
        self.failures += other.failures;
        self.reason = self.reason.take().or(other.reason);
        Ok(self.waits.add(other.waits)?)
    }

    /// Units a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        float(self.units) / self.time.as_secs_f64().max(1e-9)
    }

    /// Microseconds that so many percent of the operations didn't exceed.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> f64 {
        float(self.waits.value_at_percentile(percent)) / 1e3
    }
}

/// A count as a number to divide by; precise below 2^53.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a bench are far below 2^53"
)]
pub fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_add_up() {
        let mut all = Outcome::default();
        for ms in 1..=100 {
            let mut one = Outcome::default();
            one.note(Duration::from_millis(ms)).unwrap();
            all.add(one).unwrap();
        }
        all.add(Outcome::of(Err(anyhow::anyhow!("gone")))).unwrap();
        all.time = Duration::from_secs(4);
        assert_eq!((all.units, all.failures), (100, 1));
        assert_eq!(all.reason.as_deref(), Some("gone"));
        assert_eq!(all.rate(), 25.0);
        assert_eq!((all.percentile(99.0) / 1e3).round(), 99.0);
    }
}
