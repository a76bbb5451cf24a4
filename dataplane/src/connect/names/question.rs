//! Edge. One question about a name: both families at a time, and what their answers come to.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::time::timeout;

use super::{Answer, NameError};
use crate::hosts::pace::{LONGEST, SHORTEST};
use crate::hosts::resolver::{Addresses, Client, NoAddress, Resolver};

/// How long addresses of one family wait for the other one (RFC 8305 §3, for both families alike:
/// rules may let through only one of them).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// How long it holds that there is no such name, or no address: long enough for a client that tries
/// again at once, short enough for a person who has just made the name.
const NEGATIVE: Duration = Duration::from_secs(5);

/// Addresses of one family that are kept; a session dials fewer.
const MAX_ADDRESSES: usize = 32;

/// What DNS says of one family.
type Family = Result<Addresses, NoAddress>;

/// What the name leads to, and how long that may be kept.
pub(super) async fn ask(
    resolver: &Resolver,
    name: &Name,
    patience: Duration,
) -> (Answer, Option<Duration>) {
    let client = match resolver.client() {
        Ok(client) => client,
        Err(error) => return (Err(NameError::Failed(error)), None),
    };
    match timeout(patience, both(&client, name)).await {
        Ok((first, second)) => combine(first, second, patience),
        Err(_) => (Err(NameError::Timeout(patience)), None),
    }
}

/// The family that answered first, and the other one unless it was too slow.
async fn both(client: &Client, name: &Name) -> (Family, Option<Family>) {
    let mut v6 = pin!(client.addresses(name.clone(), RecordType::AAAA));
    let mut v4 = pin!(client.addresses(name.clone(), RecordType::A));
    let (first, other) = tokio::select! {
        first = &mut v6 => (first, v4),
        first = &mut v4 => (first, v6),
    };
    let second = match first {
        Ok(_) => timeout(RESOLUTION_DELAY, other).await.ok(),
        Err(_) => Some(other.await),
    };
    (first, second)
}

fn combine(
    first: Family,
    second: Option<Family>,
    patience: Duration,
) -> (Answer, Option<Duration>) {
    let is_nothing = |error: &NoAddress| matches!(error, NoAddress::Name | NoAddress::Record);
    let (mut is_whole, mut ttl) = (second.is_some(), LONGEST);
    let (mut v6, mut v4, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for family in [Some(first), second].into_iter().flatten() {
        match family {
            Ok(found) => {
                ttl = ttl.min(found.ttl);
                let all = found.addresses.iter().copied();
                v6.extend(all.clone().filter(IpAddr::is_ipv6));
                v4.extend(all.filter(IpAddr::is_ipv4));
            }
            Err(error) => {
                is_whole &= is_nothing(&error);
                errors.push(error);
            }
        }
    }
    if v6.is_empty() && v4.is_empty() {
        return without(errors, patience);
    }
    v6.truncate(MAX_ADDRESSES);
    v4.truncate(MAX_ADDRESSES);
    let addresses: Arc<[_]> = v6.into_iter().chain(v4).collect();
    // Of half an answer the other half may be the one that can be reached.
    let keep = if is_whole {
        ttl.max(SHORTEST)
    } else {
        SHORTEST
    };
    (Ok(addresses), Some(keep))
}

/// That DNS could not say of one family hides that it says no of the other.
fn without(errors: Vec<NoAddress>, patience: Duration) -> (Answer, Option<Duration>) {
    let rank = |error: &NoAddress| match error {
        NoAddress::Name => 0,
        NoAddress::Record => 1,
        NoAddress::Silent => 2,
        NoAddress::Other(_) => 3,
        NoAddress::Refused(_) => 4,
    };
    match errors.into_iter().max_by_key(rank) {
        Some(NoAddress::Name) => (Err(NameError::NotFound), Some(NEGATIVE)),
        None | Some(NoAddress::Record) => (Err(NameError::NoAddress), Some(NEGATIVE)),
        Some(NoAddress::Silent) => (Err(NameError::Timeout(patience)), None),
        Some(error) => (Err(NameError::Failed(error.to_string())), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn some(addresses: &[&str], ttl: u64) -> Family {
        Ok(Addresses {
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            ttl: Duration::from_secs(ttl),
        })
    }

    fn addresses(texts: &[&str]) -> Answer {
        Ok(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn a_whole_answer_is_kept_for_its_time_and_half_of_one_for_a_moment() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let v4 = |ttl| some(&["192.0.2.2", "192.0.2.1"], ttl);
        let failed = || Err(NoAddress::Refused("Server Failure".to_owned()));
        let both = addresses(&["2001:db8::1", "192.0.2.2", "192.0.2.1"]);
        let one = addresses(&["192.0.2.2", "192.0.2.1"]);
        for (first, second, answer, keep) in [
            (v4(60), Some(some(&["2001:db8::1"], 30)), &both, seconds(30)),
            (v4(0), Some(some(&["2001:db8::1"], 30)), &both, seconds(1)),
            (v4(86_400), Some(Err(NoAddress::Record)), &one, seconds(300)),
            (Err(NoAddress::Name), Some(v4(60)), &one, seconds(60)),
            (v4(60), None, &one, seconds(1)),
            (v4(60), Some(failed()), &one, seconds(1)),
        ] {
            let combined = combine(first.clone(), second.clone(), PATIENCE);
            assert_eq!(combined, (answer.clone(), keep), "{first:?}, {second:?}");
        }
    }

    #[test]
    fn only_a_no_for_both_families_is_a_no() {
        use NoAddress::{Name, Record, Refused, Silent};
        let refused = || Refused("Server Failure".to_owned());
        let failed = || NameError::Failed(refused().to_string());
        for (first, second, expected, is_kept) in [
            (Name, Name, NameError::NotFound, true),
            (Record, Record, NameError::NoAddress, true),
            (Name, Record, NameError::NoAddress, true),
            (Record, Silent, NameError::Timeout(PATIENCE), false),
            (Silent, refused(), failed(), false),
            (refused(), Name, failed(), false),
        ] {
            let keep = is_kept.then_some(NEGATIVE);
            let combined = combine(Err(first), Some(Err(second)), PATIENCE);
            assert_eq!(combined, (Err(expected), keep));
        }
    }

    #[test]
    fn neither_family_crowds_out_the_other() {
        let many: Vec<String> = (0..100).map(|i| format!("2001:db8::{i:x}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (answer, _) = combine(some(&many, 60), Some(some(&["192.0.2.1"], 60)), PATIENCE);
        assert_eq!(answer.unwrap().len(), MAX_ADDRESSES + 1);
    }
}
