//! Pure. How a backend is reached.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::balancing::{Failover, LoadBalancer};
use super::established::{BackendLimits, EstablishedConnections, ProxyProtocolOut};
use super::health::HealthCheck;
use super::target::Target;
use super::tcp::TcpOptions;
use super::via::Via;
use super::{DURATION, defaults, some_time};

/// Where sessions go.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.tcp) || !has(self.tcp.fastOpen) || !self.tcp.fastOpen"
).message(
    "fastOpen is for listener.tcp, since a backend gets no byte before it has answered: take it out"
).field_path(".tcp.fastOpen"))]
pub struct Relay {
    /// Services or addresses that share the sessions by priority and weight.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub targets: Vec<Target>,
    /// How a backend is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dial: Option<Dial>,
    /// How a backend is chosen among those of a priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
    /// When another priority is used, and when no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
    /// How it is known whether a backend can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// What happens to open sessions when their backend changes. Keep: they go on. Drain: they may
    /// end by themselves until drainTimeout, then they are reset. Close: they are reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub established_connections: Option<EstablishedConnections>,
    /// What one backend gets at most. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_limits: Option<BackendLimits>,
    /// A parent proxy that is asked for each backend by its address, and by checks as well. Absent:
    /// backends are reached directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// The PROXY header that backends get before the first byte, from checks as well. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocolOut>,
    /// Options of the sockets to backends, or to the parent proxy that leads there, from checks as
    /// well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpOptions>,
}

/// Bounds of reaching a backend for one session.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(defaults::TIMEOUT_WITHIN_DEADLINE)
        .message(Message::Expression(defaults::TIMEOUT_BEYOND_DEADLINE.into())),
    validation = Rule::new(defaults::HEDGE_WITHIN_TIMEOUT)
        .message(Message::Expression(defaults::HEDGE_BEYOND_TIMEOUT.into()))
        .field_path(".hedge.after")
)]
pub struct Dial {
    /// Bound of one attempt; the last candidate may use what is left of deadline. Absent: 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = some_time())]
    pub timeout: Option<String>,
    /// Backends that are tried for one session, the first included; another one each time, the
    /// same one again only when there is no other. Absent: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub attempts: Option<i32>,
    /// Bound of all attempts together. Absent: 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = some_time())]
    pub deadline: Option<String>,
    /// Races one more backend of the same priority when the first one is slow to answer; at most a
    /// tenth of the dials do. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Hedge>,
}

/// When one more backend is raced.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hedge {
    /// How long the first backend may leave the connection unanswered; shorter than timeout.
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = some_time())]
    pub after: String,
}
