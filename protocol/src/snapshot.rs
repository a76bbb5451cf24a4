//! Pure. The wanted state of a pool's data planes: valid by construction.

use std::net::SocketAddr;
use std::time::Duration;

use crate::version::Hash;
use crate::wire;

mod connect;
mod established;
mod grant;
mod health;
mod listener;
mod name;
mod protected;
mod relay;
mod set;
mod tcp;
mod via;

pub use connect::{
    Action, HostPattern, HttpConnect, NotAHostPattern, PolicyMode, Rule, ServiceName, Subject,
    TunnelLimits, User,
};
pub use established::{EstablishedConnections, Fate};
pub use grant::{Grant, Permission};
pub use health::{
    ActiveCheck, HealthCheck, HttpProbe, PassiveCheck, Probe, TcpProbe, WhenNoneHealthy,
};
pub use listener::{Listener, ListenerLimits, ProxyMode, ProxyProtocolIn};
pub use name::{ForwardName, NotAForwardName};
pub use protected::Protected;
pub use relay::{
    BackendLimits, Dial, Failback, Failover, Host, LoadBalancer, Origin, Policy, ProxyVersion,
    Relay, Target, Topology,
};
pub use set::Snapshot;
pub use tcp::{ECN_BITS, TcpKeepalive, TcpOptions};
pub use via::{Login, Via, ViaScheme};

/// What is the same for all forwards of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether addresses of the data plane's own host may be dialled.
    pub local_targets: LocalTargets,
    /// Networks of the cluster itself, of which only backends of Services may be dialled.
    pub protected: Protected,
}

impl Settings {
    /// Without protected networks.
    #[must_use]
    pub const fn new(local_targets: LocalTargets) -> Self {
        Self {
            local_targets,
            protected: Protected::NOTHING,
        }
    }
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
    /// Hash of the whole, backends and grants included.
    pub hash: Hash,
    /// What the user asked for.
    pub spec: ForwardSpec,
    /// Every backend of every target, whatever its state; sorted, unique by target and address.
    pub backends: Vec<Backend>,
    /// Of every target in another namespace; sorted, unique by target. Like the backends they are no
    /// part of the spec: a data plane that refuses a new spec takes them all the same.
    pub grants: Vec<Grant>,
}

impl Forward {
    /// Sorts the backends, keeps one of those that are equal by target and address (a usable
    /// one first), and computes both hashes.
    #[must_use]
    pub fn new(name: ForwardName, spec: ForwardSpec, backends: Vec<Backend>) -> Self {
        Self::granted(name, spec, backends, Vec::new())
    }

    /// The same for one with targets in other namespaces.
    #[must_use]
    pub fn granted(
        name: ForwardName,
        spec: ForwardSpec,
        mut backends: Vec<Backend>,
        mut grants: Vec<Grant>,
    ) -> Self {
        backends.sort();
        backends.dedup_by(|b, a| a.target == b.target && a.address == b.address);
        grants.sort();
        grants.dedup_by(|b, a| a.target == b.target);
        let (spec_hash, hash) = wire::content_hashes(&spec, &backends, &grants);
        Self {
            name,
            spec_hash,
            hash,
            spec,
            backends,
            grants,
        }
    }

    /// What is said of a target in another namespace; absent: it needs nobody's permission.
    #[must_use]
    pub fn grant(&self, target: &str) -> Option<&Grant> {
        let place = self
            .grants
            .binary_search_by(|grant| grant.target.as_str().cmp(target));
        self.grants.get(place.ok()?)
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
    /// Where sessions go; of a CONNECT proxy, the Services that its rules lead to.
    pub relay: Relay,
    /// Clients say by HTTP CONNECT where they want to go; absent: they get a backend of the relay.
    pub connect: Option<HttpConnect>,
    /// Who is asked to reach backends, or the targets of a CONNECT proxy's clients other than
    /// Services; absent: nobody.
    pub via: Option<Via>,
    /// Silence or age that ends a session.
    pub timeouts: Timeouts,
}

/// Silence or age that ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// No byte either way for this long; absent: never.
    pub idle: Option<Duration>,
    /// No byte for this long once one direction has ended; absent: never.
    pub half_closed: Option<Duration>,
    /// Since the connection was accepted, give or take a tenth; absent: never.
    pub max_connection_age: Option<Duration>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{backend, forward};

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
    fn a_grant_that_goes_keeps_the_spec_hash() {
        let plain = forward("n/f", 1);
        let hashes = [None, Some(Permission::Given), Some(Permission::Missing)].map(|permission| {
            let of = |target: &str| Grant {
                target: target.to_owned(),
                service: ServiceName {
                    namespace: "shop".to_owned(),
                    name: "db".to_owned(),
                },
                permission: permission.unwrap_or(Permission::Missing),
            };
            let grants = permission.map(|_| vec![of("b"), of("a"), of("a")]);
            let (name, spec) = (plain.name.clone(), plain.spec.clone());
            let backends = plain.backends.clone();
            let forward = Forward::granted(name, spec, backends, grants.unwrap_or_default());
            assert_eq!(forward.spec_hash, plain.spec_hash);
            assert_eq!(forward.grant("b").map(|g| g.permission), permission);
            assert_eq!(forward.grant("c"), None);
            assert!([0, 2].contains(&forward.grants.len()));
            forward.hash
        });
        assert_eq!(hashes[0], plain.hash);
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2]);
    }
}
