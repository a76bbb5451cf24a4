//! Pure. Who gets which address, where several want it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tcpforward_protocol::snapshot::ForwardName;

use super::{Addresses, ByForward, Conflict, overlap};
use crate::config::Reserved;

/// What is bound, and what is wanted.
pub(super) struct Claims<'a> {
    pub(super) running: &'a ByForward,
    pub(super) wanted: &'a ByForward,
    pub(super) reserved: &'a [Reserved],
}

impl Claims<'_> {
    /// Who can't have what it wants.
    pub(super) fn conflicts(&self) -> BTreeMap<ForwardName, Conflict> {
        let mut refused = BTreeSet::new();
        loop {
            let losers = self.losers(&refused);
            if losers.is_empty() {
                break;
            }
            refused.extend(losers);
        }
        let held = self.take_back(&mut refused);
        let conflict = |name: &ForwardName| Some((name.clone(), self.conflict(name, &held)?));
        refused.iter().filter_map(conflict).collect()
    }

    /// Who loses, besides those that have lost and stay where they are.
    fn losers(&self, refused: &BTreeSet<ForwardName>) -> BTreeSet<ForwardName> {
        let mut held = self.firm(refused);
        let mut losers = BTreeSet::new();
        for (name, addresses) in self.wanted {
            if refused.contains(name) {
                continue;
            }
            if self.conflict(name, &held).is_some() {
                losers.insert(name.clone());
            } else {
                held.add_all(name, addresses);
            }
        }
        losers
    }

    /// Takes those back who lost to one that was refused itself later on; what is returned is who
    /// holds what in the end.
    fn take_back(&self, refused: &mut BTreeSet<ForwardName>) -> Held {
        let mut held = self.firm(refused);
        let allowed = self.wanted.iter().filter(|(n, _)| !refused.contains(*n));
        allowed.for_each(|(name, addresses)| held.add_all(name, addresses));
        while let Some(name) = refused
            .iter()
            .find(|name| self.conflict(name, &held).is_none())
            .cloned()
        {
            refused.remove(&name);
            held.remove_all(&name, self.running(&name));
            if let Some(addresses) = self.wanted.get(&name) {
                held.add_all(&name, addresses);
            }
        }
        held
    }

    /// Who runs there is first; among these are the refused ones, where they still run.
    fn firm(&self, refused: &BTreeSet<ForwardName>) -> Held {
        let mut held = Held::default();
        for (name, addresses) in self.wanted {
            let is_refused = refused.contains(name);
            let running = self.running(name).iter();
            let stay = running.filter(|a| is_refused || addresses.contains(*a));
            stay.for_each(|a| held.add(name, *a));
        }
        held
    }

    fn conflict(&self, name: &ForwardName, held: &Held) -> Option<Conflict> {
        let running = self.running(name);
        self.wanted.get(name)?.iter().find_map(|&address| {
            let taken = |r: &&Reserved| overlap(r.address, address);
            if running.contains(&address) {
                return None;
            }
            if let Some(&reserved) = self.reserved.iter().find(taken) {
                return Some(Conflict::Reserved { address, reserved });
            }
            let winner = held.other(name, address)?.clone();
            Some(Conflict::Forward { address, winner })
        })
    }

    fn running(&self, name: &ForwardName) -> &Addresses {
        const NONE: &Addresses = &Addresses::new();
        self.running.get(name).unwrap_or(NONE)
    }
}

/// Who holds which address, by port.
#[derive(Default)]
pub(super) struct Held(BTreeMap<u16, BTreeSet<(ForwardName, SocketAddr)>>);

impl Held {
    pub(super) fn add_all(&mut self, name: &ForwardName, addresses: &Addresses) {
        addresses.iter().for_each(|a| self.add(name, *a));
    }

    pub(super) fn remove_all(&mut self, name: &ForwardName, addresses: &Addresses) {
        for address in addresses {
            if let Some(holders) = self.0.get_mut(&address.port()) {
                holders.remove(&(name.clone(), *address));
            }
        }
    }

    fn add(&mut self, name: &ForwardName, address: SocketAddr) {
        self.0
            .entry(address.port())
            .or_default()
            .insert((name.clone(), address));
    }

    pub(super) fn is_held(&self, name: &ForwardName, address: SocketAddr) -> bool {
        let holders = self.0.get(&address.port());
        holders.is_some_and(|h| h.contains(&(name.clone(), address)))
    }

    /// Who else holds an address that can't be bound beside this one.
    pub(super) fn other(&self, name: &ForwardName, address: SocketAddr) -> Option<&ForwardName> {
        let mut holders = self.0.get(&address.port())?.iter();
        holders
            .find(|(n, a)| n != name && overlap(*a, address))
            .map(|(n, _)| n)
    }
}
