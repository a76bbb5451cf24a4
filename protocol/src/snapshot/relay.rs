//! Pure. Where sessions go, and how a backend is chosen and reached.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use crate::snapshot::{EstablishedConnections, HealthCheck, TcpOptions};

/// Raw relaying to targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// In the order of the TcpForward; names are unique.
    pub targets: Vec<Target>,
    /// How a backend is reached.
    pub dial: Dial,
    /// How one is chosen.
    pub load_balancer: LoadBalancer,
    /// When another priority is used, and when no longer.
    pub failover: Failover,
    /// How it is known whether a backend can be used.
    pub health_check: HealthCheck,
    /// What happens to open sessions when their backend changes.
    pub established_connections: EstablishedConnections,
    /// Absent: none.
    pub backend_limits: Option<BackendLimits>,
    /// The PROXY header that backends get; absent: none.
    pub proxy_protocol: Option<ProxyVersion>,
    /// Options of the sockets to backends, or to the parent proxy that leads there.
    pub tcp: TcpOptions,
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
    /// A DNS name, whose addresses are the backends; the data plane resolves it.
    pub host: Option<Host>,
    /// Who says which addresses it has.
    pub origin: Origin,
}

/// Who says where to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The author of a forward, or a client of its proxy, by an address or a name.
    Author,
    /// The endpoints of a Service, which may be in networks of the cluster itself.
    Service,
}

/// A server by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host {
    /// DNS name, as the user wrote it.
    pub name: String,
    /// TCP port.
    pub port: NonZeroU16,
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
    /// Without an answer for so long, one more backend of the same priority is raced; absent: never.
    pub hedge_after: Option<Duration>,
}

/// How a backend is chosen among those of a priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadBalancer {
    /// The way of choosing.
    pub policy: Policy,
    /// How long the share of a backend that is new, or back, grows; absent: it is whole at once.
    pub slow_start: Option<Duration>,
    /// Whether the hints of EndpointSlices are followed.
    pub topology: Topology,
}

/// The way of choosing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// By the client's address: Maglev with bounded load.
    ConsistentHash,
    /// The one with fewer open sessions of two drawn by weight.
    LeastConnections,
    /// The one with the lower peak EWMA of connect time times open sessions, of two drawn by weight.
    LeastLatency,
    /// Smooth weighted round robin.
    RoundRobin,
}

/// Whether the hints of EndpointSlices are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// As kube-proxy does: by node, then by zone, each all or nothing.
    Auto,
    /// All backends alike.
    Ignore,
}

/// When another priority is used, and when no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// 1 to 100; below it only 100 × healthy / min percent of new sessions stay. Absent: all stay
    /// while one backend is usable.
    pub min_healthy_percent: Option<u8>,
    /// When new sessions go back.
    pub failback: Failback,
}

/// When new sessions go back to a priority that has recovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failback {
    /// Once it has been well for so long.
    Delayed(Duration),
    /// At once.
    Immediate,
    /// When this text is another one than before.
    Manual(String),
}

/// Bounds of what one backend gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendLimits {
    /// Sessions at a time, over the whole pool.
    pub connections: NonZeroU32,
    /// How long a session may wait for a place; zero: not at all.
    pub queue_timeout: Duration,
}

/// Versions of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary, with a unique id and a checksum.
    V2,
}

/// What a message of before these fields means.
impl Default for LoadBalancer {
    fn default() -> Self {
        Self {
            policy: Policy::RoundRobin,
            slow_start: None,
            topology: Topology::Ignore,
        }
    }
}

/// What a message of before these fields means.
impl Default for Failover {
    fn default() -> Self {
        Self {
            min_healthy_percent: None,
            failback: Failback::Immediate,
        }
    }
}
