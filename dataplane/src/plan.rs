//! Pure. What has to be done to the listeners that run, so that the wanted ones do.
//!
//! A forward has one address, or one for each port of its range, and has all of them or none. Two
//! forwards that want one address can't both have it: the one that runs there keeps it, else the
//! first by name gets it, and the other one is refused. A refused forward that runs elsewhere stays
//! there, and those addresses are taken as well.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tcpforward_protocol::snapshot::ForwardName;

use crate::config::Reserved;

mod claims;

use claims::{Claims, Held};

/// The addresses of one forward; of one IP, so none is in another one's way.
pub type Addresses = BTreeSet<SocketAddr>;

/// Whose addresses are which.
pub type ByForward = BTreeMap<ForwardName, Addresses>;

/// One thing to do. In the order in which they stand none is in another one's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Give up the addresses that it won't keep first, because they are in the way of its own new
    /// ones, or others wait for them in a circle; the rest follows.
    Close(ForwardName),
    /// Bind the addresses that it lacks, then give up those that it won't keep.
    Move(ForwardName, Addresses),
    /// Bind the addresses that it lacks.
    Start(ForwardName, Addresses),
    /// Stop accepting.
    Stop(ForwardName),
    /// Take the new configuration; no listener is touched.
    Update(ForwardName),
}

/// Why a forward can't have its address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Another forward has it.
    #[error(
        "{address} is taken by the forward {winner}: give one of them another listener.port or listener.address"
    )]
    Forward {
        /// The address.
        address: SocketAddr,
        /// Who has it.
        winner: ForwardName,
    },
    /// This program itself has it.
    #[error("{address} is the data plane's own {}: choose another listener.port", .reserved.holder)]
    Reserved {
        /// The address.
        address: SocketAddr,
        /// Whose it is.
        reserved: Reserved,
    },
}

/// All that has to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// Forwards that can't have what they want.
    pub conflicts: BTreeMap<ForwardName, Conflict>,
}

/// Compares the addresses that are bound with those that are wanted.
#[must_use]
pub fn plan(running: &ByForward, wanted: &ByForward, reserved: &[Reserved]) -> Plan {
    let claims = Claims {
        running,
        wanted,
        reserved,
    };
    let conflicts = claims.conflicts();
    let gone = running.keys().filter(|name| !wanted.contains_key(*name));
    let mut steps: Vec<Step> = gone.cloned().map(Step::Stop).collect();
    let mut moving = ByForward::new();
    let allowed = wanted
        .iter()
        .filter(|(name, _)| !conflicts.contains_key(*name));
    for (name, addresses) in allowed {
        if running.get(name) == Some(addresses) {
            steps.push(Step::Update(name.clone()));
        } else {
            moving.insert(name.clone(), addresses.clone());
        }
    }
    let mut held = Held::default();
    for (name, addresses) in running {
        if wanted.contains_key(name) {
            held.add_all(name, addresses);
        }
    }
    order(moving, running, held, &mut steps);
    Plan { steps, conflicts }
}

/// Emits a move or start only when nobody else holds one of its addresses any more.
fn order(mut moving: ByForward, running: &ByForward, mut held: Held, steps: &mut Vec<Step>) {
    let none = Addresses::new();
    while !moving.is_empty() {
        let mut waiting = ByForward::new();
        let before = moving.len();
        for (name, addresses) in moving {
            if addresses.iter().any(|a| held.other(&name, *a).is_some()) {
                waiting.insert(name, addresses);
                continue;
            }
            let old = running.get(&name).unwrap_or(&none);
            let leaves = leaves(&name, old, &addresses, &held);
            let is_in_its_own_way = addresses
                .difference(old)
                .any(|new| leaves.iter().any(|leaves| overlap(*leaves, *new)));
            held.remove_all(&name, &leaves);
            if is_in_its_own_way {
                steps.push(Step::Close(name.clone()));
            }
            steps.push(if is_in_its_own_way || leaves.is_empty() {
                Step::Start(name, addresses)
            } else {
                Step::Move(name, addresses)
            });
        }
        let stuck = waiting.len() == before;
        moving = waiting;
        let circle = moving.iter().find_map(|(name, addresses)| {
            let old = running.get(name)?;
            let leaves = leaves(name, old, addresses, &held);
            (!leaves.is_empty()).then(|| (name.clone(), leaves))
        });
        match (stuck, circle) {
            (false, _) => {}
            (true, Some((name, leaves))) => {
                held.remove_all(&name, &leaves);
                steps.push(Step::Close(name));
            }
            // Can't be: whoever waits, waits for one that moves. Binding will tell.
            (true, None) => {
                steps.extend(moving.into_iter().map(|(name, a)| Step::Start(name, a)));
                return;
            }
        }
    }
}

/// What a forward still holds and won't keep.
fn leaves(name: &ForwardName, old: &Addresses, new: &Addresses, held: &Held) -> Addresses {
    let leaves = old.difference(new).copied();
    leaves.filter(|a| held.is_held(name, *a)).collect()
}

/// Whether the kernel refuses to bind both. `[::]` takes IPv4 as well.
pub(crate) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let takes = |a: SocketAddr, b: SocketAddr| {
        a.ip().is_unspecified() && (a.is_ipv6() || b.ip().to_canonical().is_ipv4())
    };
    one.port() == other.port()
        && (one.ip().to_canonical() == other.ip().to_canonical()
            || takes(one, other)
            || takes(other, one))
}

#[cfg(test)]
mod tests;
