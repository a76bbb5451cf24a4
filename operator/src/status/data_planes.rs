//! Pure. Who of the pool serves a forward: `Programmed`, its generation and the counts.

use super::{
    Gathering, Holds, Member, NO_DATA_PLANE, PENDING, PROGRAMMED, PoolView, REJECTED, Verdict,
    bounded, whole,
};
use crate::compile::Outcome;
use crate::crd::TcpForwardStatus;
use crate::crd::status::{DataPlanes, PendingPod};

pub(super) struct Seen {
    pub(super) verdict: Verdict,
    pub(super) generation: Option<i64>,
    pub(super) counts: DataPlanes,
}

/// What a member makes of the present spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand<'a> {
    Pending,
    Programmed,
    Rejected(&'a str),
}

pub(super) fn look(outcome: &Outcome, pool: &PoolView, former: Option<&TcpForwardStatus>) -> Seen {
    let mut members: Vec<(&Member, Stand<'_>)> = pool
        .members
        .iter()
        .map(|member| (member, stand(outcome, member)))
        .collect();
    members.sort_by(|(a, _), (b, _)| a.pod.cmp(&b.pod));
    let verdict = verdict(outcome, pool, &members);
    // A refusal is a fact, by a data plane or by us, whoever else is still to come.
    let refused = outcome.accepted.is_err() || verdict.reason == REJECTED;
    let settled = verdict.holds == Holds::True || refused;
    if let Some(kept) = former.filter(|_| !settled).and_then(kept) {
        return kept;
    }
    let generations = pool
        .members
        .iter()
        .map(|m| m.serving.map(|served| served.generation));
    Seen {
        verdict,
        generation: generations.min().flatten(),
        counts: counts(outcome, &members),
    }
}

/// What a former lease holder said, until the members are here.
fn kept(former: &TcpForwardStatus) -> Option<Seen> {
    Some(Seen {
        verdict: Verdict::of(PROGRAMMED, former)?,
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

fn verdict(outcome: &Outcome, pool: &PoolView, members: &[(&Member, Stand<'_>)]) -> Verdict {
    let total = members.len();
    let programmed = count(members, |stand| stand == Stand::Programmed);
    if outcome.accepted.is_err() {
        return Verdict::bad(PROGRAMMED, PENDING, "not served while Accepted is not True");
    }
    if total == 0 {
        let pool_name = &outcome.pool;
        return match pool.gathering {
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
        };
    }
    let first = members.iter().find_map(|(member, stand)| match stand {
        Stand::Rejected(text) => Some((member, *text)),
        _ => None,
    });
    if let Some((member, text)) = first {
        let rejected = count(members, |stand| matches!(stand, Stand::Rejected(_)));
        let message = format!(
            "{rejected} of {total} pods refuse it: {}: {text}",
            member.pod
        );
        return Verdict::bad(PROGRAMMED, REJECTED, message);
    }
    let generation = outcome.generation;
    match members
        .iter()
        .find(|(_, stand)| *stand != Stand::Programmed)
    {
        None => Verdict::good(
            PROGRAMMED,
            format!("{programmed} of {total} pods serve generation {generation}"),
        ),
        Some((waiting, _)) => Verdict::bad(
            PROGRAMMED,
            PENDING,
            format!(
                "{programmed} of {total} pods serve generation {generation}; waiting for {}",
                waiting.pod
            ),
        ),
    }
}

fn counts(outcome: &Outcome, members: &[(&Member, Stand<'_>)]) -> DataPlanes {
    let programmed = count(members, |stand| stand == Stand::Programmed);
    let waited_for = match outcome.forward {
        Some(_) => members,
        None => &[],
    };
    let pending = waited_for.iter().filter_map(|(member, stand)| {
        let (reason, message) = match stand {
            Stand::Programmed => return None,
            Stand::Pending => (
                PENDING,
                format!("has not applied generation {} yet", outcome.generation),
            ),
            Stand::Rejected(text) => (REJECTED, (*text).to_owned()),
        };
        Some(PendingPod {
            pod: member.pod.clone(),
            generation: member.serving.map(|served| served.generation),
            reason: reason.to_owned(),
            message: bounded(message),
        })
    });
    DataPlanes {
        ready: whole(members.len()),
        programmed: whole(programmed),
        rejected: whole(count(members, |stand| matches!(stand, Stand::Rejected(_)))),
        summary: format!("{programmed}/{}", members.len()),
        pending: pending.take(PENDING_PODS).collect(),
    }
}

fn count(members: &[(&Member, Stand<'_>)], is: impl Fn(Stand<'_>) -> bool) -> usize {
    members.iter().filter(|(_, stand)| is(*stand)).count()
}

/// Entries of `status.dataPlanes.pending` at most.
const PENDING_PODS: usize = 16;
