//! Pure. Targets by DNS name: where they lead, by what data planes say, and which lead nowhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tcpforward_protocol::answer::{HostError, HostErrorKind};
use tcpforward_protocol::snapshot::{Forward, Host};

use super::{
    NAME_NOT_PERMITTED, NAME_NOT_RESOLVED, NAME_PARTLY_RESOLVED, PoolView, bounded, seconds,
};
use crate::crd::TcpForwardStatus;
use crate::crd::status::UnhealthyBackend;

/// Reports say nothing of when a name stopped to be resolved: the status that is there does.
pub(super) struct Clock<'a> {
    pub(super) previous: Option<&'a TcpForwardStatus>,
    pub(super) now: Timestamp,
}

fn targets(forward: &Forward) -> impl Iterator<Item = (&str, &Host)> {
    let targets = forward.spec.relay.targets.iter();
    targets.filter_map(|target| Some((target.name.as_str(), target.host.as_ref()?)))
}

/// Each address that a name leads to, with the number of data planes that say so.
pub(super) fn addresses<'a>(
    forward: &'a Forward,
    pool: &PoolView,
) -> BTreeMap<(&'a str, SocketAddr), usize> {
    let mut counts = BTreeMap::new();
    for (target, host) in targets(forward) {
        for member in &pool.members {
            let said = member.hosts.iter().filter(|said| said.target == target);
            let mut ips: Vec<_> = said.flat_map(|said| &said.addresses).collect();
            // One vote for each member, however often it names an address.
            ips.sort();
            ips.dedup();
            for ip in ips {
                let address = SocketAddr::new(*ip, host.port.get());
                *counts.entry((target, address)).or_default() += 1;
            }
        }
    }
    counts
}

/// Names with which something is wrong on more than half of the pool at present, whether or not they
/// lead somewhere.
pub(super) fn troubled(
    forward: &Forward,
    pool: &PoolView,
    clock: &Clock<'_>,
) -> Vec<UnhealthyBackend> {
    let failing = targets(forward).filter_map(|(target, host)| {
        let said = pool.members.iter().filter_map(|member| {
            let mut hosts = member.hosts.iter();
            hosts.find(|said| said.target == target)?.error.as_ref()
        });
        let errors: Vec<&HostError> = said.collect();
        if errors.len() * 2 <= pool.members.len() {
            return None;
        }
        let address = format!("{}:{}", host.name, host.port);
        let first = errors.first()?;
        let error = bounded(first.text.chars().take(ERROR_CHARS).collect());
        let (reason, hint) = words(first.kind);
        Some(UnhealthyBackend {
            since: since(target, &address, reason, clock),
            target: target.to_owned(),
            reason: reason.to_owned(),
            message: bounded(format!("{error}; {hint}")),
            address,
        })
    });
    failing.collect()
}

/// The names that nobody has an answer for, good or bad.
pub(super) fn unasked<'a>(forward: &'a Forward, pool: &PoolView) -> Option<&'a str> {
    let mut targets = targets(forward);
    let unasked = targets.find(|(target, _)| {
        let said = |member: &super::Member| member.hosts.iter().any(|said| said.target == *target);
        !pool.members.iter().any(said)
    });
    unasked.map(|(_, host)| host.name.as_str())
}

fn words(kind: HostErrorKind) -> (&'static str, &'static str) {
    match kind {
        HostErrorKind::Forbidden => (
            NAME_NOT_PERMITTED,
            "does the name lead where it should? Other addresses of it are used",
        ),
        HostErrorKind::NotResolved => (
            NAME_NOT_RESOLVED,
            "does the name exist, and do data planes reach their DNS server?",
        ),
        HostErrorKind::PartlyResolved => (
            NAME_PARTLY_RESOLVED,
            "the rest is used, with what was known before",
        ),
    }
}

fn since(target: &str, address: &str, reason: &str, clock: &Clock<'_>) -> Time {
    let backends = clock.previous.and_then(|status| status.backends.as_ref());
    let known = backends
        .into_iter()
        .flat_map(|backends| &backends.unhealthy);
    let mut same = known.filter(|known| {
        known.reason == reason && known.target == target && known.address == address
    });
    same.next()
        .map_or_else(|| seconds(clock.now), |known| known.since.clone())
}

/// Of an error's own text, so that the hint behind it is not cut.
const ERROR_CHARS: usize = 160;
