//! Pure. The wanted state of a pool's data planes: valid by construction.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::version::{self, Hash, Version};
use crate::wire;

/// Namespace and name of a TcpForward.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForwardName {
    namespace: String,
    name: String,
}

/// A text that is not `namespace/name`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not namespace/name with at most 63 and 253 characters")]
pub struct NotAForwardName {
    text: String,
}

impl ForwardName {
    /// Joins a namespace and a name that Kubernetes has accepted.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name within its namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ForwardName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for ForwardName {
    type Err = NotAForwardName;

    fn from_str(text: &str) -> Result<Self, NotAForwardName> {
        match text.split_once('/') {
            Some((namespace, name))
                if (1..=63).contains(&namespace.len())
                    && (1..=253).contains(&name.len())
                    && !name.contains('/') =>
            {
                Ok(Self::new(namespace, name))
            }
            _ => Err(NotAForwardName {
                text: text.chars().take(80).collect(),
            }),
        }
    }
}

/// What is the same for all forwards of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether addresses of the data plane's own host may be dialled.
    pub local_targets: LocalTargets,
}

/// Whether loopback, link-local, multicast and unspecified addresses may be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalTargets {
    /// `tcpforward run`: the servers of a laptop are on loopback.
    Allow,
    /// In a cluster.
    Refuse,
}

/// One TcpForward with everything that a data plane needs to serve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Which TcpForward.
    pub name: ForwardName,
    /// Hash of `spec`: what `Programmed` is about.
    pub spec_hash: Hash,
    /// Hash of the whole, backends included.
    pub hash: Hash,
    /// What the user asked for.
    pub spec: ForwardSpec,
    /// Every backend of every target, whatever its state; sorted, unique by target and address.
    pub backends: Vec<Backend>,
}

impl Forward {
    /// Sorts the backends, keeps one of those that are equal by target and address (a usable
    /// one first), and computes both hashes.
    #[must_use]
    pub fn new(name: ForwardName, spec: ForwardSpec, mut backends: Vec<Backend>) -> Self {
        backends.sort();
        backends.dedup_by(|b, a| a.target == b.target && a.address == b.address);
        let (spec_hash, hash) = wire::content_hashes(&spec, &backends);
        Self {
            name,
            spec_hash,
            hash,
            spec,
            backends,
        }
    }
}

/// The part of a forward that only its author changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardSpec {
    /// `metadata.generation` of the TcpForward that this was made from.
    pub generation: i64,
    /// Features without which a data plane must refuse it.
    pub requires: Vec<String>,
    /// Where clients connect.
    pub listener: Listener,
    /// Where sessions go.
    pub relay: Relay,
    /// Silence that ends a session.
    pub timeouts: Timeouts,
}

/// A port, and perhaps an address, to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listener {
    /// TCP port.
    pub port: NonZeroU16,
    /// Absent: the data plane's own default.
    pub address: Option<IpAddr>,
}

/// Raw relaying to targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// In the order of the TcpForward; names are unique.
    pub targets: Vec<Target>,
    /// How a backend is reached.
    pub dial: Dial,
    /// How one is chosen.
    pub load_balancer: LoadBalancer,
}

/// What the user wrote as one target; its backends refer to it by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Unique within the forward.
    pub name: String,
    /// Share of the target, split over its backends; 0: no new sessions.
    pub weight: u32,
    /// Lower first.
    pub priority: u32,
}

/// Bounds of reaching a backend for one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Of one attempt; the last candidate may use what is left of `deadline`.
    pub timeout: Duration,
    /// The first included.
    pub attempts: NonZeroU32,
    /// Of all attempts together.
    pub deadline: Duration,
}

/// How a backend is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadBalancer {
    /// Smooth weighted round robin.
    RoundRobin,
}

/// Silence that ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// No byte either way for this long; absent: never.
    pub idle: Option<Duration>,
    /// No byte for this long once one direction has ended; absent: never.
    pub half_closed: Option<Duration>,
}

/// A dialable address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    /// Name of the target that it belongs to.
    pub target: String,
    /// Where to dial.
    pub address: SocketAddr,
    /// As the EndpointSlices say.
    pub state: BackendState,
    /// Whether new sessions may go there, by kube-proxy's rule.
    pub takes_new: TakesNew,
    /// Node hints of its EndpointSlice, sorted.
    pub nodes: Vec<String>,
    /// Zone hints of its EndpointSlice, sorted.
    pub zones: Vec<String>,
}

/// The state of a backend as Kubernetes sees it; in the order in which one is kept of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackendState {
    /// Ready, or an address that the user wrote.
    Ready,
    /// On its way out, perhaps still serving.
    Terminating,
    /// Not ready and not terminating.
    NotReady,
}

/// Whether a backend may be picked for a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TakesNew {
    /// It may.
    Yes,
    /// Its sessions go on, new ones go elsewhere.
    No,
}

