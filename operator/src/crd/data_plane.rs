//! Pure. A pool of data planes: whose pods they are, and who may use them for what.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{ExposeType, LABEL, SUBDOMAIN};

mod status;

pub use status::{DataPlaneStatus, LaggingPod, Pods, VersionCount};

/// A pool of data plane pods: whose they are, and which TcpForwards they serve.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "tcpforward.dev",
    version = "v1alpha1",
    kind = "DataPlane",
    shortname = "tcpdp",
    status = "DataPlaneStatus",
    derive = "PartialEq",
    doc = "DataPlane is a pool of data plane pods, which TcpForwards name by spec.dataPlaneName: whose pods they are, which namespaces may use them, and for what. The pods carry the label tcpforward.dev/data-plane with its name.",
    printcolumn = r#"{"name":"Namespace","type":"string","jsonPath":".spec.podNamespace"}"#,
    printcolumn = r#"{"name":"Pods","type":"string","jsonPath":".status.pods.summary"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"ServiceAccount","type":"string","jsonPath":".spec.serviceAccountName","priority":1}"#,
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".status.versions[0].version","priority":1}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DataPlaneSpec {
    /// The namespace of the pool's pods. The operator publishes the authorities that they trust
    /// there.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub pod_namespace: String,
    /// The ServiceAccount of the pool's pods: only tokens of its pods open a stream to the operator.
    /// A ServiceAccount belongs to one pool, the oldest that names it.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub service_account_name: String,
    /// Whether the pool's pods are on the networks of their nodes. true: they listen on listener.port
    /// itself, the first TcpForward that claims a port keeps it, and there are no Services. Absent:
    /// false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub host_network: Option<bool>,
    /// Namespaces whose TcpForwards the pool serves. Absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
    /// Ports that TcpForwards may listen on, and whose. An allowed namespace may listen on a port if
    /// one entry says so, on a range if entries say so of each of its ports. Absent: any port for any
    /// allowed namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub ports: Option<Vec<PortAllowance>>,
    /// Which addresses may be dialled that no Service leads to: by address targets, through rules of
    /// httpConnect and as parent proxies. External: none of the cluster's own pods, Services and
    /// nodes, and none that are the data plane's own host. Any: these, too; loopback, link-local and
    /// multicast addresses as well. Metadata addresses of clouds are never dialled. Absent: External.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AddressTargets")]
    pub address_targets: Option<AddressTargets>,
    /// Which expose.type TcpForwards may have. NodePort and LoadBalancer let traffic in from outside;
    /// annotations that a TcpForward gives its load balancer are copied as they are. Absent: None and
    /// ClusterIP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4))]
    pub allowed_expose_types: Option<Vec<ExposeType>>,
    /// Which httpConnect.mode TcpForwards may have. Enforce: that one alone. Any: Report, too, which
    /// lets through what rules refuse. Absent: Enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ConnectModes")]
    pub connect_modes: Option<ConnectModes>,
    /// How much one namespace, or one TcpForward, gets. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<PoolLimits>,
}

/// Namespaces whose TcpForwards the pool serves.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.from == 'Selector') == has(self.selector)").message(
        "a selector goes with from: Selector, and only with that one: write both, or from: All alone"
    ).field_path(".selector")
)]
pub struct AllowedNamespaces {
    /// All: every one. Selector: those whose labels the selector matches.
    pub from: NamespacesFrom,
    /// Matches labels of namespaces; with from: Selector. An empty one matches all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
}

/// Which namespaces.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum NamespacesFrom {
    /// Every one.
    All,
    /// Those that a selector matches.
    Selector,
}

/// Matches labels, as everywhere in Kubernetes: all that is said has to hold.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels with exactly these values. Every namespace has the label
    /// kubernetes.io/metadata.name, with its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "labels")]
    pub match_labels: Option<BTreeMap<String, String>>,
    /// What else has to hold of labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub match_expressions: Option<Vec<LabelRequirement>>,
}

/// What has to hold of a label.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)"
    ).message(
        "values go with the operators In and NotIn, and only with these: write at least one there, none with Exists and DoesNotExist"
    ).field_path(".values")
)]
pub struct LabelRequirement {
    /// The label's key.
    #[schemars(length(min = 1, max = 317), regex(pattern = LABEL_KEY))]
    pub key: String,
    /// In: its value is one of values. NotIn: it is none of them, or there is no such label. Exists:
    /// there is such a label. DoesNotExist: there is none.
    pub operator: LabelOperator,
    /// Values of In and NotIn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), inner(length(max = 63), regex(pattern = LABEL_VALUE)))]
    pub values: Option<Vec<String>>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum LabelOperator {
    /// Its value is one of these.
    In,
    /// Its value is none of these, or it isn't there.
    NotIn,
    /// It is there.
    Exists,
    /// It isn't.
    DoesNotExist,
}

/// Ports, and whose TcpForwards may listen there.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.endPort) || self.endPort >= self.port")
        .message("must not be below port: write the larger one as endPort")
        .field_path(".endPort")
)]
pub struct PortAllowance {
    /// The port, or the first one of a range.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The last port of the range. Absent: port alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub end_port: Option<i32>,
    /// Names of the namespaces that may listen there. Absent: any allowed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 63), regex(pattern = LABEL))
    )]
    pub namespaces: Option<Vec<String>>,
}

/// Which addresses may be dialled that no Service leads to.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum AddressTargets {
    /// Any but metadata addresses.
    Any,
    /// None of the cluster, nor of the data plane's own host.
    External,
}

/// Which `httpConnect.mode` forwards may have.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum ConnectModes {
    /// Report, too.
    Any,
    /// Enforce alone.
    Enforce,
}

/// How much one namespace, or one forward, gets.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolLimits {
    /// TcpForwards of one namespace that are served; the oldest ones, and of those of one second the
    /// first by name. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub forwards_per_namespace: Option<i32>,
    /// Connections of one TcpForward at a time, over the whole pool. It counts where
    /// listener.limits.connections is absent or larger. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections_per_forward: Option<i32>,
}

/// The key of a label: a name, perhaps with a DNS-1123 prefix and a slash before it.
pub const LABEL_KEY: &str =
    "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";

/// The value of a label; it may be empty.
pub const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";

/// A map from keys to values of labels.
fn labels(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE},
        "x-kubernetes-validations": [{
            "rule": format!("self.all(key, size(key) <= 317 && key.matches('{LABEL_KEY}'))"),
            "message": "a key is not one of a label: write a name of letters, digits, '-', '_' and '.', \
                        perhaps with a DNS name and a slash before it",
        }],
    })
}
