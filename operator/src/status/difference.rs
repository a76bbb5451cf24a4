//! Pure. How two states of a status differ.

use super::CONDITIONS;
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
    let Some(previous) = previous else {
        return Difference::Transition;
    };
    let mut ours = previous.clone();
    ours.conditions
        .retain(|c| CONDITIONS.contains(&c.type_.as_str()));
    ours.conditions
        .sort_by_key(|c| CONDITIONS.iter().position(|own| *own == c.type_));
    if ours == *next {
        return Difference::Nothing;
    }
    let essence = |status: &TcpForwardStatus| {
        let conditions = status.conditions.iter();
        let conditions: Vec<_> = conditions
            .map(|c| {
                (
                    c.type_.clone(),
                    c.status.clone(),
                    c.reason.clone(),
                    c.observed_generation,
                )
            })
            .collect();
        (
            status.observed_generation,
            status.programmed_generation,
            status.addresses.clone(),
            conditions,
        )
    };
    match essence(&ours) == essence(next) {
        true => Difference::Counts,
        false => Difference::Transition,
    }
}

/// How the status to write differs from the one that is there.
#[must_use]
pub fn difference_of_pools(
    previous: Option<&DataPlaneStatus>,
    next: &DataPlaneStatus,
) -> Difference {
    let Some(previous) = previous else {
        return Difference::Transition;
    };
    let mut ours = previous.clone();
    ours.conditions
        .retain(|c| next.conditions.iter().any(|own| own.type_ == c.type_));
    if ours == *next {
        return Difference::Nothing;
    }
    let essence = |status: &DataPlaneStatus| {
        let conditions = status.conditions.iter();
        let conditions = conditions.map(|c| (c.type_.clone(), c.status.clone(), c.reason.clone()));
        (status.observed_generation, conditions.collect::<Vec<_>>())
    };
    match essence(&ours) == essence(next) {
        true => Difference::Counts,
        false => Difference::Transition,
    }
}
