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
    /// Something has changed since it was added up.
    is_stale: bool,
}

impl Ranges {
    pub(super) fn told(told: Vec<IpNet>) -> Self {
        let mut ranges = Self {
            told,
            is_stale: true,
            ..Self::default()
        };
        let _ = ranges.add_up();
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
    pub(super) fn set_node(&mut self, name: &str, ranges: Option<Vec<IpNet>>) {
        self.is_stale |= set(&mut self.nodes, name, ranges);
    }

    /// The same of an object that says where Services are.
    pub(super) fn set_services(&mut self, name: &str, ranges: Option<Vec<IpNet>>) {
        self.is_stale |= set(&mut self.services, name, ranges);
    }

    /// The sum of before, if it is another one now.
    fn add_up(&mut self) -> Option<Protected> {
        if !std::mem::take(&mut self.is_stale) {
            return None;
        }
        let seen = self.services.values().chain(self.nodes.values()).flatten();
        let sum = Protected::new(self.told.iter().chain(seen).copied());
        let former = std::mem::replace(&mut self.sum, sum);
        (former != self.sum).then_some(former)
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

    /// Adds up what has changed of them; once for a whole list, not once for each of it. Touches
    /// those forwards whose fixed addresses are other ones' now, or no longer.
    pub(super) fn protect(&mut self, touched: &mut BTreeSet<ForwardName>) {
        let Some(former) = self.ranges.add_up() else {
            return;
        };
        let now = self.ranges.sum();
        let affected = self.forwards.iter().filter(|(_, known)| {
            let mut addresses = addresses_of(known);
            addresses.any(|ip| guard::is_among(ip, &former) != guard::is_among(ip, now))
        });
        touched.extend(affected.map(|(name, _)| name.clone()));
    }
}

/// True: that is news.
fn set(all: &mut BTreeMap<String, Vec<IpNet>>, name: &str, ranges: Option<Vec<IpNet>>) -> bool {
    let former = match ranges.clone() {
        Some(ranges) => all.insert(name.to_owned(), ranges),
        None => all.remove(name),
    };
    former != ranges
}
