//! Pure. Which backends the pool reaches: `BackendsAvailable` and the counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tcpforward_protocol::answer::{self, FailingBackend};
use tcpforward_protocol::snapshot::{Forward, TakesNew};
use tcpforward_protocol::{BACKENDS_BYTES, BACKENDS_PER_FORWARD};

use super::failure;
use super::hosts::{self, Clock};
use super::{
    BACKENDS_AVAILABLE, NAME_NOT_PERMITTED, NAME_NOT_RESOLVED, NO_ENDPOINTS, NO_HEALTHY_BACKEND,
    NOT_LOOKED_AT, NOT_SERVED_YET, PoolView, Verdict, whole,
};
use crate::compile::Outcome;
use crate::crd::TcpForwardStatus;
use crate::crd::status::{Backends, UnhealthyBackend};

pub(super) struct Reached {
    pub(super) verdict: Verdict,
    pub(super) counts: Option<Backends>,
}

pub(super) fn look(
    outcome: &Outcome,
    pool: &PoolView,
    former: Option<&TcpForwardStatus>,
    clock: &Clock<'_>,
) -> Reached {
    let Some(forward) = &outcome.forward else {
        return Reached {
            verdict: Verdict::unknown(
                BACKENDS_AVAILABLE,
                match outcome.accepted {
                    Ok(()) => NOT_SERVED_YET,
                    Err(_) => NOT_LOOKED_AT,
                },
            ),
            counts: None,
        };
    };
    if let Some(kept) = former.filter(|_| pool.members.is_empty()).and_then(kept) {
        return kept;
    }
    let seen = Seen {
        candidates: candidates(forward, pool),
        unhealthy: unhealthy(forward, pool),
        troubled: hosts::troubled(forward, pool, clock),
        unasked: hosts::unasked(forward, pool),
    };
    let (total, healthy) = (seen.candidates.len(), seen.healthy());
    let left_out = seen.unhealthy.values();
    let left_out = left_out.filter(|unhealthy| unhealthy.left_out == LeftOut::Yes);
    let is_proxy = forward.spec.connect.is_some();
    // A name that leads nowhere explains what is missing; it is shown first.
    let shown = seen.troubled.iter();
    let shown = shown.chain(seen.unhealthy.values().map(|unhealthy| &unhealthy.backend));
    Reached {
        counts: (!is_proxy || !forward.spec.relay.targets.is_empty()).then(|| Backends {
            total: whole(total),
            healthy: whole(healthy),
            ejected: whole(left_out.count()),
            summary: format!("{healthy}/{total}"),
            unhealthy: shown.take(UNHEALTHY).cloned().collect(),
        }),
        verdict: match is_proxy {
            true => of_proxy(forward, &seen),
            false => verdict(outcome, forward, &seen),
        },
    }
}

/// The backends of a forward as its pool sees them.
struct Seen<'a> {
    candidates: Candidates<'a>,
    unhealthy: BTreeMap<Key<'a>, Unhealthy>,
    troubled: Vec<UnhealthyBackend>,
    unasked: Option<&'a str>,
}

impl Seen<'_> {
    fn healthy(&self) -> usize {
        self.candidates.len() - self.unhealthy.len()
    }
}

/// A backend by its target and address.
type Key<'a> = (&'a str, SocketAddr);

/// Backends that may be picked, each with the number of data planes that know of it.
type Candidates<'a> = BTreeMap<Key<'a>, usize>;

struct Unhealthy {
    backend: UnhealthyBackend,
    left_out: LeftOut,
}

/// Whether new sessions avoid it on most data planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeftOut {
    No,
    Yes,
}

/// What a former lease holder said, until there is someone to ask.
fn kept(former: &TcpForwardStatus) -> Option<Reached> {
    Some(Reached {
        verdict: Verdict::of(BACKENDS_AVAILABLE, &former.conditions)?,
        counts: former.backends.clone(),
    })
}

fn candidates<'a>(forward: &'a Forward, pool: &PoolView) -> Candidates<'a> {
    let backends = forward.backends.iter();
    let takes_new = backends.filter(|backend| backend.takes_new == TakesNew::Yes);
    let everyone = pool.members.len();
    let mut candidates: Candidates<'a> = takes_new
        .map(|backend| ((backend.target.as_str(), backend.address), everyone))
        .collect();
    candidates.extend(hosts::addresses(forward, pool));
    candidates
}

