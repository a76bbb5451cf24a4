//! Pure. Networks that nobody may be led to but by a Service, in a form that is quick to ask.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::PROTECTED_RANGES;

/// The cluster's own networks: sorted, without overlaps, at most [`PROTECTED_RANGES`]. Cheap to clone.
#[derive(Clone, Debug, Default, Eq)]
pub struct Protected(Option<Arc<[IpNet]>>);

/// Clones are equal at once.
impl PartialEq for Protected {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs) || ours == theirs,
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        }
    }
}

impl Protected {
    /// No networks.
    pub const NOTHING: Self = Self(None);

    /// Joins networks where that is exact. Of too many the smallest ones grow until they fit: rather
    /// a neighbour too many is protected than a node too few.
    #[must_use]
    pub fn new(ranges: impl IntoIterator<Item = IpNet>) -> Self {
        let ranges: Vec<IpNet> = ranges.into_iter().collect();
        let mut joined = IpNet::aggregate(&ranges);
        for bits in 1..=128 {
            if joined.len() <= PROTECTED_RANGES {
                break;
            }
            let wider: Vec<IpNet> = joined.iter().map(|range| widened(*range, bits)).collect();
            joined = IpNet::aggregate(&wider);
        }
        joined.sort();
        Self((!joined.is_empty()).then(|| joined.into()))
    }

    /// In their order.
    #[must_use]
    pub fn ranges(&self) -> &[IpNet] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether an address, in this one reading of it, is of one of the networks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let ranges = self.ranges();
        let after = ranges.partition_point(|range| range.network() <= address);
        let candidate = after.checked_sub(1).and_then(|place| ranges.get(place));
        candidate.is_some_and(|range| range.contains(&address))
    }
}

/// The network that leaves at least so many bits to its hosts.
fn widened(range: IpNet, bits: u8) -> IpNet {
    let longest = range.max_prefix_len().saturating_sub(bits);
    match range.prefix_len() > longest {
        true => IpNet::new(range.network(), longest).map_or(range, |wider| wider.trunc()),
        false => range,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn of(texts: &[&str]) -> Protected {
        Protected::new(texts.iter().map(|text| text.parse().unwrap()))
    }

    #[test]
    fn what_can_be_joined_is_joined_and_nothing_else() {
        let joined = of(&[
            "fd00::1/128",
            "10.244.1.0/24",
            "10.96.0.0/16",
            "10.244.0.0/24",
            "192.168.0.7/32",
            "10.96.3.0/24",
        ]);
        let expected = of(&[
            "10.96.0.0/16",
            "10.244.0.0/23",
            "192.168.0.7/32",
            "fd00::1/128",
        ]);
        assert_eq!(joined, expected);
        assert_eq!(joined.ranges().len(), 4);
        assert_eq!(of(&[]), Protected::NOTHING);
    }

    #[test]
    fn of_too_many_addresses_the_neighbours_are_protected_too() {
        // Every other address, so that nothing can be joined exactly.
        let addresses = (0..40_000_u32).map(|i| Ipv4Addr::from(0x0a00_0000 + i * 2));
        let all: Vec<IpNet> = addresses.map(|ip| IpNet::from(IpAddr::V4(ip))).collect();
        let services: IpNet = "172.20.0.0/24".parse().unwrap();
        let protected = Protected::new(all.iter().copied().chain([services]));
        assert!(protected.ranges().len() <= PROTECTED_RANGES);
        assert!(all.iter().all(|range| protected.contains(range.addr())));
        assert!(
            protected.ranges().contains(&services),
            "it was small enough"
        );
        assert!(!protected.contains("11.0.0.1".parse().unwrap()));
    }

    #[test]
    fn two_are_equal_by_what_they_hold() {
        let one = of(&["10.96.0.0/16"]);
        assert_eq!(one, one.clone());
        assert_eq!(one, of(&["10.96.0.0/16"]));
        assert_ne!(one, of(&["10.97.0.0/16"]));
        assert_ne!(one, Protected::NOTHING);
        assert_ne!(Protected::NOTHING, one);
    }

    fn any_range() -> impl Strategy<Value = IpNet> {
        let v4 = (0..64_u32, 24..=32_u8).prop_map(|(low, length)| {
            let ip = Ipv4Addr::from(0x0a00_0000 | (low << 4));
            IpNet::new(ip.into(), length).unwrap().trunc()
        });
        let v6 = (0..64_u128, 120..=128_u8).prop_map(|(low, length)| {
            let ip = Ipv6Addr::from((0xfd00 << 112) | (low << 3));
            IpNet::new(ip.into(), length).unwrap().trunc()
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn an_address_is_protected_exactly_if_a_range_holds_it(
            ranges in prop::collection::vec(any_range(), 0..30),
            low in 0..2048_u32,
        ) {
            let protected = Protected::new(ranges.clone());
            let v4 = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | low));
            let v6 = IpAddr::V6(Ipv6Addr::from((0xfd00 << 112) | u128::from(low)));
            for address in [v4, v6] {
                let naive = ranges.iter().any(|range| range.contains(&address));
                prop_assert_eq!(protected.contains(address), naive, "{}", address);
            }
        }

        #[test]
        fn the_order_of_ranges_does_not_matter(
            ranges in prop::collection::vec(any_range(), 0..30),
        ) {
            let reversed = ranges.iter().rev().copied();
            prop_assert_eq!(Protected::new(reversed), Protected::new(ranges.clone()));
        }
    }
}
