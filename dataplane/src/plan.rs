//! Pure. What has to be done to the listeners that run, so that the wanted ones do.
//!
//! Two forwards that want one address can't both have it: the one that runs there keeps it, else
//! the first by name gets it, and the other one is refused. A refused forward that runs elsewhere
//! stays there, and that address is taken as well.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tcpforward_protocol::snapshot::ForwardName;

use crate::config::Reserved;

/// One thing to do. In the order in which they stand none is in another one's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Give up the address first, because others wait for it in a circle; the move follows.
    Close(ForwardName),
    /// Bind the new address, then give up the old one.
    Move(ForwardName, SocketAddr),
    /// Bind.
    Start(ForwardName, SocketAddr),
    /// Stop accepting.
    Stop(ForwardName),
    /// Take the new configuration; the listener is not touched.
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

type Addresses = BTreeMap<ForwardName, SocketAddr>;

/// Compares the addresses that are bound with those that are wanted.
#[must_use]
pub fn plan(running: &Addresses, wanted: &Addresses, reserved: &[Reserved]) -> Plan {
    let conflicts = conflicts(running, wanted, reserved);
    let gone = running.keys().filter(|name| !wanted.contains_key(*name));
    let mut steps: Vec<Step> = gone.cloned().map(Step::Stop).collect();
    let mut moving = BTreeMap::new();
    for (name, &address) in wanted
        .iter()
        .filter(|(name, _)| !conflicts.contains_key(*name))
    {
        if running.get(name) == Some(&address) {
            steps.push(Step::Update(name.clone()));
        } else {
            moving.insert(name.clone(), address);
        }
    }
    let mut held: Held = Held::default();
    for (name, &address) in running
        .iter()
        .filter(|(name, _)| wanted.contains_key(*name))
    {
        held.add(name, address);
    }
    order(moving, running, held, &mut steps);
    Plan { steps, conflicts }
}

/// Emits a move or start only when nobody else holds its address any more.
fn order(mut moving: Addresses, running: &Addresses, mut held: Held, steps: &mut Vec<Step>) {
    while !moving.is_empty() {
        let mut waiting = Addresses::new();
        let before = moving.len();
        for (name, address) in moving {
            if held.other(&name, address).is_some() {
                waiting.insert(name, address);
                continue;
            }
            match running.get(&name) {
                Some(&old) if held.is_held(&name, old) && overlap(old, address) => {
                    // Its own old listener is in the way of the new one.
                    held.remove(&name, old);
                    steps.push(Step::Close(name.clone()));
                    steps.push(Step::Start(name, address));
                }
                Some(&old) if held.is_held(&name, old) => {
                    held.remove(&name, old);
                    steps.push(Step::Move(name, address));
                }
                _ => steps.push(Step::Start(name, address)),
            }
        }
        let stuck = waiting.len() == before;
        moving = waiting;
        let circle = moving.keys().find(|name| {
            running
                .get(*name)
                .is_some_and(|old| held.is_held(name, *old))
        });
        match (stuck, circle.cloned()) {
            (false, _) => {}
            (true, Some(name)) => {
                if let Some(&old) = running.get(&name) {
                    held.remove(&name, old);
                }
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

fn conflicts(
    running: &Addresses,
    wanted: &Addresses,
    reserved: &[Reserved],
) -> BTreeMap<ForwardName, Conflict> {
    let mut refused: BTreeMap<ForwardName, Conflict> = BTreeMap::new();
    loop {
        let mut held = Held::default();
        // Who runs there is first; among these are the refused ones, where they still run.
        let stays = |name: &ForwardName, address: &SocketAddr| {
            running
                .get(name)
                .filter(|old| refused.contains_key(name) || *old == address)
                .copied()
        };
        for (name, address) in wanted {
            if let Some(old) = stays(name, address) {
                held.add(name, old);
            }
        }
        let mut new = BTreeMap::new();
        for (name, &address) in wanted {
            if refused.contains_key(name) || stays(name, &address).is_some() {
                continue;
            }
            if let Some(&reserved) = reserved.iter().find(|r| overlap(r.address, address)) {
                new.insert(name.clone(), Conflict::Reserved { address, reserved });
            } else if let Some(winner) = held.other(name, address).cloned() {
                new.insert(name.clone(), Conflict::Forward { address, winner });
            } else {
                held.add(name, address);
            }
        }
        if new.is_empty() {
            return refused;
        }
        refused.extend(new);
    }
}

/// Who holds which address, by port.
#[derive(Default)]
struct Held(BTreeMap<u16, BTreeSet<(ForwardName, SocketAddr)>>);

impl Held {
    fn add(&mut self, name: &ForwardName, address: SocketAddr) {
        self.0
            .entry(address.port())
            .or_default()
            .insert((name.clone(), address));
    }

    fn remove(&mut self, name: &ForwardName, address: SocketAddr) {
        if let Some(holders) = self.0.get_mut(&address.port()) {
            holders.remove(&(name.clone(), address));
        }
    }

    fn is_held(&self, name: &ForwardName, address: SocketAddr) -> bool {
        let holders = self.0.get(&address.port());
        holders.is_some_and(|h| h.contains(&(name.clone(), address)))
    }

    /// Who else holds an address that can't be bound beside this one.
    fn other(&self, name: &ForwardName, address: SocketAddr) -> Option<&ForwardName> {
        let mut holders = self.0.get(&address.port())?.iter();
        holders
            .find(|(n, a)| n != name && overlap(*a, address))
            .map(|(n, _)| n)
    }
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
