//! Pure. Which backend is next: policies, topology, failover between priorities.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{DURATION, some_time};

/// How a backend is chosen.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.consistentHash) || (has(self.type) && self.type == 'ConsistentHash')"
).message(
    "is for type ConsistentHash only: set type to ConsistentHash, or take consistentHash out"
).field_path(".consistentHash"))]
pub struct LoadBalancer {
    /// The way of choosing. RoundRobin: in turn, by weight. LeastConnections: of two drawn by
    /// weight, the one with fewer open sessions. LeastLatency: of two drawn by weight, the one that
    /// connects faster and has fewer open sessions. ConsistentHash: a client keeps its backend as
    /// long as that is usable and not overloaded. Absent: RoundRobin.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LoadBalancerType")]
    pub kind: Option<LoadBalancerType>,
    /// What type ConsistentHash goes by. Absent: SourceIP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistent_hash: Option<ConsistentHash>,
    /// Lets the share of a backend that is new, or back, grow by time. Absent: it is whole at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStart>,
    /// Auto: by the hints of EndpointSlices, as kube-proxy does: backends for the data plane's node,
    /// else for its zone, else all. Ignore: all alike. Absent: Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Topology")]
    pub topology: Option<Topology>,
}

/// The way of choosing.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum LoadBalancerType {
    /// Maglev with bounded load.
    ConsistentHash,
    /// Best of two.
    LeastConnections,
    /// Peak EWMA, best of two.
    LeastLatency,
    /// Smooth weighted round robin.
    RoundRobin,
}

/// What is hashed.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsistentHash {
    /// What is hashed. SourceIP: the client's address; with the PROXY protocol, the one in the header.
    #[serde(rename = "type")]
    pub kind: HashInput,
}

/// What is hashed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum HashInput {
    /// The client's address.
    #[serde(rename = "SourceIP")]
    SourceIp,
}

/// How the share of a backend grows.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlowStart {
    /// How long it takes until the share is whole.
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = some_time())]
    pub window: String,
}

/// Whether backends near the data plane are preferred.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum Topology {
    /// By hints.
    Auto,
    /// All alike.
    Ignore,
}

/// When another priority is used, and when no longer.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// While fewer backends than this percentage of a priority are usable, only that part of its
    /// sessions stays (100 × usable % / this), the rest goes to the next priority. Ejection alone
    /// leaves out at most maxEjectionPercent: use active checks with it. Absent: all stay while
    /// one backend is usable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub min_healthy_percent: Option<i32>,
    /// When new sessions go back to a priority that has recovered. Absent: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failback: Option<Failback>,
}

/// When new sessions go back to a priority that has recovered.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.mode == 'Delayed') == has(self.delay)").message(
    "goes with mode Delayed, and only with that: set mode to Delayed with a delay, or take delay out"
).field_path(".delay"))]
pub struct Failback {
    /// Immediate: at once. Delayed: once it has been well for delay. Manual: when the annotation
    /// tcpforward.dev/failback of the TcpForward gets another value, of which 64 characters count.
    pub mode: FailbackMode,
    /// With mode Delayed: how long the priority has to be well without a break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = some_time())]
    pub delay: Option<String>,
}

/// How it is decided when new sessions go back.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum FailbackMode {
    /// After a delay.
    Delayed,
    /// At once.
    Immediate,
    /// By annotation.
    Manual,
}
