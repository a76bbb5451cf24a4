//! Pure. The CIDRs of one rule.

use std::net::IpAddr;

use ipnet::IpNet;

/// First and last addresses, sorted, none touching another.
#[derive(Debug)]
pub(super) struct Ranges {
    v4: Vec<Range>,
    v6: Vec<Range>,
}

type Range = (u128, u128);

impl Ranges {
    pub(super) fn new(nets: &[IpNet]) -> Self {
        let (v4, v6): (Vec<&IpNet>, Vec<&IpNet>) = nets.iter().partition(|net| is_v4(net));
        let low = |address| number(address) & u128::from(u32::MAX);
        let v4 = v4
            .into_iter()
            .map(|net| (low(net.network()), low(net.broadcast())));
        let v6 = v6
            .into_iter()
            .map(|net| (number(net.network()), number(net.broadcast())));
        Self {
            v4: merge(v4.collect()),
            v6: merge(v6.collect()),
        }
    }

    /// That very address: IPv4 inside IPv6 is not unwrapped.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let ranges = match address {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        };
        let number = number(address);
        let after = ranges.partition_point(|(first, _)| *first <= number);
        let before = ranges.get(..after).and_then(<[Range]>::last);
        before.is_some_and(|(_, last)| number <= *last)
    }

    /// All addresses of both families.
    pub(super) fn is_everything(&self) -> bool {
        self.v4 == [(0, u32::MAX.into())] && self.v6 == [(0, u128::MAX)]
    }
}

/// `::ffff:10.0.0.0/104` is 10.0.0.0/8 in another spelling.
fn is_v4(net: &IpNet) -> bool {
    net.prefix_len() >= 96 && net.network().to_canonical().is_ipv4() || net.network().is_ipv4()
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn merge(mut all: Vec<Range>) -> Vec<Range> {
    all.sort_unstable();
    let mut merged: Vec<Range> = Vec::new();
    for (first, last) in all {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_range() {
        let ranges = |texts: &[&str]| {
            let nets: Vec<IpNet> = texts.iter().map(|text| text.parse().unwrap()).collect();
            Ranges::new(&nets)
        };
        let some = ranges(&[
            "10.0.0.128/25",
            "10.0.0.0/25",
            "10.0.0.7/32",
            "10.0.2.0/24",
            "fd00::/8",
        ]);
        assert_eq!((some.v4.len(), some.v6.len()), (2, 1));
        for (text, expected) in [
            ("10.0.0.0", true),
            ("10.0.0.255", true),
            ("10.0.1.0", false),
            ("9.255.255.255", false),
            ("10.0.2.255", true),
            ("10.0.3.0", false),
            ("fd00::1", true),
            ("fe00::", false),
            ("::", false),
        ] {
            assert_eq!(some.contains(text.parse().unwrap()), expected, "{text}");
        }
        assert!(!some.is_everything());
        assert!(ranges(&["0.0.0.0/1", "128.0.0.0/1", "::/0"]).is_everything());
        let mapped = ranges(&["::ffff:10.0.0.0/104"]);
        assert!(mapped.contains("10.1.2.3".parse().unwrap()));
        assert!(!mapped.contains("11.1.2.3".parse().unwrap()));
        let wide = ranges(&["::/80"]);
        assert!(wide.contains("::5:0:0".parse().unwrap()));
        assert!(!wide.contains("0.0.0.1".parse().unwrap()));
    }
}
