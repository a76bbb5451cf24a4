//! Pure. Smooth weighted round robin by deadlines: a slot of weight w is due at the virtual times
//! 1/2w, 3/2w, 5/2w …, and the earliest one is next. Over each unit of virtual time a slot is due
//! exactly w times, spread evenly. Fractions are compared by integers, so nothing is ever rounded.

use std::cmp::Ordering;
use std::collections::BTreeSet;

/// The slots in the order in which they are due.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: BTreeSet<Due>,
    now: Time,
}

/// A virtual time: `halves` / (2 × `weight`).
#[derive(Clone, Copy, Debug)]
struct Time {
    halves: u64,
    weight: u32,
}

impl Default for Time {
    fn default() -> Self {
        Self {
            halves: 0,
            weight: 1,
        }
    }
}

impl Time {
    /// The first time at or after this one at which a slot of `weight` is due.
    fn first_due(self, weight: u32) -> Self {
        // halves' = the smallest odd number with halves' / weight >= halves / self.weight
        let scaled =
            (u128::from(self.halves) * u128::from(weight)).div_ceil(u128::from(self.weight.max(1)));
        let halves = u64::try_from(scaled).unwrap_or(u64::MAX - 1) | 1;
        Self { halves, weight }
    }

    fn after_one_turn(self) -> Self {
        Self {
            halves: self.halves.saturating_add(2),
            ..self
        }
    }
}

impl Ord for Time {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = u128::from(self.halves) * u128::from(other.weight);
        let right = u128::from(other.halves) * u128::from(self.weight);
        left.cmp(&right)
    }
}

impl PartialOrd for Time {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Time {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Time {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    time: Time,
    slot: usize,
}

impl Schedule {
    /// A schedule of these weights. A slot that had the same weight before, at the place that
    /// stands beside it, keeps its deadline; any other starts now, so that none catches up on
    /// time in which it was away.
    pub(super) fn updated(&mut self, weights: &[(u32, Option<usize>)]) -> Self {
        let now = self.now;
        let due = weights.iter().enumerate().map(|(slot, &(weight, before))| {
            let kept = self
                .due
                .iter()
                .find(|d| Some(d.slot) == before && d.time.weight == weight);
            let time = kept.map_or_else(|| now.first_due(weight), |d| d.time);
            Due { time, slot }
        });
        Self {
            due: due.collect(),
            now,
        }
    }

    /// What the first slot gives that has something to give; it is then due again one turn later.
    /// Whoever had nothing for a while doesn't catch up.
    pub(super) fn next<T>(&mut self, mut give: impl FnMut(usize) -> Option<T>) -> Option<T> {
        let (due, given) = self.due.iter().find_map(|d| Some((*d, give(d.slot)?)))?;
        self.due.remove(&due);
        let time = if due.time < self.now {
            self.now.first_due(due.time.weight)
        } else {
            due.time.after_one_turn()
        };
        self.due.insert(Due { time, ..due });
        self.now = self.now.max(due.time);
        Some(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(weights: &[u32], count: usize) -> Vec<usize> {
        let weights: Vec<_> = weights.iter().map(|w| (*w, None)).collect();
        let mut schedule = Schedule::default().updated(&weights);
        (0..count).filter_map(|_| schedule.next(Some)).collect()
    }

    #[test]
    fn heavy_slots_are_spread_between_light_ones() {
        assert_eq!(picks(&[5, 1, 1], 7), [0, 0, 0, 1, 2, 0, 0]);
        assert_eq!(picks(&[1, 1], 4), [0, 1, 0, 1]);
        assert_eq!(picks(&[2, 1], 6), [0, 1, 0, 0, 1, 0]);
    }

    #[test]
    fn a_slot_that_comes_later_does_not_catch_up() {
        let mut schedule = Schedule::default().updated(&[(1, None)]);
        for _ in 0..1000 {
            schedule.next(Some);
        }
        let mut both = schedule.updated(&[(1, Some(0)), (1, None)]);
        let late = (0..10).filter(|_| both.next(Some) == Some(1)).count();
        assert_eq!(late, 5);
    }

    #[test]
    fn a_slot_that_had_nothing_to_give_does_not_catch_up() {
        let mut schedule = Schedule::default().updated(&[(1, None), (2, None)]);
        for _ in 0..1000 {
            schedule.next(|slot| (slot == 1).then_some(slot));
        }
        let back = (0..30).filter(|_| schedule.next(Some) == Some(0)).count();
        assert!((10..=11).contains(&back), "{back} of 30");
    }

    #[test]
    fn an_update_that_changes_nothing_keeps_the_order() {
        let mut schedule = Schedule::default().updated(&[(3, None), (2, None)]);
        let mut order = Vec::new();
        for _ in 0..10 {
            schedule = schedule.updated(&[(3, Some(0)), (2, Some(1))]);
            order.extend(schedule.next(Some));
        }
        assert_eq!(order, picks(&[3, 2], 10));
    }
}
