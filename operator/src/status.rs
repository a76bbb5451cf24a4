//! Pure. What to say of a TcpForward: its outcome and what its data planes report, as conditions.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use tcpforward_protocol::TEXT_CHARS;

use crate::compile::Outcome;
use crate::crd::TcpForwardStatus;
use crate::crd::status::Address;

mod approach;
mod backends;
mod data_planes;
mod difference;
mod failure;
mod hosts;
mod news;
mod pool;
mod pools;
mod verdict;

pub(crate) use approach::REMEDY as SERVICES_REMEDY;
pub(crate) use data_planes::is_applied;
pub use difference::{Difference, difference, difference_of_pools};
pub use failure::{
    CONNECTION_REFUSED, DIAL_FAILED, DIAL_TIMEOUT, EARLY_RESET, UNEXPECTED_ANSWER, UNREACHABLE,
    Ways,
};
use hosts::Clock;
pub(crate) use news::{News, Tone, of as news};
pub use pool::{Absent, Gathering, Member, Patience, PoolView};
pub use pools::{PoolPods, Present, of_pool};
use verdict::{Holds, Verdict};

/// The spec is valid and its port is granted.
pub const ACCEPTED: &str = "Accepted";
/// Every target, and every Secret, is found.
pub const RESOLVED_REFS: &str = "ResolvedRefs";
/// Every data plane of the pool serves this generation.
pub const PROGRAMMED: &str = "Programmed";
/// At least one backend takes new sessions and is reached.
pub const BACKENDS_AVAILABLE: &str = "BackendsAvailable";
/// All of the above.
pub const READY: &str = "Ready";

/// Accepted=False: a value that this version does not take.
pub const UNSUPPORTED_VALUE: &str = "UnsupportedValue";
/// Accepted=False: the port belongs to someone else.
pub const PORT_UNAVAILABLE: &str = "PortUnavailable";
/// Accepted=False: there is no such pool.
pub const UNKNOWN_DATA_PLANE: &str = "UnknownDataPlane";
/// Accepted=False: the pool is not for that.
pub const NOT_ALLOWED_BY_DATA_PLANE: &str = "NotAllowedByDataPlane";
/// Accepted=False: something goes by the addresses of clients, which don't arrive.
pub const SOURCE_ADDRESS_NOT_PRESERVED: &str = "SourceAddressNotPreserved";
/// Of a DataPlane, Accepted=False: an older one has its ServiceAccount.
pub const SERVICE_ACCOUNT_TAKEN: &str = "ServiceAccountTaken";
/// ResolvedRefs=False: there is no such Service.
pub const BACKEND_NOT_FOUND: &str = "BackendNotFound";
/// ResolvedRefs=False: the Service has no such port, or not the whole range.
pub const PORT_NOT_FOUND: &str = "PortNotFound";
/// ResolvedRefs=False: a Service, or a port, that can't be relayed to.
pub const UNSUPPORTED_SERVICE: &str = "UnsupportedService";
/// ResolvedRefs=False: nothing permits to go there.
pub const REF_NOT_PERMITTED: &str = "RefNotPermitted";
/// ResolvedRefs=False: there is no such Secret.
pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
/// ResolvedRefs=False: the operator may not read the Secret.
pub const SECRET_NOT_PERMITTED: &str = "SecretNotPermitted";
/// ResolvedRefs=False: the Secret does not hold what is expected of it, or can't be had.
pub const INVALID_SECRET: &str = "InvalidSecret";
/// Programmed=False: not everyone serves it yet. Also of what is Unknown.
pub const PENDING: &str = "Pending";
/// Of a DataPlane, Ready=False: a pod that is Ready is not connected. Also of an entry in
/// `status.pods.pending`.
pub const NOT_CONNECTED: &str = "NotConnected";
/// The same where none of its pods is Ready.
pub const NOT_READY: &str = "NotReady";
/// Programmed=False: a data plane refuses it.
pub const REJECTED: &str = "Rejected";
/// Programmed=False: the Service by which clients come can't be made, or is someone else's.
pub const SERVICE_UNAVAILABLE: &str = "ServiceUnavailable";
/// Programmed=False: nobody is there to serve it.
pub const NO_DATA_PLANE: &str = "NoDataPlane";
/// BackendsAvailable=False: nothing to dial.
pub const NO_ENDPOINTS: &str = "NoEndpoints";
/// BackendsAvailable=False: a target's DNS name leads nowhere. Also of an entry in
/// `status.backends.unhealthy`.
pub const NAME_NOT_RESOLVED: &str = "NameNotResolved";
/// The same where the name leads to addresses that must not be dialled.
pub const NAME_NOT_PERMITTED: &str = "NameNotPermitted";
/// Of an entry in `status.backends.unhealthy`: only a part of what a target's DNS name leads to is
/// known, or used.
pub const NAME_PARTLY_RESOLVED: &str = "NamePartlyResolved";
/// BackendsAvailable=False: nothing that answers.
pub const NO_HEALTHY_BACKEND: &str = "NoHealthyBackend";

