//! Pure. The status of a TcpForward: what the operator says about it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator says about a TcpForward.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpForwardStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// The oldest generation that a data plane pod of the pool serves; absent while one of them
    /// serves none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub programmed_generation: Option<i64>,
    /// Accepted, ResolvedRefs, Programmed, BackendsAvailable, and Ready, which is the AND of them
    /// and carries the reason and message of the first that fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// Where clients reach this forward.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub addresses: Vec<Address>,
    /// Counts of the backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backends: Option<Backends>,
    /// Counts of the pool's data plane pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_planes: Option<DataPlanes>,
}

/// An address on which the forward is reached.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// Kind of the address: IPAddress, Hostname, or NodePort, whose port is one of each node.
    #[serde(rename = "type")]
    #[schemars(length(max = 32))]
    pub kind: String,
    /// The address; of a NodePort, node.
    #[schemars(length(max = 253))]
    pub value: String,
    /// The port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// Counts of the backends of all targets.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backends {
    /// Backends that may get new sessions by what Kubernetes says of them, and addresses that
    /// targets' DNS names lead to.
    #[schemars(range(min = 0))]
    pub total: i32,
    /// Those of them that the data planes reach.
    #[schemars(range(min = 0))]
    pub healthy: i32,
    /// Those of them that new sessions avoid, after failures of sessions or of checks.
    #[schemars(range(min = 0))]
    pub ejected: i32,
    /// Healthy ones of all, as in 2/3.
    #[schemars(length(max = 32))]
    pub summary: String,
    /// The first backends that the data planes don't reach, and names that they don't resolve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub unhealthy: Vec<UnhealthyBackend>,
}

/// A backend that most data planes of the pool don't reach.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnhealthyBackend {
    /// The target that it belongs to; of a proxy, namespace/name:port of its Service.
    #[schemars(length(max = 133))]
    pub target: String,
    /// Address and port; of a DNS name that is not resolved, the name and port.
    #[schemars(length(max = 260))]
    pub address: String,
    /// Kind of failure in one word.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// What failed and what to look at.
    #[schemars(length(max = 256))]
    pub message: String,
    /// When the present run of failures began.
    pub since: Time,
}

/// Counts of the pool's data plane pods.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataPlanes {
    /// Pods that are there to serve.
    #[schemars(range(min = 0))]
    pub ready: i32,
    /// Those of them that serve the present spec.
    #[schemars(range(min = 0))]
    pub programmed: i32,
    /// Those of them that refuse the present spec.
    #[schemars(range(min = 0))]
    pub rejected: i32,
    /// Programmed ones of the ready ones, as in 2/3.
    #[schemars(length(max = 32))]
    pub summary: String,
    /// The first pods that don't serve the present spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub pending: Vec<PendingPod>,
}

/// A pod that does not serve the present spec.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingPod {
    /// Name of the pod.
    #[schemars(length(max = 253))]
    pub pod: String,
    /// The generation that it serves; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub generation: Option<i64>,
    /// Pending or Rejected.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why, and what to do.
    #[schemars(length(max = 256))]
    pub message: String,
}

/// `metav1.Condition` with the bounds that its own documentation gives.
pub(super) fn conditions(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {
                    "description": "Kind of the condition.",
                    "type": "string", "minLength": 1, "maxLength": 316,
                },
                "status": {
                    "description": "True, False or Unknown.",
                    "type": "string", "enum": ["True", "False", "Unknown"],
                },
                "reason": {
                    "description": "Why, in one word.",
                    "type": "string", "minLength": 1, "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {
                    "description": "Why, and what to do.",
                    "type": "string", "maxLength": 32768,
                },
                "observedGeneration": {
                    "description": "The generation of the spec that this is about.",
                    "type": "integer", "format": "int64", "minimum": 0,
                },
                "lastTransitionTime": {
                    "description": "When status last changed.",
                    "type": "string", "format": "date-time",
                },
            },
        },
    })
}
