//! Pure. Which zone each node is in.

use std::collections::BTreeMap;

use crate::index::{Event, Kind, Object};

/// Zones by node, for the answers to hellos.
#[derive(Debug, Default)]
pub(crate) struct Zones(BTreeMap<String, String>);

impl Zones {
    /// Takes in what concerns nodes; the new state if it has changed.
    pub(crate) fn take(&mut self, event: &Event) -> Option<BTreeMap<String, String>> {
        let changed = match event {
            Event::Applied(Object::Node { name, zone, .. }) => self.set(name, zone.as_ref()),
            Event::Deleted {
                kind: Kind::Node,
                name,
                ..
            } => self.set(name, None),
            Event::Replaced(Kind::Node, nodes) => {
                let zones = nodes.iter().filter_map(|node| match node {
                    Object::Node { name, zone, .. } => Some((name.clone(), zone.clone()?)),
                    _ => None,
                });
                let next = zones.collect();
                std::mem::replace(&mut self.0, next) != self.0
            }
            _ => false,
        };
        changed.then(|| self.0.clone())
    }

    fn set(&mut self, node: &str, zone: Option<&String>) -> bool {
        match zone {
            Some(zone) => self.0.insert(node.to_owned(), zone.clone()).as_ref() != Some(zone),
            None => self.0.remove(node).is_some(),
        }
    }
}
