//! Pure. Which ports of its pods a forward gets.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use tcpforward_protocol::snapshot::ForwardName;
use tcpforward_protocol::version::Hash;

/// Ports that are allocated: above those that programs like to have, and below those that the kernel
/// gives to connections that pods dial.
pub const RANGE: RangeInclusive<u16> = 10_000..=32_767;

/// The first of `count` ports in a row that nobody has. Where the search begins is a matter of the
/// name, so that one that comes again mostly gets what it had.
#[must_use]
pub fn choose(forward: &ForwardName, count: u16, taken: &BTreeSet<u16>) -> Option<u16> {
    let size = RANGE.end() - RANGE.start() + 1;
    let start = RANGE.start() + spot(forward) % size;
    let mut first = start;
    let mut has_wrapped = false;
    loop {
        let last = first.saturating_add(count.saturating_sub(1));
        if last > *RANGE.end() {
            if has_wrapped {
                return None;
            }
            (first, has_wrapped) = (*RANGE.start(), true);
            continue;
        }
        // Behind the last one in the way: it is in the way of all that begin before it.
        match taken.range(first..=last).next_back() {
            None => return Some(first),
            Some(in_the_way) => first = in_the_way + 1,
        }
        if has_wrapped && first > start {
            return None;
        }
    }
}

fn spot(forward: &ForwardName) -> u16 {
    let parts = [forward.namespace(), "\0", forward.name()];
    let hash = Hash::of(parts.map(str::as_bytes));
    match hash.as_bytes() {
        [one, two, ..] => u16::from_be_bytes([*one, *two]),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(name: &str) -> ForwardName {
        ForwardName::new("shop", name)
    }

    #[test]
    fn a_name_gets_what_it_had_unless_it_is_taken() {
        let first = choose(&name("a"), 1, &BTreeSet::new()).unwrap();
        assert!(RANGE.contains(&first));
        assert_eq!(choose(&name("a"), 1, &BTreeSet::new()), Some(first));
        assert_ne!(choose(&name("b"), 1, &BTreeSet::new()), Some(first));
        let next = choose(&name("a"), 1, &BTreeSet::from([first]));
        assert_eq!(next, Some(first + 1));
    }

    #[test]
    fn the_last_free_ones_are_found_and_then_there_are_none() {
        let mut taken: BTreeSet<u16> = RANGE.collect();
        assert_eq!(choose(&name("a"), 1, &taken), None);
        for port in [10_000, 20_000, 20_001, 20_002, 32_767] {
            taken.remove(&port);
        }
        assert_eq!(choose(&name("a"), 3, &taken), Some(20_000));
        assert_eq!(choose(&name("a"), 4, &taken), None);
        taken.insert(20_001);
        assert_eq!(choose(&name("a"), 2, &taken), None);
    }

    proptest! {
        #[test]
        fn what_is_found_is_free_and_whole(
            text in "[a-z]{1,8}",
            count in 1_u16..=100,
            taken in prop::collection::btree_set(10_000_u16..=32_767, 0..400),
        ) {
            let first = choose(&name(&text), count, &taken).expect("there is room");
            prop_assert!(RANGE.contains(&first) && RANGE.contains(&(first + count - 1)));
            prop_assert!(taken.range(first..first + count).next().is_none());
        }
    }
}
