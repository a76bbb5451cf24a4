//! Pure. Where sessions go: Services, addresses and names.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::LABEL;

/// One destination: a Service, or an address.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.service) != has(self.address)").message(
    "set exactly one of service and address: service for a Service of the cluster, address for a server by its IP or DNS name"
))]
pub struct Target {
    /// Names the target in metrics, logs and messages; unique within the forward.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,
    /// A port of a Service; its ready endpoints become backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceTarget>,
    /// A server by IP address or DNS name, inside or outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<AddressTarget>,
    /// Share of the sessions among the targets of one priority, however many endpoints the target
    /// has. Absent: 1. 0: no new sessions, open ones go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: Option<i32>,
    /// Lower comes first; the next priority is used while no backend of this one is usable, or as
    /// failover.minHealthyPercent says. Absent: 0.
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
    /// Namespace of the Service. Absent: the namespace of the TcpForward. Any other one has to permit
    /// it by a ReferenceGrant of its own; taking that back cuts the sessions within 5 s.
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

/// A server by IP address or DNS name.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressTarget {
    /// The server's IP address, or a DNS name, all of whose addresses are used. A name is resolved
    /// again when its TTL ends; an address that is gone from it gets no new sessions, and while DNS
    /// fails the last good answer holds.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(format!("isIP(self) || self.matches('{DNS_NAME}')")).message(
        "must be an IP address, like 172.16.100.101 or fd00::7, or a DNS name in lower case, like db.example.com: numbers alone are not a name"
    ))]
    pub host: String,
    /// The server's TCP port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// Labels of letters, digits and '-', the last one beginning with a letter, so that no way of writing
/// an IP address (010.0.0.1, 0x7f.1, 2130706433) is a name; a dot at the end makes it absolute.
pub(super) const DNS_NAME: &str =
    "^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])*[a-z]([-a-z0-9]{0,61}[a-z0-9])?[.]?$";
