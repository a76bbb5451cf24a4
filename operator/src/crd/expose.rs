//! Pure. How clients reach a forward: the Service that the operator makes for it.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::LABEL_KEY;

/// The Service by which clients reach a forward, in the namespace of its pool's pods.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "!has(self.externalTrafficPolicy) || self.type in ['NodePort', 'LoadBalancer']"
    ).message(
        "goes with type NodePort or LoadBalancer: nothing else brings traffic from outside"
    ).field_path(".externalTrafficPolicy"),
    validation = Rule::new("!has(self.loadBalancerClass) || self.type == 'LoadBalancer'").message(
        "goes with type LoadBalancer: no other type has a load balancer"
    ).field_path(".loadBalancerClass"),
    validation = Rule::new("!has(self.annotations) || self.type == 'LoadBalancer'").message(
        "go with type LoadBalancer: they are for whoever makes the load balancer"
    ).field_path(".annotations")
)]
pub struct Expose {
    /// None: there is no Service, and the pool's pods listen on listener.port themselves. ClusterIP:
    /// one with an address within the cluster. NodePort: on a port of each node, too. LoadBalancer:
    /// on an address of a load balancer, too. The DataPlane says which it allows.
    #[serde(rename = "type")]
    pub kind: ExposeType,
    /// Where traffic from outside goes. Cluster: to any pod, and pods see the address of a node
    /// instead of the client's. Local: to pods of the node that it comes to, which see the client's.
    /// Absent: Cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TrafficPolicy")]
    pub external_traffic_policy: Option<TrafficPolicy>,
    /// Which load balancer, by its class; it can't be changed later. Absent: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317), regex(pattern = LABEL_KEY))]
    pub load_balancer_class: Option<String>,
    /// Annotations of the Service, for whoever makes the load balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "annotations")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// How clients reach a forward.
#[derive(
    Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, schemars::JsonSchema, Serialize,
)]
pub enum ExposeType {
    /// By no Service.
    None,
    /// By an address of the cluster.
    ClusterIP,
    /// By a port of each node, too.
    NodePort,
    /// By an address of a load balancer, too.
    LoadBalancer,
}

/// Where traffic from outside goes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum TrafficPolicy {
    /// To any pod.
    Cluster,
    /// To pods of the node that it comes to.
    Local,
}

impl ExposeType {
    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// A map from keys to values of annotations; ours are not for others to write.
fn annotations(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 1024},
        "x-kubernetes-validations": [{
            "rule": format!(
                "self.all(key, size(key) <= 317 && key.matches('{LABEL_KEY}') && !key.startsWith('tcpforward.dev/'))"
            ),
            "message": "a key is not one of an annotation, or begins with tcpforward.dev/: write a name of \
                        letters, digits, '-', '_' and '.', perhaps with a DNS name and a slash before it",
        }],
    })
}
