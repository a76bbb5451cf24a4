//! Pure. Which forwards name an object, whether or not it exists.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tcpforward_protocol::snapshot::ForwardName;

use super::{Key, Known};
use crate::forward::Destination;

/// Forwards by what they name.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses(BTreeMap<Key, BTreeSet<ForwardName>>);

impl Uses {
    /// What is named by anyone.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.keys()
    }

    pub(super) fn of(&self, key: &Key) -> impl Iterator<Item = &ForwardName> {
        self.0.get(key).into_iter().flatten()
    }

    /// Forwards that name anything of a namespace.
    pub(super) fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = &ForwardName> {
        let first = (namespace.to_owned(), String::new());
        let from_there = self.0.range(first..);
        let there = from_there.take_while(move |((its, _), _)| its == namespace);
        there.flat_map(|(_, names)| names)
    }

    /// Forwards that name anything of another namespace than their own.
    pub(super) fn of_strangers(&self) -> impl Iterator<Item = &ForwardName> {
        self.0.iter().flat_map(|((namespace, _), names)| {
            names
                .iter()
                .filter(move |name| name.namespace() != namespace)
        })
    }

    pub(super) fn add(&mut self, name: &ForwardName, keys: impl Iterator<Item = Key>) {
        for key in keys {
            self.0.entry(key).or_default().insert(name.clone());
        }
    }

    pub(super) fn remove(&mut self, name: &ForwardName, keys: impl Iterator<Item = Key>) {
        for key in keys {
            if let Some(names) = self.0.get_mut(&key) {
                names.remove(name);
                if names.is_empty() {
                    self.0.remove(&key);
                }
            }
        }
    }
}

/// Fixed addresses that it leads to.
pub(super) fn addresses_of(known: &Known) -> impl Iterator<Item = IpAddr> + '_ {
    let destinations = known.draft.iter().flat_map(|draft| &draft.destinations);
    destinations.filter_map(|destination| match destination {
        Destination::Address(address) => Some(address.ip()),
        Destination::Host | Destination::Service(_) => None,
    })
}
