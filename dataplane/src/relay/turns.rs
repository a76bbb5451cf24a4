//! Pure. How much a session may move before others of its worker get their turn.
//!
//! Long turns are cheap: what comes in meanwhile is moved in larger pieces, and wakes less often. But
//! somebody who sends a word now and then waits for the turns of all who always have more. So turns
//! get shorter the more of those there are.

use std::num::NonZeroU32;

/// What a turn is at most, in bytes moved by pipes.
const LONGEST: usize = 4 << 20;

/// And at least.
const SHORTEST: usize = 256 << 10;

/// What the turns of all together shall be, as long as they are no shorter than that: some 4 ms.
const TOGETHER: usize = 16 << 20;

/// A worker's turns.
///
/// A round is over when the first of those that have used up their turn in it is asked again. Between
/// that the runtime has looked at sockets at least once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turns {
    round: NonZeroU32,
    /// How many turns were used up, one for each direction, in this round, and in the one before.
    used_up: [usize; 2],
}

/// In which round a session has used up its turn, if it ever has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UsedUp(Option<NonZeroU32>);

impl Default for Turns {
    fn default() -> Self {
        Self {
            round: NonZeroU32::MIN,
            used_up: [0; 2],
        }
    }
}

impl Turns {
    /// A session's turn begins, which so used up an earlier one.
    pub(super) fn begin(&mut self, earlier: UsedUp) -> usize {
        if earlier.0 == Some(self.round) {
            self.round = self.round.checked_add(1).unwrap_or(NonZeroU32::MIN);
            self.used_up = [0, self.used_up[0]];
        }
        let sharing = self.used_up[0].max(self.used_up[1]).max(1);
        (TOGETHER / sharing).clamp(SHORTEST, LONGEST)
    }

    /// That turn was used up.
    pub(super) fn use_up(&mut self) -> UsedUp {
        self.used_up[0] = self.used_up[0].saturating_add(1);
        UsedUp(Some(self.round))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sessions that always have more: the turns of each round.
    fn rounds(sessions: usize, rounds: usize) -> Vec<Vec<usize>> {
        let mut turns = Turns::default();
        let mut earlier = vec![UsedUp::default(); sessions];
        let mut round = || {
            let turn = |earlier: &mut UsedUp| {
                let turn = turns.begin(*earlier);
                *earlier = turns.use_up();
                turn
            };
            earlier.iter_mut().map(turn).collect()
        };
        (0..rounds).map(|_| round()).collect()
    }

    #[test]
    fn few_have_long_turns() {
        for sessions in 1..=4 {
            for round in rounds(sessions, 3) {
                assert_eq!(round, vec![LONGEST; sessions]);
            }
        }
    }

    #[test]
    fn many_share_what_a_chat_may_wait_for() {
        let last = rounds(32, 3).pop().unwrap();
        assert_eq!(last.iter().sum::<usize>(), TOGETHER);
        let last = rounds(1000, 3).pop().unwrap();
        assert_eq!(last, vec![SHORTEST; 1000]);
    }

    #[test]
    fn turns_get_longer_again() {
        let mut turns = Turns::default();
        let mut many = UsedUp::default();
        for _ in 0..100 {
            many = turns.use_up();
        }
        assert_eq!(turns.begin(many), SHORTEST, "as many may want the next one");
        let alone = turns.use_up();
        assert_eq!(turns.begin(alone), LONGEST);
    }

    #[test]
    fn who_only_waited_begins_no_round() {
        let mut turns = Turns::default();
        let earlier = turns.use_up();
        turns.begin(UsedUp::default());
        assert_eq!(turns.use_up(), earlier);
        turns.begin(earlier);
        assert_ne!(turns.use_up(), earlier);
    }
}
