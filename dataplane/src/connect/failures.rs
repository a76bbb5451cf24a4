//! Pure. How often each source may ask in vain: a proxy that is asked for one port after the other
//! tells what listens where (VU#150227), and one that is asked for passwords tells them in the end.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// One failure takes so long to be forgotten: ten a second.
const COST: Duration = Duration::from_millis(100);

/// A hundred at once: a browser that reloads a page of broken links is no scanner.
const BURST: Duration = Duration::from_secs(10);

/// Sources that are remembered, at 40 bytes. Who has more of them is hardly bounded by any budget.
const MOST: usize = 10_000;

/// What the sources have left.
#[derive(Debug, Default)]
pub struct Failures {
    /// When all failures of a source are forgotten.
    forgotten_at: HashMap<IpAddr, Instant>,
}

impl Failures {
    /// Whether that source may ask, that is to say, fail once more.
    #[must_use]
    pub fn allows(&self, source: IpAddr, now: Instant) -> bool {
        let forgotten_at = self.forgotten_at.get(&whole(source));
        forgotten_at.is_none_or(|at| *at + COST <= now + BURST)
    }

    /// It has failed. Failures beyond the budget, of what was asked at the same time, count for
    /// nothing: whoever stops may ask again a tenth of a second later.
    pub fn failed(&mut self, source: IpAddr, now: Instant) {
        let source = whole(source);
        if self.forgotten_at.len() >= MOST && !self.forgotten_at.contains_key(&source) {
            self.make_room(now);
        }
        let at = self.forgotten_at.entry(source).or_insert(now);
        *at = ((*at).max(now) + COST).min(now + BURST);
    }

    /// Forgets whom there is nothing to say of, and if that is not enough, an eighth of all: of
    /// those with the fewest failures. So it is rarely done.
    fn make_room(&mut self, now: Instant) {
        self.forgotten_at.retain(|_, at| now < *at);
        if self.forgotten_at.len() < MOST {
            return;
        }
        let mut times: Vec<_> = self.forgotten_at.values().copied().collect();
        let (_, &mut most, _) = times.select_nth_unstable(MOST / 8);
        let mut excess = MOST / 8;
        self.forgotten_at.retain(|_, at| {
            let goes = *at <= most && excess > 0;
            excess -= usize::from(goes);
            !goes
        });
    }
}

/// What one owner has of IPv6 at least is one source.
fn whole(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any moment to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How often a source fails until it is stopped.
    fn failures(failures: &mut Failures, source: IpAddr, now: Instant) -> usize {
        let once = |_: &usize| {
            let allows = failures.allows(source, now);
            if allows {
                failures.failed(source, now);
            }
            allows
        };
        (0..1000).take_while(once).count()
    }

    #[test]
    fn a_hundred_at_once_and_ten_a_second() {
        let (mut budget, start) = (Failures::default(), start());
        let at = |ms| start + Duration::from_millis(ms);
        let scanner = ip("192.0.2.1");
        assert_eq!(failures(&mut budget, scanner, start), 100);
        assert_eq!(failures(&mut budget, ip("192.0.2.2"), start), 100);
        assert!(!budget.allows(scanner, at(99)));
        assert_eq!(failures(&mut budget, scanner, at(100)), 1);
        assert_eq!(failures(&mut budget, scanner, at(1100)), 10);
        assert_eq!(failures(&mut budget, scanner, at(60_000)), 100);
    }

    #[test]
    fn what_failed_beyond_the_budget_costs_no_more() {
        let (mut budget, start) = (Failures::default(), start());
        let source = ip("192.0.2.1");
        (0..1000).for_each(|_| budget.failed(source, start));
        assert!(!budget.allows(source, start));
        assert!(budget.allows(source, start + COST));
    }

    #[test]
    fn a_prefix_is_a_source_and_a_mapped_address_is_ipv4() {
        let (mut budget, start) = (Failures::default(), start());
        for (fails, same, other) in [
            ("2001:db8::1", "2001:db8::2:0:0:1", "2001:db8:0:1::1"),
            ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
        ] {
            failures(&mut budget, ip(fails), start);
            assert!(!budget.allows(ip(same), start), "{same}");
            assert!(budget.allows(ip(other), start), "{other}");
        }
    }

    #[test]
    fn of_too_many_sources_those_that_failed_least_are_forgotten() {
        let (mut budget, start) = (Failures::default(), start());
        let source = |i: u32| IpAddr::from(i.to_be_bytes());
        let scanner = source(u32::MAX);
        failures(&mut budget, scanner, start);
        for i in 0..50_000 {
            budget.failed(source(i), start);
            assert!(budget.forgotten_at.len() <= MOST);
        }
        assert!(budget.forgotten_at.len() > MOST / 2);
        assert!(!budget.allows(scanner, start));
        let later = start + BURST * 2;
        (0..10_000).for_each(|i| budget.failed(source(60_000 + i), later));
        let of_before = |at: &&Instant| **at <= later;
        let before = budget.forgotten_at.values().filter(of_before).count();
        assert_eq!((before, budget.forgotten_at.len()), (0, MOST));
    }
}
