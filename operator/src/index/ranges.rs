//! Pure. The cluster's own networks: of its Services, its nodes and their pods, and those that the
//! operator was told.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use tcpforward_protocol::guard;
use tcpforward_protocol::snapshot::{ForwardName, Protected};

use super::Index;
use super::uses::addresses_of;

/// All that is known of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges {
    told: Vec<IpNet>,
    services: BTreeMap<String, Vec<IpNet>>,
    nodes: BTreeMap<String, Vec<IpNet>>,
    sum: Protected,
}

/// Whether the sum of all is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sum {
    Other,
    Same,
}

impl Ranges {
    pub(super) fn told(told: Vec<IpNet>) -> Self {
        let mut ranges = Self {
            told,
            ..Self::default()
        };
        ranges.add_up();
        ranges
    }

    pub(super) fn sum(&self) -> &Protected {
        &self.sum
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &String> {
        self.nodes.keys()
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &String> {
        self.services.keys()
    }

    /// `None`: it is gone.
    pub(super) fn set_node(&mut self, name: &str, ranges: Option<Vec<IpNet>>) -> Sum {
        match set(&mut self.nodes, name, ranges) {
            Sum::Other => self.add_up(),
            Sum::Same => Sum::Same,
        }
    }

    /// The same of an object that says where Services are.
    pub(super) fn set_services(&mut self, name: &str, ranges: Option<Vec<IpNet>>) -> Sum {
        match set(&mut self.services, name, ranges) {
            Sum::Other => self.add_up(),
            Sum::Same => Sum::Same,
        }
    }

    fn add_up(&mut self) -> Sum {
        let seen = self.services.values().chain(self.nodes.values()).flatten();
        let sum = Protected::new(self.told.iter().chain(seen).copied());
        match std::mem::replace(&mut self.sum, sum) == self.sum {
            true => Sum::Same,
            false => Sum::Other,
        }
    }
}

impl Index {
    /// An empty world, whose networks those are that nobody may be led to but by a Service.
    #[must_use]
    pub fn protecting(networks: Vec<IpNet>) -> Self {
        Self {
            ranges: Ranges::told(networks),
            ..Self::default()
        }
    }

    /// The cluster's own networks.
    #[must_use]
    pub fn protected(&self) -> &Protected {
        self.ranges.sum()
    }

    /// Touches those forwards whose fixed addresses are other ones' now, or no longer.
    pub(super) fn protect(
        &mut self,
        touched: &mut BTreeSet<ForwardName>,
        change: impl FnOnce(&mut Ranges) -> Sum,
    ) {
        let former = self.ranges.sum().clone();
        if change(&mut self.ranges) == Sum::Same {
            return;
        }
        let now = self.ranges.sum();
        let affected = self.forwards.iter().filter(|(_, known)| {
            let mut addresses = addresses_of(known);
            addresses.any(|ip| guard::is_among(ip, &former) != guard::is_among(ip, now))
        });
        touched.extend(affected.map(|(name, _)| name.clone()));
    }
}

fn set(all: &mut BTreeMap<String, Vec<IpNet>>, name: &str, ranges: Option<Vec<IpNet>>) -> Sum {
    let former = match ranges.clone() {
        Some(ranges) => all.insert(name.to_owned(), ranges),
        None => all.remove(name),
    };
    match former == ranges {
        true => Sum::Same,
        false => Sum::Other,
    }
}
