//! Pure. The known world: objects in, which forwards they touch out. The order of events never
//! changes what is known in the end.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use tcpforward_protocol::snapshot::ForwardName;

use crate::crd::TcpForwardStatus;
use crate::forward::{Draft, Rejection};
use crate::resolve::{Service, Slice};

mod claim;
mod entrances;
mod event;
mod forwards;
mod grant;
mod pools;
mod ranges;
mod same;
mod secret;
mod slices;
mod uses;

pub use claim::{Claim, Standing};
pub use entrances::{EntranceNews, Entrances, Found, Unseen};
pub(crate) use event::Key;
pub use event::{Event, Kind, Object};
use grant::Grants;
pub use grant::{ReferenceGrant, Sight};
pub use pools::{KnownPool, Pools};
use ranges::Ranges;
pub use secret::{Contents, Held, NoCa, NoLogin, NoUsers, Secret};
use uses::Uses;

/// A TcpForward as it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// As it was written.
    pub raw: Value,
    /// What it asks for.
    pub draft: Result<Draft, Rejection>,
    /// Its place in the queue for a port.
    pub claim: Claim,
}

/// The known world.
#[derive(Clone, Debug, Default)]
pub struct Index {
    forwards: BTreeMap<ForwardName, Known>,
    services: BTreeMap<Key, Service>,
    /// Slices by the Service that they belong to, then by their own name.
    slices: BTreeMap<Key, BTreeMap<String, Slice>>,
    /// Which Service a slice belongs to.
    owners: BTreeMap<Key, Key>,
    secrets: BTreeMap<Key, Contents>,
    grants: Grants,
    sight: Sight,
    pools: Pools,
    entrances: Entrances,
    ranges: Ranges,
    uses_of_services: Uses,
    uses_of_secrets: Uses,
}

impl Index {
    /// An empty world.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of what happened and names the forwards that it touches; one that is gone, too.
    /// A status alone touches none, unless it changes the place in the queue for a port.
    pub fn apply(&mut self, event: Event) -> BTreeSet<ForwardName> {
        let mut touched = BTreeSet::new();
        match event {
            Event::Applied(object) => self.put(object, &mut touched),
            Event::Deleted {
                kind,
                namespace,
                name,
            } => {
                self.delete(kind, &(namespace, name), &mut touched);
            }
            Event::Replaced(kind, objects) => {
                let kept: BTreeSet<Key> = objects.iter().map(Object::key).collect();
                for key in self.keys(kind).difference(&kept) {
                    self.delete(kind, key, &mut touched);
                }
                let objects = objects.into_iter().filter(|object| object.kind() == kind);
                objects.for_each(|object| self.put(object, &mut touched));
            }
            Event::Sight(sight) => {
                if std::mem::replace(&mut self.sight, sight) != sight {
                    touched.extend(self.uses_of_services.of_strangers().cloned());
                }
            }
            Event::Entrances(news) => self.put_entrances(news, &mut touched),
        }
        self.protect(&mut touched);
        touched
    }

    /// A TcpForward as it was written.
    #[must_use]
    pub fn raw(&self, name: &ForwardName) -> Option<&Value> {
        self.forwards.get(name).map(|known| &known.raw)
    }

    /// A TcpForward as it is known.
    #[must_use]
    pub fn known(&self, name: &ForwardName) -> Option<&Known> {
        self.forwards.get(name)
    }

    /// The status that a TcpForward has at present, if it can be read.
    #[must_use]
    pub fn status_of(&self, name: &ForwardName) -> Option<TcpForwardStatus> {
        TcpForwardStatus::deserialize(self.raw(name)?.get("status")?).ok()
    }

    /// Every TcpForward.
    pub fn names(&self) -> impl Iterator<Item = &ForwardName> {
        self.forwards.keys()
    }

