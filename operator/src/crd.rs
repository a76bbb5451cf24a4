//! Pure. The API `tcpforward.dev/v1alpha1`: types, bounds, rules and what `kubectl` shows.
//!
//! `crds/` is generated from here; `validate` runs the generated schema, so a rule exists once.
#![expect(
    unreachable_pub,
    reason = "kube's derive makes a private copy of each type with a rule"
)]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

pub mod defaults;
mod definition;
pub mod status;

pub use definition::{definition, schema, yaml};
pub use status::TcpForwardStatus;

/// Listens on a port and relays each TCP connection to one of its targets.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "tcpforward.dev",
    version = "v1alpha1",
    kind = "TcpForward",
    namespaced,
    shortname = "tcpf",
    status = "TcpForwardStatus",
    derive = "PartialEq",
    doc = "TcpForward listens on a port and relays each TCP connection to one of its targets.",
    printcolumn = r#"{"name":"Port","type":"integer","jsonPath":".spec.listener.port"}"#,
    printcolumn = r#"{"name":"Address","type":"string","jsonPath":".status.addresses[0].value"}"#,
    printcolumn = r#"{"name":"Backends","type":"string","jsonPath":".status.backends.summary"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Pool","type":"string","jsonPath":".spec.dataPlaneName","priority":1}"#,
    printcolumn = r#"{"name":"Pods","type":"string","jsonPath":".status.dataPlanes.summary","priority":1}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct TcpForwardSpec {
    /// The pool of data plane pods that serves this forward. Absent: default.
    #[serde(default = "defaults::data_plane_name")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub data_plane_name: String,
    /// Where clients connect.
    pub listener: Listener,
    /// Where sessions go: raw bytes, both ways at once.
    pub relay: Relay,
    /// Silence that ends a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
}

/// Where clients connect.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// The TCP port that clients dial.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The IP address to listen on. Absent: every address of the pod, IPv6 and IPv4; with
    /// `tcpforward run`, the address of --bind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 45))]
    #[x_kube(validation = Rule::new("isIP(self)").message(
        "must be an IP address, like 10.0.0.7 or fd00::7: a listener binds an address of its own host"
    ))]
    pub address: Option<String>,
}

/// Where sessions go.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Relay {
    /// Services or addresses that share the sessions by priority and weight.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub targets: Vec<Target>,
    /// How a backend is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dial: Option<Dial>,
    /// How a backend is chosen among those of the lowest usable priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
}

/// One destination: a Service, or an address.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.service) != has(self.address)").message(
    "set exactly one of service and address: service for a Service of the cluster, address for a server by its IP"
))]
pub struct Target {
    /// Names the target in metrics, logs and messages; unique within the forward.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,
    /// A port of a Service; its ready endpoints become backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceTarget>,
    /// A fixed server, inside or outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<AddressTarget>,
    /// Share of the sessions among the targets of one priority, however many endpoints the target
    /// has. Absent: 1. 0: no new sessions, open ones go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: Option<i32>,
    /// Lower comes first; the next priority is used only while no backend of this one is usable.
    /// Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub priority: Option<i32>,
}

/// A port of a Service.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceTarget {
    /// Name of the Service.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,
    /// Namespace of the Service. Absent: the namespace of the TcpForward, which is the only one
    /// that this version permits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub namespace: Option<String>,
    /// The Service's port, by number or by name.
    pub port: ServicePort,
}

/// A port of a Service, by number or by name.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ServicePort {
    /// `spec.ports[].port` of the Service.
    Number(i32),
    /// `spec.ports[].name` of the Service.
    Name(String),
}

impl schemars::JsonSchema for ServicePort {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ServicePort".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// Numeric bounds hold for numbers only, the others for text only, as JSON Schema has it.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 1,
            "maximum": 65535,
            "minLength": 1,
            "maxLength": 63,
            "pattern": LABEL,
        })
    }
}

/// A fixed server.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressTarget {
    /// The server's IP address.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("isIP(self)").message(
        "must be an IP address, like 172.16.100.101 or fd00::7: this version does not resolve DNS names"
    ))]
    pub host: String,
    /// The server's TCP port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// Bounds of reaching a backend for one session.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(defaults::TIMEOUT_WITHIN_DEADLINE)
    .message(Message::Expression(defaults::TIMEOUT_BEYOND_DEADLINE.into())))]
pub struct Dial {
    /// Bound of one attempt; the last candidate may use what is left of deadline. Absent: 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new(SOME_TIME).message(SOME_TIME_MESSAGE))]
    pub timeout: Option<String>,
    /// Backends that are tried for one session, the first included; another one each time, the
    /// same one again only when there is no other. Absent: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub attempts: Option<i32>,
    /// Bound of all attempts together. Absent: 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new(SOME_TIME).message(SOME_TIME_MESSAGE))]
    pub deadline: Option<String>,
}

/// How a backend is chosen.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancer {
    /// The way of choosing.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<LoadBalancerType>,
}

/// The way of choosing. Absent: RoundRobin, which is smooth and weighted.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum LoadBalancerType {
    /// Smooth weighted round robin.
    RoundRobin,
}

/// Silence that ends a session.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// Ends a session after this long without a byte either way. Absent, or 0s: never; TCP
    /// keepalive finds dead peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    pub idle: Option<String>,
    /// Ends a session after this long without a byte once one direction has ended. Absent: 1h;
    /// 0s: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    pub half_closed: Option<String>,
}

/// A DNS-1123 label.
pub const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// A duration of the Gateway API.
pub const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// The pattern has been checked before a rule runs, so the text is a duration here.
const SOME_TIME: &str = "duration(self) > duration('0s') && duration(self) <= duration('1h')";
const SOME_TIME_MESSAGE: &str = "must be longer than 0s and at most 1h";

#[cfg(test)]
mod tests;