/// The conditions that are ours; those of others are left alone.
pub const CONDITIONS: [&str; 5] = [
    ACCEPTED,
    RESOLVED_REFS,
    PROGRAMMED,
    BACKENDS_AVAILABLE,
    READY,
];

/// Whether the addresses that data planes report are where clients reach the forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Pods' addresses are not for clients; that of their Service is.
    Omitted,
    /// `tcpforward run`.
    Reported,
}

/// The status of a forward. It holds our conditions only: applied by server-side apply, it leaves
/// foreign ones as they are.
#[must_use]
pub fn compute(
    outcome: &Outcome,
    pool: &PoolView,
    addresses: Addresses,
    previous: Option<&TcpForwardStatus>,
    now: Timestamp,
) -> TcpForwardStatus {
    // What a former lease holder knew of this very generation.
    let former = previous
        .filter(|_| pool.gathering == Gathering::Waiting)
        .filter(|p| p.observed_generation == Some(outcome.generation));
    let seen = data_planes::look(outcome, pool, former, previous);
    let reached = backends::look(outcome, pool, former, &Clock { previous, now });
    let verdicts = [
        accepted(outcome),
        resolved(outcome),
        seen.verdict,
        reached.verdict,
    ];
    let ready = ready(&verdicts);
    let conditions = verdicts.into_iter().chain([ready]);
    let former_conditions = previous.map_or(&[][..], |previous| &previous.conditions);
    TcpForwardStatus {
        observed_generation: Some(outcome.generation),
        programmed_generation: seen.generation,
        conditions: conditions
            .map(|verdict| verdict.into_condition(outcome.generation, former_conditions, now))
            .collect(),
        addresses: match addresses {
            Addresses::Omitted => entrance(outcome),
            Addresses::Reported => listeners(pool),
        },
        backends: reached.counts,
        data_planes: Some(seen.counts),
    }
}

/// The condition of that type.
#[must_use]
pub fn condition<'a>(status: &'a TcpForwardStatus, type_: &str) -> Option<&'a Condition> {
    named(&status.conditions, type_)
}

fn named<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

fn accepted(outcome: &Outcome) -> Verdict {
    match &outcome.accepted {
        Ok(()) => match outcome.capped {
            None => Verdict::good(ACCEPTED, VALID),
            Some(capped) => {
                let pool = &outcome.pool;
                let message =
                    format!("{VALID}; DataPlane {pool} allows {capped} connections at a time");
                Verdict::good(ACCEPTED, message)
            }
        },
        Err(rejection) => Verdict::bad(ACCEPTED, rejection.reason, rejection.message.as_str()),
    }
}

fn resolved(outcome: &Outcome) -> Verdict {
    match &outcome.unresolved {
        _ if outcome.accepted.is_err() => Verdict::unknown(RESOLVED_REFS, NOT_LOOKED_AT),
        None => Verdict::good(RESOLVED_REFS, "every target is found"),
        Some(unresolved) => Verdict::bad(
            RESOLVED_REFS,
            unresolved.reason,
            unresolved.message.as_str(),
        ),
    }
}

/// The AND of all, in the words of the first that fails.
fn ready(verdicts: &[Verdict]) -> Verdict {
    match verdicts.iter().find(|verdict| verdict.holds != Holds::True) {
        None => Verdict::good(
            READY,
            "accepted, resolved, programmed, and backends are available",
        ),
        Some(first) => Verdict {
            type_: READY,
            holds: Holds::False,
            ..first.clone()
        },
    }
}

/// Where clients come by the forward's Service, if it has one.
fn entrance(outcome: &Outcome) -> Vec<Address> {
    let approach = outcome.approach.iter();
    let addresses = approach.flat_map(|approach| approach.addresses.iter().cloned());
    addresses.take(ADDRESSES).collect()
}

fn listeners(pool: &PoolView) -> Vec<Address> {
    let bound = pool.members.iter().flat_map(|member| &member.listeners);
    let mut addresses: Vec<Address> = bound
        .map(|address| Address {
            kind: "IPAddress".to_owned(),
            value: address.ip().to_string(),
            port: address.port().into(),
        })
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses.truncate(ADDRESSES);
    addresses
}

/// A text that fits a status.
fn bounded(text: String) -> String {
    if text.chars().count() <= TEXT_CHARS {
        return text;
    }
    text.chars().take(TEXT_CHARS - 1).chain(['…']).collect()
}

/// A time as Kubernetes keeps it: whole seconds.
fn seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

fn whole(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

const VALID: &str = "the spec is valid and the port is granted";

const NOT_LOOKED_AT: &str = "not looked at while Accepted is not True";

const NOT_SERVED_YET: &str = "not looked at before there is a Service for it";

/// Entries of `status.addresses` at most.
const ADDRESSES: usize = 16;

#[cfg(test)]
mod tests;
