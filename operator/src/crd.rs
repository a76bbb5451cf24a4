//! Pure. The API `tcpforward.dev/v1alpha1`: types, bounds, rules and what `kubectl` shows.
//!
//! `crds/` is generated from here; `validate` runs the generated schema, so a rule exists once.
#![expect(
    unreachable_pub,
    reason = "kube's derive makes a private copy of each type with a rule"
)]

use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

mod balancing;
mod connect;
mod data_plane;
pub mod defaults;
mod definition;
mod established;
mod expose;
mod health;
mod listener;
mod relay;
pub mod status;
mod target;
mod tcp;
mod via;

pub use balancing::{
    ConsistentHash, Failback, FailbackMode, Failover, HashInput, LoadBalancer, LoadBalancerType,
    SlowStart, Topology,
};
pub use connect::{
    Authentication, BasicAuthentication, ConnectRule, HttpConnect, PolicyMode, RuleAction,
    SecretRef, ServiceName, Size, Subject, SubjectKind, TunnelLimits,
};
pub use data_plane::{
    AddressTargets, AllowedNamespaces, ConnectModes, DataPlane, DataPlaneSpec, DataPlaneStatus,
    LABEL_KEY, LABEL_VALUE, LabelOperator, LabelRequirement, LaggingPod, NamespaceSelector,
    NamespacesFrom, Pods, PoolLimits, PortAllowance, VersionCount,
};
pub use definition::{Kind, definition, schema, yaml};
pub use established::{
    BackendLimits, EstablishedConnections, Fate, ProxyProtocolOut, ProxyVersion,
};
pub use expose::{Expose, ExposeType, TrafficPolicy};
pub use health::{
    ActiveCheck, CheckType, HealthCheck, HttpCheck, PassiveCheck, Payload, PayloadType, TcpCheck,
    WhenNoneHealthy,
};
pub use listener::{Cidr, Listener, ListenerLimits, ProxyMode, ProxyProtocolIn};
pub use relay::{Dial, Hedge, Relay};
pub use status::TcpForwardStatus;
pub use target::{AddressTarget, ServicePort, ServiceTarget, Target};
pub use tcp::{TcpKeepalive, TcpOptions};
pub use via::{ParentCredentials, ParentProxy, Scheme, Via};

/// Listens on a port and relays each TCP connection to one of its targets, or serves a proxy there.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "tcpforward.dev",
    version = "v1alpha1",
    kind = "TcpForward",
    namespaced,
    shortname = "tcpf",
    status = "TcpForwardStatus",
    derive = "PartialEq",
    doc = "TcpForward listens on a port and relays each TCP connection to one of its targets, or to where its client says by HTTP CONNECT.",
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
#[x_kube(
    validation = Rule::new("has(self.relay) != has(self.httpConnect)").message(
        "set exactly one of relay and httpConnect: relay for bytes to targets that you name, httpConnect for a proxy whose clients say where they go"
    ),
    validation = Rule::new("has(self.relay) == has(oldSelf.relay)").message(
        "relay can't become httpConnect, nor the other way round: create another TcpForward, or delete this one first"
    ),
    validation = Rule::new(
        "!has(self.listener.endPort) || !has(self.relay) || self.relay.targets.all(t, !has(t.address) || \
         t.address.port + self.listener.endPort - self.listener.port <= 65535)"
    ).message(
        "a target's port moves by the same offset as the listener's, and one of them would move beyond 65535: lower listener.endPort or the target's port"
    ).field_path(".relay.targets"),
    validation = Rule::new("!has(self.listener.endPort) || !has(self.httpConnect)").message(
        "a range is for relay only, because clients of a proxy say the port: take endPort out"
    ).field_path(".listener.endPort"),
    validation = Rule::new(
        "!has(self.httpConnect) || has(self.httpConnect.authentication) || has(self.listener.sourceRanges) || \
         (has(self.listener.address) && isIP(self.listener.address) && ip(self.listener.address).isLoopback())"
    ).message(
        "this proxy would be open to everyone: set authentication, or listener.sourceRanges, or a listener.address of loopback"
    ).field_path(".httpConnect")
)]
pub struct TcpForwardSpec {
    /// The pool of data plane pods that serves this forward. Absent: default.
    #[serde(default = "defaults::data_plane_name")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub data_plane_name: String,
    /// Where clients connect.
    pub listener: Listener,
    /// Where sessions go: raw bytes, both ways at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<Relay>,
    /// A proxy for HTTP CONNECT instead: clients say where they want to go, rules say whether they
    /// may. It needs authentication, listener.sourceRanges, or a listener.address of loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_connect: Option<HttpConnect>,
    /// The Service by which clients reach this forward; `tcpforward run` makes none. Absent: type
    /// ClusterIP; in pools with hostNetwork, None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<Expose>,
    /// Silence or age that ends a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
}

/// Silence or age that ends a session.
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
    /// Ends a session this long after it was accepted, give or take a tenth, so that clients come
    /// back to where they belong now. Absent, or 0s: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    pub max_connection_age: Option<String>,
}

/// A DNS-1123 label.
pub const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// Words of a DNS-1123 name with dots between them.
pub const SUBDOMAIN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A name that clients ask for, `*.` before one, or `*`: with a length of at most 253, what
/// `HostPattern` takes.
pub const HOST_PATTERN: &str = "^([*]|([*][.])?([-_a-z0-9]{1,63}[.])*[a-z][-_a-z0-9]{0,62})$";

/// A user of htpasswd: what is visible in ASCII, without a colon.
pub const USER_NAME: &str = "^[!-9;-~]+$";

/// A Quantity of bytes.
pub const SIZE: &str = "^[0-9]{1,5}(Ki|k|Mi|M)?$";

/// A duration of the Gateway API.
pub const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// A duration of the Gateway API in whole seconds.
pub const SECONDS: &str = "^([0-9]{1,5}(h|m|s)){1,3}$";

/// The name of a congestion control.
pub const CONGESTION_CONTROL: &str = "^[-_a-zA-Z0-9]+$";

/// Bytes in hexadecimal digits.
pub const HEX: &str = "^([0-9a-fA-F]{2})+$";

/// A path of HTTP, with a query if need be.
pub const HTTP_PATH: &str = "^/[!-~]*$";

/// The annotation whose other value sends new sessions back, with failback Manual.
pub const FAILBACK: &str = "tcpforward.dev/failback";

/// The pattern has been checked before a rule runs, so the text is a duration here.
fn some_time() -> Rule {
    Rule::new("duration(self) > duration('0s') && duration(self) <= duration('1h')")
        .message("must be longer than 0s and at most 1h")
}

#[cfg(test)]
mod tests;