/// Those that more than half of the data planes that know of them fail to reach: one pod with a
/// broken network says nothing about a backend.
fn unhealthy<'a>(forward: &'a Forward, pool: &PoolView) -> BTreeMap<Key<'a>, Unhealthy> {
    let mut reports: BTreeMap<(&str, SocketAddr), Vec<&FailingBackend>> = BTreeMap::new();
    for member in &pool.members {
        // One vote for each member, however often it names a backend.
        let said = member.failing.iter();
        let said: BTreeMap<_, _> = said.map(|f| ((f.target.as_str(), f.address), f)).collect();
        for (key, failing) in said {
            reports.entry(key).or_default().push(failing);
        }
    }
    let known = candidates(forward, pool).into_iter();
    known
        .filter_map(|(key, voters)| {
            let reports = reports.get(&key)?;
            let earliest = reports.iter().min_by_key(|report| report.since_ms)?;
            let most = |votes: usize| votes * 2 > voters;
            let avoid = reports.iter().filter(|f| f.left_out != answer::LeftOut::No);
            let unhealthy = Unhealthy {
                backend: failure::described(earliest, &pool.ways),
                left_out: match most(avoid.count()) {
                    true => LeftOut::Yes,
                    false => LeftOut::No,
                },
            };
            most(reports.len()).then_some((key, unhealthy))
        })
        .collect()
}

fn verdict(outcome: &Outcome, forward: &Forward, seen: &Seen<'_>) -> Verdict {
    let bad = |reason, message: String| Verdict::bad(BACKENDS_AVAILABLE, reason, message);
    let targets = &forward.spec.relay.targets;
    if seen.candidates.is_empty() {
        return nothing_to_dial(forward, seen);
    }
    if targets.iter().all(|target| target.weight == 0) {
        let message = "every target has weight 0, so there are no new sessions; give one a weight";
        return bad(NO_ENDPOINTS, message.to_owned());
    }
    let weighted = |target: &str| targets.iter().any(|t| t.name == target && t.weight > 0);
    let mut usable = seen.candidates.keys();
    if usable.any(|key| weighted(key.0) && !seen.unhealthy.contains_key(key)) {
        let cut = match outcome.left_out {
            0 => String::new(),
            n => format!(
                "; {n} more are left out: one forward holds at most {BACKENDS_PER_FORWARD} or {} \
                 MiB of them; spread them over several",
                BACKENDS_BYTES >> 20
            ),
        };
        let (healthy, total) = (seen.healthy(), seen.candidates.len());
        let message = format!("{healthy} of {total} backends are healthy{cut}");
        return Verdict::good(BACKENDS_AVAILABLE, message);
    }
    match seen.unhealthy.values().next() {
        Some(Unhealthy { backend: first, .. }) => bad(
            NO_HEALTHY_BACKEND,
            format!(
                "no backend is reached; {} of target {}: {}",
                first.address, first.target, first.message
            ),
        ),
        None => nameless(seen, weighted).unwrap_or_else(|| {
            let message = "only targets of weight 0 have endpoints; give one of them a weight";
            bad(NO_ENDPOINTS, message.to_owned())
        }),
    }
}

/// A proxy is available whatever its Services are: its other rules lead elsewhere, and a tunnel to a
/// Service without a backend is refused with a text of its own.
fn of_proxy(forward: &Forward, seen: &Seen<'_>) -> Verdict {
    let message = match forward.spec.relay.targets.is_empty() {
        true => "a proxy needs no backends: its clients say where they go".to_owned(),
        false => format!(
            "clients of a proxy say where they go; {} of {} backends of its Services are healthy",
            seen.healthy(),
            seen.candidates.len()
        ),
    };
    Verdict::good(BACKENDS_AVAILABLE, message)
}

/// What is wrong with names of targets that count, if anything is.
fn nameless(seen: &Seen<'_>, counts: impl Fn(&str) -> bool) -> Option<Verdict> {
    let mut troubled = seen.troubled.iter();
    let (reason, message) = match (troubled.find(|u| counts(&u.target)), seen.unasked) {
        (Some(first), _) => {
            // A part of an answer without an address is none.
            let reason = match first.reason.as_str() {
                NAME_NOT_PERMITTED => NAME_NOT_PERMITTED,
                _ => NAME_NOT_RESOLVED,
            };
            let message = format!(
                "{} of target {} leads nowhere: {}",
                first.address, first.target, first.message
            );
            (reason, message)
        }
        (None, Some(name)) => {
            let message = format!("no data plane has looked up {name} yet");
            (NAME_NOT_RESOLVED, message)
        }
        (None, None) => return None,
    };
    Some(Verdict::bad(BACKENDS_AVAILABLE, reason, message))
}

fn nothing_to_dial(forward: &Forward, seen: &Seen<'_>) -> Verdict {
    if let Some(unresolved) = nameless(seen, |_| true) {
        return unresolved;
    }
    let targets = forward.spec.relay.targets.iter();
    let names: Vec<&str> = targets.map(|target| target.name.as_str()).collect();
    Verdict::bad(
        BACKENDS_AVAILABLE,
        NO_ENDPOINTS,
        format!(
            "no endpoint takes new sessions; are the Services' pods Ready, and do the selectors \
             match them? targets: {}",
            names.join(", ")
        ),
    )
}

/// Entries of `status.backends.unhealthy` at most.
const UNHEALTHY: usize = 8;
