//! Pure. Who of the pool serves a forward: `Programmed`, its generation and the counts.

use k8s_openapi::jiff::Timestamp;

use super::{
    Gathering, Holds, Member, NO_DATA_PLANE, PENDING, PROGRAMMED, Patience, PoolView, REJECTED,
    SERVICE_UNAVAILABLE, Verdict, approach, bounded, condition, whole,
};
use crate::compile::Outcome;
use crate::crd::TcpForwardStatus;
use crate::crd::status::{DataPlanes, PendingPod};

pub(super) struct Seen {
    pub(super) verdict: Verdict,
    pub(super) generation: Option<i64>,
    pub(super) counts: DataPlanes,
}

/// A pod that counts, and what it makes of the present spec.
struct Entry<'a> {
    pod: &'a str,
    generation: Option<i64>,
    stand: Stand<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand<'a> {
    /// Nobody knows: it has not been connected since then.
    Absent(Timestamp),
    Pending,
    Programmed,
    Rejected(&'a str),
}

pub(super) fn look(
    outcome: &Outcome,
    pool: &PoolView,
    former: Option<&TcpForwardStatus>,
    previous: Option<&TcpForwardStatus>,
) -> Seen {
    let members = pool.members.iter().map(|member| Entry {
        pod: &member.pod,
        generation: member.serving.map(|served| served.generation),
        stand: stand(outcome, member),
    });
    let is_programmed = is_programmed(outcome, previous);
    let missed = pool.absent.iter();
    let missed = missed.filter(|absent| absent.patience == Patience::Over || !is_programmed);
    let missed = missed.map(|absent| Entry {
        pod: &absent.pod,
        generation: None,
        stand: Stand::Absent(absent.since),
    });
    let mut entries: Vec<_> = members.chain(missed).collect();
    entries.sort_by_key(|entry| entry.pod);
    let verdict = approach::judge(outcome, pool, verdict(outcome, pool, &entries));
    // A refusal is a fact, by a data plane or by us, whoever else is still to come.
    let refused = outcome.accepted.is_err()
        || [REJECTED, SERVICE_UNAVAILABLE].contains(&verdict.reason.as_ref());
    let settled = verdict.holds == Holds::True || refused;
    // All that there are may be on their way: then nobody is left who could say anything else.
    let all_missed = entries.is_empty() && !pool.absent.is_empty();
    let former = former.or_else(|| previous.filter(|_| all_missed));
    let kept = former.filter(|_| !settled).and_then(kept);
    // What was against the Service then is looked at anew.
    if let Some(kept) = kept.filter(|kept| kept.verdict.reason != SERVICE_UNAVAILABLE) {
        return kept;
    }
    let generations = entries.iter().map(|entry| entry.generation);
    Seen {
        verdict,
        generation: generations.min().flatten(),
        counts: counts(outcome, &entries),
    }
}

/// Whether every pod that is Ready serves the present spec: then clients may come.
pub(crate) fn is_applied(outcome: &Outcome, pool: &PoolView) -> bool {
    let serves = |member| stand(outcome, member) == Stand::Programmed;
    let all = pool.absent.is_empty() && pool.members.iter().all(serves);
    all && !pool.members.is_empty()
}

/// Whether the status that is there says that everyone serves this generation.
fn is_programmed(outcome: &Outcome, previous: Option<&TcpForwardStatus>) -> bool {
    let programmed = previous.and_then(|previous| condition(previous, PROGRAMMED));
    programmed.is_some_and(|programmed| {
        programmed.status == "True" && programmed.observed_generation == Some(outcome.generation)
    })
}

/// What a former lease holder said, until the members are here.
fn kept(former: &TcpForwardStatus) -> Option<Seen> {
    Some(Seen {
        verdict: Verdict::of(PROGRAMMED, &former.conditions)?,
        generation: former.programmed_generation,
        counts: former.data_planes.clone()?,
    })
}

fn stand<'a>(outcome: &Outcome, member: &'a Member) -> Stand<'a> {
    let Some(forward) = &outcome.forward else {
        return Stand::Pending;
    };
    let refused = member.refused.as_ref();
    match refused.filter(|refusal| refusal.spec_hash == forward.spec_hash) {
        Some(refusal) => Stand::Rejected(&refusal.text),
        None if member.serving.is_some_and(|s| s.hash == forward.spec_hash) => Stand::Programmed,
        None => Stand::Pending,
    }
}

