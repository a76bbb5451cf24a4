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
    /// Accepted, and Ready, which is True once a pod serves what the pool shall serve, and carries the
    /// reason and message of what fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// Counts of the pool's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Pods>,
    /// Versions of the program that pods run, those of most pods first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub versions: Vec<VersionCount>,
}

/// Counts of the pool's pods.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// Pods that are connected to the operator that writes this.
    #[schemars(range(min = 0))]
    pub connected: i32,
    /// Those of them that hold all that they have to serve.
    #[schemars(range(min = 0))]
    pub serving: i32,
    /// Serving ones of the connected ones, as in 2/3.
    #[schemars(length(max = 32))]
    pub summary: String,
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
