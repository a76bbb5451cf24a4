//! Pure. Which stream updates are taken from.

use std::collections::BTreeMap;

/// Names a stream for as long as it lives.
pub(crate) type StreamId = u64;

/// What is known of each stream, and the choice.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// The epoch that a stream's operator last spoke of; a stream that was not welcomed isn't here.
    epochs: BTreeMap<StreamId, u64>,
    chosen: Option<StreamId>,
    /// Highest epoch applied: nothing below it is taken.
    highest: u64,
}

impl Sources {
    /// Starts with the highest epoch that was applied in an earlier life.
    pub(crate) fn new(highest: u64) -> Self {
        Self {
            highest,
            ..Self::default()
        }
    }

    /// The stream that updates are taken from.
    pub(crate) fn chosen(&self) -> Option<StreamId> {
        self.chosen
    }

    /// Highest epoch applied.
    pub(crate) fn highest(&self) -> u64 {
        self.highest
    }

    /// An operator said its epoch, in a welcome or with an update.
    pub(crate) fn heard(&mut self, stream: StreamId, epoch: u64) {
        self.epochs.insert(stream, epoch);
        self.choose();
    }

    /// A stream is gone.
    pub(crate) fn ended(&mut self, stream: StreamId) {
        self.epochs.remove(&stream);
        self.choose();
    }

    /// An update of this epoch is applied.
    pub(crate) fn applied(&mut self, epoch: u64) {
        self.highest = self.highest.max(epoch);
        self.choose();
    }

    /// Keeps the present choice while it is there and not stale; otherwise the highest epoch, and
    /// of several the oldest stream.
    fn choose(&mut self) {
        let fresh = |id: &StreamId| self.epochs.get(id).is_some_and(|e| *e >= self.highest);
        if self.chosen.as_ref().is_some_and(fresh) {
            return;
        }
        self.chosen = self
            .epochs
            .iter()
            .filter(|(id, _)| fresh(id))
            .max_by_key(|(id, epoch)| (**epoch, std::cmp::Reverse(**id)))
            .map(|(id, _)| *id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_welcome_is_chosen_and_kept() {
        let mut sources = Sources::new(0);
        assert_eq!(sources.chosen(), None);
        sources.heard(1, 7);
        sources.heard(2, 8);
        assert_eq!(sources.chosen(), Some(1));
        sources.ended(1);
        assert_eq!(sources.chosen(), Some(2));
        sources.ended(2);
        assert_eq!(sources.chosen(), None);
    }

    #[test]
    fn a_stale_operator_is_never_chosen() {
        let mut sources = Sources::new(9);
        sources.heard(1, 8);
        assert_eq!(sources.chosen(), None);
        sources.heard(2, 9);
        assert_eq!(sources.chosen(), Some(2));
        sources.heard(1, 9);
        assert_eq!(
            sources.chosen(),
            Some(2),
            "a fresh one does not displace the choice"
        );
    }

    #[test]
    fn one_that_turns_stale_is_left_for_the_highest_epoch() {
        let mut sources = Sources::new(0);
        sources.heard(1, 5);
        sources.heard(2, 6);
        sources.heard(3, 7);
        sources.applied(6);
        assert_eq!(sources.chosen(), Some(3));
        sources.heard(3, 4);
        assert_eq!(sources.chosen(), Some(2));
        assert_eq!(sources.highest(), 6);
    }
}
