//! Pure. Whether one direction moves so much at a time that a pipe pays.

/// Bytes without a pause before a pipe is tried: what is short never pays for one.
const AFTER: u32 = 128 << 10;

/// Less than this between two waits for the source is little: to copy it costs less than a pipe.
const LITTLE: usize = 8 << 10;

/// How often in a row little must have come until it counts as chat.
const CHAT: u8 = 4;

/// What is known of a direction's pace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bulk {
    /// Bytes since the last chat, as far as they matter.
    run: u32,
    little: u8,
    never: bool,
}

impl Bulk {
    /// Whether bytes are worth a pipe now.
    pub(super) fn is_under_way(self) -> bool {
        self.run >= AFTER && !self.never
    }

    /// So many bytes were read.
    pub(super) fn moved(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(AFTER);
        self.run = self.run.saturating_add(bytes).min(AFTER);
    }

    /// The source has to be waited for, after so many bytes in a row.
    pub(super) fn paused(&mut self, after: usize) {
        match after {
            // Something else woke us.
            0 => {}
            1..LITTLE => {
                self.little = self.little.saturating_add(1);
                if self.little >= CHAT {
                    self.run = 0;
                }
            }
            _ => self.little = 0,
        }
    }

    /// These ends know no pipes.
    pub(super) fn never(&mut self) {
        self.never = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_answer_is_bulk_and_a_short_one_is_not() {
        let mut bulk = Bulk::default();
        bulk.moved(100 << 10);
        assert!(!bulk.is_under_way());
        bulk.moved(28 << 10);
        assert!(bulk.is_under_way());
        bulk.paused(64 << 10);
        assert!(bulk.is_under_way(), "a pause after much is none");
    }

    #[test]
    fn chat_is_never_bulk_however_long_it_goes_on() {
        let mut bulk = Bulk::default();
        for _ in 0..10_000 {
            bulk.moved(1000);
            bulk.paused(1000);
            assert!(!bulk.is_under_way());
        }
    }

    #[test]
    fn a_transfer_that_turns_into_chat_is_none_soon() {
        let mut bulk = Bulk::default();
        bulk.moved(10 << 20);
        for _ in 1..CHAT {
            bulk.paused(64);
            bulk.paused(0);
            assert!(bulk.is_under_way());
        }
        bulk.paused(64);
        assert!(!bulk.is_under_way());
    }

    #[test]
    fn a_little_now_and_then_ends_no_transfer() {
        let mut bulk = Bulk::default();
        bulk.moved(10 << 20);
        for _ in 0..100 {
            bulk.paused(64);
            bulk.paused(LITTLE);
        }
        assert!(bulk.is_under_way());
    }

    #[test]
    fn ends_that_know_no_pipes_are_not_asked_again() {
        let mut bulk = Bulk::default();
        bulk.moved(10 << 20);
        bulk.never();
        bulk.moved(10 << 20);
        assert!(!bulk.is_under_way());
    }
}
