//! Pure. A table from hashes to members by the method of Maglev: each member walks the table by a
//! permutation of its own and takes the first free slot whenever it is its turn. Members have as
//! many slots as their weight says, and when one leaves or comes, hardly any slot of the others
//! changes hands. All data planes make the same table from the same members.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Slots of a table. A prime, so that every step walks all of them. It never depends on the number
/// of members: another size would send everybody elsewhere. docs/decisions/0013 has the figures.
pub(super) const SLOTS: u32 = 65_537;

/// Turns are counted in fractions of this, so that weights need no common measure.
const UNIT: f64 = 1_099_511_627_776.0;

/// Which member has which slot.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Box<[u16]>,
    members: Vec<Member>,
}

/// One member of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Member {
    /// Of its name, the same everywhere.
    pub(super) hash: u64,
    /// Its share, as all others have theirs.
    pub(super) weight: f64,
}

/// Where in a table a member looks for slots next.
struct Walk {
    at: u32,
    step: u32,
}

impl Table {
    /// Fills it for other members; the same ones cost nothing. Who is beyond 65,535 has no slot.
    pub(super) fn update(&mut self, members: &[Member]) {
        if self.members != members {
            self.slots = fill(members);
            self.members = members.to_vec();
        }
    }

    /// The member that has that slot, counted around; absent: there is no member.
    pub(super) fn member(&self, slot: u64) -> Option<usize> {
        let index = usize::try_from(slot % u64::from(SLOTS)).ok()?;
        self.slots.get(index).map(|member| usize::from(*member))
    }
}

fn fill(members: &[Member]) -> Box<[u16]> {
    const FREE: u16 = u16::MAX;
    let mut walks: Vec<Walk> = members.iter().map(|m| Walk::new(m.hash)).collect();
    let mut slots: Vec<u16> = (0..SLOTS).map(|_| FREE).collect();
    for index in turns(members) {
        let Some(walk) = walks.get_mut(usize::from(index)) else {
            break;
        };
        // There are as many turns as slots, so a free one is found.
        while let Some(slot) = walk.next(&mut slots) {
            if *slot == FREE {
                *slot = index;
                break;
            }
        }
    }
    slots.into()
}

/// Whose turn it is, as often as there are slots; with no members nobody's.
fn turns(members: &[Member]) -> Vec<u16> {
    let slots = usize::try_from(SLOTS).unwrap_or(usize::MAX);
    let all = (0..u16::MAX).zip(members);
    let first = members.first().map(|m| m.weight);
    if members.iter().all(|m| Some(m.weight) == first) {
        return all.map(|(index, _)| index).cycle().take(slots).collect();
    }
    let mut due: BinaryHeap<Reverse<(u64, u16, u64)>> = all
        .map(|(index, member)| (turn(member.weight), index))
        .map(|(turn, index)| Reverse((turn / 2, index, turn)))
        .collect();
    let mut next = || {
        let Reverse((time, index, turn)) = due.pop()?;
        due.push(Reverse((time.saturating_add(turn), index, turn)));
        Some(index)
    };
    (0..slots).map_while(|_| next()).collect()
}

/// Time from one turn of a member to the next.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates, and weights are not negative"
)]
fn turn(weight: f64) -> u64 {
    (UNIT / weight.max(1e-6)) as u64
}

impl Walk {
    fn new(hash: u64) -> Self {
        let part = |hash: u64, of: u32| u32::try_from(hash % u64::from(of)).unwrap_or(0);
        Self {
            at: part(hash, SLOTS),
            step: 1 + part(mix(hash), SLOTS - 1),
        }
    }

    fn next<'a>(&mut self, slots: &'a mut [u16]) -> Option<&'a mut u16> {
        let at = usize::try_from(self.at).ok()?;
        self.at = (self.at + self.step) % SLOTS;
        slots.get_mut(at)
    }
}

/// A hash of bytes that is the same in every build: FNV-1a, mixed.
pub(super) fn hash<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(bytes.into_iter().fold(start, add))
}

/// Spreads a number over all 64 bits (the finalizer of SplitMix64).
pub(super) fn mix(number: u64) -> u64 {
    let a = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    b ^ (b >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(members: impl IntoIterator<Item = (u64, f64)>) -> Table {
        let named = |(name, weight): (u64, f64)| Member {
            hash: hash(&name.to_be_bytes()),
            weight,
        };
        let mut table = Table::default();
        table.update(&members.into_iter().map(named).collect::<Vec<_>>());
        table
    }

    /// Names of the members by slot.
    fn names(table: &Table, name: impl Fn(usize) -> u64) -> Vec<u64> {
        let slots = 0..u64::from(SLOTS);
        slots.map(|s| name(table.member(s).unwrap())).collect()
    }

    fn share_that_moves(count: u64, leaves: u64) -> f64 {
        let before = table((0..count).map(|n| (n, 1.0)));
        let after = table((0..count).filter(|n| *n != leaves).map(|n| (n, 1.0)));
        let shift = |m: usize| m as u64 + u64::from(m as u64 >= leaves);
        let (before, after) = (names(&before, |m| m as u64), names(&after, shift));
        let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        moved as f64 / f64::from(SLOTS)
    }

    #[test]
    fn hardly_anything_moves_when_one_leaves() {
        for count in [2, 3, 5, 10, 30, 100, 300, 1000] {
            for leaves in [0, count / 2] {
                let extra = share_that_moves(count, leaves) - 1.0 / count as f64;
                assert!(extra <= 0.015, "{extra} more than 1/{count}");
            }
        }
    }

    #[test]
    fn slots_are_shared_by_weight() {
        let weights = [5.0, 1.0, 0.25, 3.75];
        let table = table((0..4).zip(weights));
        let mut counts = [0.0; 4];
        for name in names(&table, |m| m as u64) {
            counts[usize::try_from(name).unwrap()] += 1.0;
        }
        for (count, weight) in counts.iter().zip(weights) {
            let expected = f64::from(SLOTS) * weight / 10.0;
            assert!((count - expected).abs() <= 1.0, "{count} of {expected}");
        }
    }

    #[test]
    fn nobody_has_a_slot_of_an_empty_table() {
        assert_eq!(table([]).member(7), None);
    }
}
