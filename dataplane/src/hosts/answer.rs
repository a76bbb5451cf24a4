//! Pure. From the answers of DNS to what a name leads to.

use std::net::IpAddr;
use std::time::Duration;

use tcpforward_protocol::answer::{HostError, HostErrorKind};

use crate::hosts::found::{Found, MAX_ADDRESSES};

/// What came of asking for the addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Some.
    Addresses {
        /// In no order.
        addresses: Vec<IpAddr>,
        /// How long they may be kept.
        ttl: Duration,
    },
    /// DNS could not say.
    Failed(String),
    /// DNS says that there are none, and why.
    Nothing(String),
}

/// How long an answer may be kept; none: it has to be asked for again soon.
pub type Keep = Option<Duration>;

/// Puts both families together. What DNS could not say stays as it was before, and so does a name
/// that leads nowhere at all, because that is far more often a mistake than a wish: a mistake in
/// DNS must not cost a service that its servers could still give. Nor does half an answer without
/// an address count: it may be that of a search domain, and the name itself was never asked for.
#[must_use]
pub fn combine(before: &Found, v4: Answer, v6: Answer) -> (Found, Keep) {
    let is_v4 = |address: &IpAddr| address.is_ipv4();
    let (before_v4, before_v6): (Vec<_>, Vec<_>) =
        before.addresses.iter().copied().partition(is_v4);
    let without = match (&v4, &v6) {
        (Answer::Addresses { .. }, _) | (_, Answer::Addresses { .. }) => None,
        (Answer::Failed(error), _) | (_, Answer::Failed(error)) => Some(error),
        (Answer::Nothing(error), Answer::Nothing(_)) => Some(error),
    };
    if let Some(error) = without {
        let found = Found {
            addresses: before.addresses.clone(),
            error: Some(HostError::new(HostErrorKind::NotResolved, error)),
        };
        return (found, None);
    }
    let mut addresses = Vec::new();
    let (mut keep, mut error) = (Some(Duration::MAX), None);
    for (answer, former) in [(v4, before_v4), (v6, before_v6)] {
        match answer {
            Answer::Addresses { addresses: a, ttl } => {
                addresses.extend(a);
                keep = keep.map(|keep| keep.min(ttl));
            }
            Answer::Failed(text) => {
                addresses.extend(former);
                keep = None;
                error = error.or(Some(text));
            }
            Answer::Nothing(_) => {}
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.len() > MAX_ADDRESSES {
        let text = format!(
            "{} addresses: only {MAX_ADDRESSES} are used",
            addresses.len()
        );
        error = error.or(Some(text));
        addresses.truncate(MAX_ADDRESSES);
    }
    let error = error.map(|text| HostError::new(HostErrorKind::PartlyResolved, text));
    (Found { addresses, error }, keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn found(addresses: &[&str], error: Option<&str>) -> Found {
        let kind = HostErrorKind::NotResolved;
        Found {
            addresses: ips(addresses),
            error: error.map(|text| HostError::new(kind, text)),
        }
    }

    fn partly(addresses: &[&str], error: &str) -> Found {
        let error = HostError::new(HostErrorKind::PartlyResolved, error);
        Found {
            addresses: ips(addresses),
            error: Some(error),
        }
    }

    fn some(addresses: &[&str], ttl: u64) -> Answer {
        Answer::Addresses {
            addresses: ips(addresses),
            ttl: Duration::from_secs(ttl),
        }
    }

    fn nothing() -> Answer {
        Answer::Nothing("no such name".to_owned())
    }

    fn failed() -> Answer {
        Answer::Failed("server failure".to_owned())
    }

    #[test]
    fn both_families_are_backends_for_the_shorter_time() {
        let (v4, v6) = (
            some(&["192.0.2.2", "192.0.2.1"], 60),
            some(&["2001:db8::1"], 30),
        );
        let both = found(&["192.0.2.1", "192.0.2.2", "2001:db8::1"], None);
        let thirty = Some(Duration::from_secs(30));
        assert_eq!(combine(&Found::default(), v4, v6), (both, thirty));
    }

    #[test]
    fn an_address_that_is_no_longer_there_is_left() {
        let before = found(&["192.0.2.1", "192.0.2.2", "2001:db8::1"], None);
        let (after, _) = combine(&before, some(&["192.0.2.2"], 60), nothing());
        assert_eq!(after, found(&["192.0.2.2"], None));
    }

    #[test]
    fn the_last_good_ones_stay_while_dns_fails() {
        let before = found(&["192.0.2.1", "2001:db8::1"], None);
        let both = found(&["192.0.2.1", "2001:db8::1"], Some("server failure"));
        assert_eq!(combine(&before, failed(), failed()), (both, None));
        let one = partly(&["192.0.2.7", "2001:db8::1"], "server failure");
        assert_eq!(
            combine(&before, some(&["192.0.2.7"], 60), failed()),
            (one, None)
        );
        let nowhere = found(&["192.0.2.1", "2001:db8::1"], Some("no such name"));
        assert_eq!(combine(&before, nothing(), nothing()), (nowhere, None));
        let both = found(&["192.0.2.1", "2001:db8::1"], Some("server failure"));
        for (v4, v6) in [(nothing(), failed()), (failed(), nothing())] {
            assert_eq!(combine(&before, v4, v6), (both.clone(), None));
        }
    }

    #[test]
    fn a_name_for_too_many_addresses_is_cut_and_told() {
        let many: Vec<String> = (0..300)
            .map(|i| format!("10.0.{}.{}", i / 256, i % 256))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (found, _) = combine(&Found::default(), some(&many, 60), nothing());
        let error = "300 addresses: only 256 are used";
        assert_eq!(found, partly(&many[..MAX_ADDRESSES], error));
    }
}