fn verdict(outcome: &Outcome, pool: &PoolView, entries: &[Entry<'_>]) -> Verdict {
    let total = entries.len();
    let programmed = count(entries, |stand| stand == Stand::Programmed);
    if outcome.accepted.is_err() {
        return Verdict::bad(PROGRAMMED, PENDING, "not served while Accepted is not True");
    }
    if total == 0 {
        return nobody(outcome, pool);
    }
    let first = entries.iter().find_map(|entry| match entry.stand {
        Stand::Rejected(text) => Some((entry.pod, text)),
        _ => None,
    });
    if let Some((pod, text)) = first {
        let rejected = count(entries, |stand| matches!(stand, Stand::Rejected(_)));
        let message = format!("{rejected} of {total} pods refuse it: {pod}: {text}");
        return Verdict::bad(PROGRAMMED, REJECTED, message);
    }
    let generation = outcome.generation;
    let serve = format!("{programmed} of {total} pods serve generation {generation}");
    let waiting = entries
        .iter()
        .find(|entry| entry.stand != Stand::Programmed);
    let Some(Entry { pod, stand, .. }) = waiting else {
        return Verdict::good(PROGRAMMED, serve);
    };
    let which = match stand {
        Stand::Absent(_) => ", which is Ready and not connected to this operator",
        _ => "",
    };
    let message = format!("{serve}; waiting for {pod}{which}");
    Verdict::bad(PROGRAMMED, PENDING, message)
}

/// There is nobody who counts.
fn nobody(outcome: &Outcome, pool: &PoolView) -> Verdict {
    let pool_name = &outcome.pool;
    if let Some(first) = pool.unready.first() {
        let n = pool.unready.len();
        let message = format!(
            "of {n} connected pods of pool {pool_name} none is Ready; look why {first} is not"
        );
        return Verdict::bad(PROGRAMMED, PENDING, message);
    }
    match pool.gathering {
        Gathering::Waiting => Verdict::bad(
            PROGRAMMED,
            PENDING,
            "waiting for the pool's data planes to connect",
        ),
        Gathering::Done => Verdict::bad(
            PROGRAMMED,
            NO_DATA_PLANE,
            format!(
                "no data plane of pool {pool_name} is connected; start one for this pool, or \
                 correct spec.dataPlaneName"
            ),
        ),
    }
}

fn counts(outcome: &Outcome, entries: &[Entry<'_>]) -> DataPlanes {
    let programmed = count(entries, |stand| stand == Stand::Programmed);
    let waited_for = match outcome.forward {
        Some(_) => entries,
        None => &[],
    };
    let pending = waited_for.iter().filter_map(|entry| {
        let (reason, message) = match entry.stand {
            Stand::Programmed => return None,
            Stand::Absent(since) => (PENDING, not_connected(since)),
            Stand::Pending => (
                PENDING,
                format!("has not applied generation {} yet", outcome.generation),
            ),
            Stand::Rejected(text) => (REJECTED, text.to_owned()),
        };
        Some(PendingPod {
            pod: entry.pod.to_owned(),
            generation: entry.generation,
            reason: reason.to_owned(),
            message: bounded(message),
        })
    });
    DataPlanes {
        ready: whole(entries.len()),
        programmed: whole(programmed),
        rejected: whole(count(entries, |stand| matches!(stand, Stand::Rejected(_)))),
        summary: format!("{programmed}/{}", entries.len()),
        pending: pending.take(PENDING_PODS).collect(),
    }
}

/// It says since when, not how long: a text that grows would be written again and again.
pub(super) fn not_connected(since: Timestamp) -> String {
    let since = super::seconds(since).0;
    format!(
        "Ready, and not connected to this operator since {since}; does its log say why? Nobody knows what \
         it serves"
    )
}

fn count(entries: &[Entry<'_>], is: impl Fn(Stand<'_>) -> bool) -> usize {
    entries.iter().filter(|entry| is(entry.stand)).count()
}

/// Entries of `status.dataPlanes.pending` at most.
const PENDING_PODS: usize = 16;
