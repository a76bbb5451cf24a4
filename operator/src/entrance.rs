//! Pure. The entrance of a forward: the Service by which its clients reach the pool's pods.
//!
//! ```text
//!  listener.port ─► Service: port ─► targetPort ─► a port of the pod, which the operator allocates
//! ```
//!
//! It is made closed: its selector matches no pod. The allocation is recorded in it and nowhere else,
//! so that every replica, and one that starts anew, finds it there.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tcpforward_protocol::snapshot::{ForwardName, Listener};
use tcpforward_protocol::version::Hash;

use crate::crd::{ExposeType, TrafficPolicy};
use crate::forward::Expose;
use crate::pods::POOL_LABEL;

pub mod allocation;
mod deed;
mod live;

pub use deed::{Deed, Gate, Wish, deed};
pub use live::{Live, Owned, reduce};

/// The Service that a forward wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrance {
    /// Whose pods it leads to.
    pub pool: String,
    /// `metadata.uid` of that DataPlane, which owns it.
    pub owner: String,
    /// Whose clients come here.
    pub forward: ForwardName,
    /// The namespace of the pool's pods.
    pub namespace: String,
    /// The first port that clients dial.
    pub port: u16,
    /// How many ports.
    pub count: u16,
    /// What the forward says of it.
    pub expose: Expose,
}

impl Entrance {
    /// Of a forward that listens there.
    #[must_use]
    pub fn ports(listener: &Listener) -> (u16, u16) {
        let first = listener.port.get();
        let last = listener.end_port.unwrap_or(listener.port).get();
        (first, last.saturating_sub(first).saturating_add(1))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        name(&self.pool, &self.forward)
    }

    /// All that the operator writes of it, if its pods listen from that port on.
    #[must_use]
    pub fn body(&self, first: u16, gate: Gate) -> Value {
        let mut spec = json!({
            "type": self.expose.kind.word(),
            "selector": selector(&self.pool, gate),
            "ports": self.body_of_ports(first),
        });
        if let Some(spec) = spec.as_object_mut() {
            if let Some(policy) = self.expose.policy {
                spec.insert("externalTrafficPolicy".to_owned(), json!(policy));
            }
            if let Some(class) = &self.expose.class {
                spec.insert("loadBalancerClass".to_owned(), json!(class));
            }
        }
        let mut annotations = self.expose.annotations.clone();
        annotations.insert(FORWARD.to_owned(), self.forward.to_string());
        annotations.insert(APPLIED.to_owned(), self.digest(first));
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": self.name(),
                "namespace": self.namespace,
                "labels": {MANAGED_BY: MANAGER, POOL_LABEL: self.pool},
                "annotations": annotations,
                "ownerReferences": [{
                    "apiVersion": "tcpforward.dev/v1alpha1",
                    "kind": "DataPlane",
                    "name": self.pool,
                    "uid": self.owner,
                }],
            },
            "spec": spec,
        })
    }

    fn body_of_ports(&self, first: u16) -> Vec<Value> {
        let ports = (0..self.count).map(|i| {
            let port = self.port.saturating_add(i);
            json!({
                "name": format!("tcp-{port}"),
                "port": port,
                "targetPort": first.saturating_add(i),
                "protocol": "TCP",
            })
        });
        ports.collect()
    }

    /// The first port of pods of its own ports, whatever others stand beside them.
    #[must_use]
    pub fn allocation(&self, owned: &Owned) -> Option<u16> {
        let target = |port: u16| {
            let mut ports = owned.ports.iter();
            ports.find_map(|(its, target, _)| (*its == port).then_some(*target))
        };
        let first = target(self.port)?;
        let mut all = 0..self.count;
        let is_whole = all.all(|i| {
            let port = target(self.port.saturating_add(i));
            port.is_some() && port == first.checked_add(i)
        });
        is_whole.then_some(first)
    }

    /// Whether there are ports in it that it doesn't want.
    fn has_strays(&self, owned: &Owned) -> bool {
        let last = self.port.saturating_add(self.count.saturating_sub(1));
        let mut ports = owned.ports.iter();
        ports.any(|(port, ..)| !(self.port..=last).contains(port))
    }

    /// Tells whether what was written is this, whatever the API server has made of it.
    #[must_use]
    pub fn digest(&self, first: u16) -> String {
        let kind = self.expose.kind.word();
        let policy = match self.expose.policy {
            None => "",
            Some(TrafficPolicy::Cluster) => "Cluster",
            Some(TrafficPolicy::Local) => "Local",
        };
        let class = self.expose.class.as_deref().unwrap_or_default();
        let annotations = json!(self.expose.annotations).to_string();
        let numbers = format!("{} {} {first}", self.port, self.count);
        let (pool, owner) = (self.pool.as_str(), self.owner.as_str());
        let parts = [kind, policy, class, &annotations, &numbers, pool, owner];
        let parts = parts
            .iter()
            .flat_map(|part| [part.as_bytes(), b"\0".as_slice()]);
        hex(&Hash::of(parts), 16)
    }

    /// Whether clients come by an address that someone else has to give.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.expose.kind == ExposeType::LoadBalancer
    }
}

/// The name of the Service of a forward in a pool: for people the forward's, and a part that no other
/// pair has. 63 characters at most, and a letter first.
#[must_use]
pub fn name(pool: &str, forward: &ForwardName) -> String {
    let both = format!("{}-{}", forward.name(), forward.namespace()).replace('.', "-");
    let both = match both.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("f{both}"),
        false => both,
    };
    let short: String = both.chars().take(NAME_CHARS).collect();
    let parts = [pool, "\0", forward.namespace(), "\0", forward.name()];
    let hash = Hash::of(parts.map(str::as_bytes));
    format!("{}-{}", short.trim_end_matches('-'), hex(&hash, 4))
}

/// Which pods it leads to: those of the pool, or none.
#[must_use]
pub fn selector(pool: &str, gate: Gate) -> BTreeMap<&'static str, &str> {
    let mut selector = BTreeMap::from([(POOL_LABEL, pool)]);
    if gate == Gate::Closed {
        selector.insert(CLOSED.0, CLOSED.1);
    }
    selector
}

fn hex(hash: &Hash, bytes: usize) -> String {
    let bytes = hash.as_bytes().iter().take(bytes);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// The annotation that says which forward it belongs to, as namespace/name.
pub const FORWARD: &str = "tcpforward.dev/forward";

/// The annotation that says what was written last.
const APPLIED: &str = "tcpforward.dev/applied";

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Its value on what is ours; the field manager as well.
pub const MANAGER: &str = "tcpforward-operator";

/// A label that no pod has.
const CLOSED: (&str, &str) = ("tcpforward.dev/entrance", "closed");

/// Of a name, before its last part: nine characters of 63 are for that.
const NAME_CHARS: usize = 54;

#[cfg(test)]
pub(crate) mod tests;
