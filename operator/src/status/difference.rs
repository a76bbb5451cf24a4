//! Pure. How two states of a status differ.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{ACCEPTED, CONDITIONS, READY};
use crate::crd::{DataPlaneStatus, TcpForwardStatus};

/// How much two states of a status differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Counts and texts: worth a write now and then.
    Counts,
    /// Not at all.
    Nothing,
    /// What tools wait for: worth a write at once.
    Transition,
}

/// How the status to write differs from the one that is there, foreign conditions aside.
#[must_use]
pub fn difference(previous: Option<&TcpForwardStatus>, next: &TcpForwardStatus) -> Difference {
    let Some(mut ours) = previous.cloned() else {
        return Difference::Transition;
    };
    keep_own(&mut ours.conditions, &CONDITIONS);
    compare(&ours, next, |status| {
        (
            status.observed_generation,
            status.programmed_generation,
            status.addresses.clone(),
            essence(&status.conditions),
        )
    })
}

/// The same for a DataPlane.
#[must_use]
pub fn difference_of_pools(
    previous: Option<&DataPlaneStatus>,
    next: &DataPlaneStatus,
) -> Difference {
    let Some(mut ours) = previous.cloned() else {
        return Difference::Transition;
    };
    keep_own(&mut ours.conditions, &[ACCEPTED, READY]);
    compare(&ours, next, |status| {
        (status.observed_generation, essence(&status.conditions))
    })
}

fn compare<S: PartialEq, E: PartialEq>(
    ours: &S,
    next: &S,
    essence: impl Fn(&S) -> E,
) -> Difference {
    if ours == next {
        return Difference::Nothing;
    }
    match essence(ours) == essence(next) {
        true => Difference::Counts,
        false => Difference::Transition,
    }
}

/// Those conditions, in that order.
fn keep_own(conditions: &mut Vec<Condition>, own: &[&str]) {
    conditions.retain(|condition| own.contains(&condition.type_.as_str()));
    conditions.sort_by_key(|condition| own.iter().position(|own| *own == condition.type_));
}

/// What tools wait for.
fn essence(conditions: &[Condition]) -> Vec<(String, String, String, Option<i64>)> {
    let conditions = conditions.iter();
    let essence = conditions.map(|condition| {
        (
            condition.type_.clone(),
            condition.status.clone(),
            condition.reason.clone(),
            condition.observed_generation,
        )
    });
    essence.collect()
}
