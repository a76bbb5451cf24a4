//! Pure. The status of a DataPlane: what the operator says about it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::crd::status::conditions;

/// What the operator says about a DataPlane.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataPlaneStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Accepted, and Ready, which is True once a pod serves what the pool shall serve and no Ready one is
    /// missed, and carries the reason and message of what fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// The pool's pods: who counts, and who of them serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Pods>,
    /// Versions of the program that pods run, those of most pods first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub versions: Vec<VersionCount>,
}

/// The pool's pods: who counts, and who of them serves.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// Pods that count: those that are Ready, connected or not, and those that are connected and that the
    /// operator may not see.
    #[schemars(range(min = 0))]
    pub ready: i32,
    /// Pods that are connected to the operator that writes this, Ready or not.
    #[schemars(range(min = 0))]
    pub connected: i32,
    /// Ready ones that are connected and hold all that they have to serve.
    #[schemars(range(min = 0))]
    pub serving: i32,
    /// Serving ones of the ready ones, as in 2/3.
    #[schemars(length(max = 32))]
    pub summary: String,
    /// The first pods that don't serve, or of which nobody knows whether they do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub pending: Vec<LaggingPod>,
}

/// A pod that does not serve, or of which nobody knows whether it does.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LaggingPod {
    /// Name of the pod.
    #[schemars(length(max = 253))]
    pub pod: String,
    /// NotConnected, NotReady or Pending.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why, and what to do.
    #[schemars(length(max = 256))]
    pub message: String,
}

/// How many pods run a version.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionCount {
    /// As the program says it.
    #[schemars(length(max = 64))]
    pub version: String,
    /// Pods that run it.
    #[schemars(range(min = 0))]
    pub pods: i32,
}