const BUCKETS: usize = 256;

/// All that the data planes of a pool shall serve. Cheap to clone, and two of them are compared
/// at the cost of what differs: forwards lie in 256 shared buckets by hash of their name.
#[derive(Clone, Debug)]
pub struct Snapshot {
    settings: Settings,
    buckets: Vec<Arc<Bucket>>,
}

type Forwards = BTreeMap<ForwardName, Arc<Forward>>;

#[derive(Clone, Debug)]
struct Bucket {
    forwards: Forwards,
    hash: Hash,
}

impl Snapshot {
    /// A set without forwards.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let hash = version::bucket(std::iter::empty());
        let empty = Arc::new(Bucket {
            forwards: BTreeMap::new(),
            hash,
        });
        Self {
            settings,
            buckets: std::iter::repeat_n(empty, BUCKETS).collect(),
        }
    }

    /// What is the same for all forwards.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// The forward of that name.
    #[must_use]
    pub fn find(&self, name: &ForwardName) -> Option<&Arc<Forward>> {
        self.buckets
            .get(version::bucket_of(name))?
            .forwards
            .get(name)
    }

    /// All forwards, in an order that depends on their names only.
    pub fn forwards(&self) -> impl Iterator<Item = &Arc<Forward>> {
        self.buckets
            .iter()
            .flat_map(|bucket| bucket.forwards.values())
    }

    /// Adds a forward or replaces the one of its name.
    pub fn upsert(&mut self, forward: Arc<Forward>) {
        self.change(&forward.name.clone(), |forwards| {
            forwards.insert(forward.name.clone(), forward);
        });
    }

    /// Takes a forward out, if it is there.
    pub fn remove(&mut self, name: &ForwardName) {
        if self.find(name).is_some() {
            self.change(name, |forwards| {
                forwards.remove(name);
            });
        }
    }

    fn change(&mut self, name: &ForwardName, edit: impl FnOnce(&mut Forwards)) {
        if let Some(shared) = self.buckets.get_mut(version::bucket_of(name)) {
            let bucket = Arc::make_mut(shared);
            edit(&mut bucket.forwards);
            bucket.hash = version::bucket(bucket.forwards.values().map(|f| (&f.name, f.hash)));
        }
    }

    /// The name of this content: equal on every replica that sees the same world.
    #[must_use]
    pub fn version(&self) -> Version {
        version::of_buckets(
            &self.settings,
            self.buckets.iter().map(|bucket| bucket.hash),
        )
    }

    /// The forwards of `older` and of this, of each bucket that differs.
    pub(crate) fn changed_buckets<'a>(
        &'a self,
        older: &'a Self,
    ) -> impl Iterator<Item = (&'a Forwards, &'a Forwards)> {
        self.buckets
            .iter()
            .zip(&older.buckets)
            .filter(|(new, old)| new.hash != old.hash)
            .map(|(new, old)| (&old.forwards, &new.forwards))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{backend, forward};

    #[test]
    fn a_name_needs_two_parts() {
        assert_eq!("shop/web".parse(), Ok(ForwardName::new("shop", "web")));
        for text in ["", "web", "/web", "shop/", "a/b/c"] {
            assert!(text.parse::<ForwardName>().is_err(), "{text}");
        }
    }

    #[test]
    fn of_equal_backends_the_ready_one_is_kept() {
        let ready = backend("a", "10.0.0.1:80");
        let leaving = Backend {
            state: BackendState::Terminating,
            ..ready.clone()
        };
        let both = Forward::new(
            ForwardName::new("n", "f"),
            forward("n/f", 1).spec,
            vec![leaving, ready.clone(), backend("b", "10.0.0.1:80")],
        );
        assert_eq!(both.backends, [ready, backend("b", "10.0.0.1:80")]);
    }

    #[test]
    fn an_endpoint_change_keeps_the_spec_hash() {
        let before = forward("n/f", 1);
        let after = Forward::new(before.name.clone(), before.spec.clone(), vec![]);
        assert_eq!(before.spec_hash, after.spec_hash);
        assert_ne!(before.hash, after.hash);
    }

    #[test]
    fn the_order_of_changes_does_not_change_the_version() {
        let settings = Settings {
            local_targets: LocalTargets::Refuse,
        };
        let mut one = Snapshot::new(settings);
        let mut two = Snapshot::new(settings);
        for i in 0..600 {
            one.upsert(Arc::new(forward(&format!("n/f{i}"), 1)));
            two.upsert(Arc::new(forward(&format!("n/f{}", 599 - i), 1)));
        }
        two.upsert(Arc::new(forward("n/extra", 1)));
        assert_ne!(one.version(), two.version());
        two.remove(&ForwardName::new("n", "extra"));
        assert_eq!(one.version(), two.version());
    }
}
