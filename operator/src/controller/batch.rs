//! Pure. When to stop gathering events and act: after a quiet moment, or when it takes too long.

use std::time::{Duration, Instant};

/// Quiet for this long ends a batch: a rollout's slices come in bursts.
const QUIET: Duration = Duration::from_millis(50);

/// A world that never rests is looked at this often.
const LONGEST: Duration = Duration::from_millis(200);

/// A batch of events that is being gathered.
#[derive(Debug, Default)]
pub(super) struct Batch {
    open: Option<(Instant, Instant)>,
}

impl Batch {
    /// Something has happened.
    pub(super) fn note(&mut self, now: Instant) {
        let first = self.open.map_or(now, |(first, _)| first);
        self.open = Some((first, now));
    }

    /// When to act, if there is anything to act on.
    pub(super) fn due(&self) -> Option<Instant> {
        self.open
            .map(|(first, last)| (last + QUIET).min(first + LONGEST))
    }

    /// Starts anew.
    pub(super) fn close(&mut self) {
        self.open = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::now;

    #[test]
    fn a_batch_ends_in_quiet_or_when_it_takes_too_long() {
        let start = now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut batch = Batch::default();
        assert_eq!(batch.due(), None);
        batch.note(at(0));
        assert_eq!(batch.due(), Some(at(50)));
        for millis in [40, 80, 120, 160] {
            batch.note(at(millis));
        }
        assert_eq!(batch.due(), Some(at(200)));
        batch.close();
        batch.note(at(300));
        assert_eq!(batch.due(), Some(at(350)));
    }
}