    /// A Service.
    #[must_use]
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.services.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// What is known of a Secret; nothing, if nobody has looked.
    #[must_use]
    pub fn secret(&self, namespace: &str, name: &str) -> Option<&Contents> {
        self.secrets.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Namespace and name of each Secret that forwards name.
    #[must_use]
    pub fn secrets_in_use(&self) -> BTreeSet<(String, String)> {
        self.uses_of_secrets.keys().cloned().collect()
    }

    /// Forwards whose Secret nobody has looked at.
    #[must_use]
    pub fn waiting_for_secrets(&self) -> BTreeSet<ForwardName> {
        let unread = self.uses_of_secrets.keys();
        let unread = unread.filter(|key| !self.secrets.contains_key(*key));
        let waiting = unread.flat_map(|key| self.uses_of_secrets.of(key));
        waiting.cloned().collect()
    }

    /// All slices of a Service, in the order of their names.
    pub fn slices(&self, namespace: &str, service: &str) -> impl Iterator<Item = &Slice> + Clone {
        let key = (namespace.to_owned(), service.to_owned());
        self.slices.get(&key).into_iter().flat_map(BTreeMap::values)
    }

    /// Whether TcpForwards of that namespace may go to a Service: it is their own one's, or its
    /// namespace says so.
    #[must_use]
    pub fn permits(&self, from: &str, namespace: &str, service: &str) -> bool {
        from == namespace || self.permitted_by(from, namespace, service).is_some()
    }

    /// The grant by which TcpForwards of one namespace may go to a Service of another.
    #[must_use]
    pub fn permitted_by(
        &self,
        from: &str,
        namespace: &str,
        service: &str,
    ) -> Option<&ReferenceGrant> {
        self.grants.permit(from, namespace, service)
    }

    /// What a namespace says of who may go to its Services.
    pub fn grants(&self, namespace: &str) -> impl Iterator<Item = &ReferenceGrant> {
        self.grants.of(namespace)
    }

    /// What can be known of ReferenceGrants.
    #[must_use]
    pub fn sight(&self) -> Sight {
        self.sight
    }

    /// All pools, and the namespaces that may use them.
    #[must_use]
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    fn keys(&self, kind: Kind) -> BTreeSet<Key> {
        let bare = |name: &String| (String::new(), name.clone());
        match kind {
            Kind::DataPlane => self.pools.names().map(bare).collect(),
            Kind::EndpointSlice => self.owners.keys().cloned().collect(),
            Kind::Namespace => self.pools.namespaces().map(bare).collect(),
            Kind::Node => self.ranges.nodes().map(bare).collect(),
            Kind::ReferenceGrant => self.grants.keys(),
            Kind::ServiceCidr => self.ranges.services().map(bare).collect(),
            Kind::Secret => self.secrets.keys().cloned().collect(),
            Kind::Service => self.services.keys().cloned().collect(),
            Kind::TcpForward => self
                .forwards
                .keys()
                .map(|name| (name.namespace().to_owned(), name.name().to_owned()))
                .collect(),
        }
    }

    fn put(&mut self, object: Object, touched: &mut BTreeSet<ForwardName>) {
        let key = object.key();
        match object {
            Object::DataPlane(raw) => self.pools.put(raw, touched),
            Object::EndpointSlice(slice) => self.put_slice(key, &slice, touched),
            Object::Namespace { name, labels } => {
                self.pools.put_namespace(&name, Some(labels), touched);
            }
            // Zones are told to data planes beside their set: `watch::Zones`.
            Object::Node { name, ranges, .. } => {
                self.ranges.set_node(&name, Some(ranges));
            }
            Object::ReferenceGrant(grant) => {
                let concerned = self.grants.put(key.clone(), grant);
                self.touch_strangers(&key.0, &concerned, touched);
            }
            Object::ServiceCidr { name, ranges } => {
                self.ranges.set_services(&name, Some(ranges));
            }
            Object::Secret(secret) => {
                if self.secrets.get(&key) != Some(&secret.contents) {
                    touched.extend(self.uses_of_secrets.of(&key).cloned());
                    self.secrets.insert(key, secret.contents);
                }
            }
            Object::Service(service) => {
                let service = Service::from(&*service);
                if self.services.get(&key) != Some(&service) {
                    touched.extend(self.uses_of_services.of(&key).cloned());
                    self.services.insert(key, service);
                }
            }
            Object::TcpForward(raw) => self.put_forward(raw, touched),
        }
    }

    fn delete(&mut self, kind: Kind, key: &Key, touched: &mut BTreeSet<ForwardName>) {
        match kind {
            Kind::DataPlane => self.pools.remove(&key.1, touched),
            Kind::EndpointSlice => self.delete_slice(key, touched),
            Kind::Namespace => self.pools.put_namespace(&key.1, None, touched),
            Kind::Node => self.ranges.set_node(&key.1, None),
            Kind::ServiceCidr => self.ranges.set_services(&key.1, None),
            Kind::ReferenceGrant => {
                let concerned = self.grants.remove(key);
                self.touch_strangers(&key.0, &concerned, touched);
            }
            Kind::Secret => {
                if self.secrets.remove(key).is_some() {
                    touched.extend(self.uses_of_secrets.of(key).cloned());
                }
            }
            Kind::Service => {
                if self.services.remove(key).is_some() {
                    touched.extend(self.uses_of_services.of(key).cloned());
                }
            }
            Kind::TcpForward => {
                let name = ForwardName::new(&key.0, &key.1);
                self.forget_uses(&name);
                if self.forwards.remove(&name).is_some() {
                    touched.insert(name);
                }
            }
        }
    }

    /// Forwards of these namespaces that lead to Services of that one.
    fn touch_strangers(
        &self,
        namespace: &str,
        from: &BTreeSet<String>,
        touched: &mut BTreeSet<ForwardName>,
    ) {
        let there = self.uses_of_services.of_namespace(namespace);
        touched.extend(
            there
                .filter(|name| from.contains(name.namespace()))
                .cloned(),
        );
    }
}

#[cfg(test)]
pub(crate) mod tests;
