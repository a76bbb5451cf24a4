//! Pure. Backends of the suite: pages that say the name of their pod, and echoes.

use serde_json::{Value, json};

use crate::cluster::nodes::POD_IMAGE;

/// A Deployment with a Service of the same name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backends<'a> {
    pub(super) name: &'a str,
    pub(super) replicas: u32,
    /// What `tests/pod` does in them: `page`, or `echo`.
    pub(super) does: &'a str,
    /// Of the Service; such as `{"trafficDistribution": "PreferClose"}`.
    pub(super) service: Option<(&'a str, &'a str)>,
}

/// The port of the Service, and its pods.
pub(super) const PORT: u16 = 8080;

impl Backends<'_> {
    pub(super) fn manifests(&self) -> String {
        let labels = json!({"app": self.name});
        let ports = json!([{"name": "http", "port": PORT}]);
        let mut service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": self.name},
            "spec": {"selector": labels, "ports": ports},
        });
        if let (Some((field, value)), Some(Value::Object(spec))) =
            (self.service, service.get_mut("spec"))
        {
            spec.insert(field.to_owned(), json!(value));
        }
        let args = json!([self.does, format!(":{PORT}")]);
        let deployment = deployment(self.name, &labels, self.replicas, &args, PORT.into());
        format!("{service}\n---\n{deployment}\n")
    }
}

/// Pods spread evenly over nodes, also while they are replaced. Before one is asked to end it goes on
/// for 3 s, as long as it takes until nobody sends it new connections.
pub(super) fn deployment(
    name: &str,
    labels: &Value,
    replicas: u32,
    args: &Value,
    probed: u64,
) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 10,
                    "topologySpreadConstraints": [{
                        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": labels},
                        "matchLabelKeys": ["pod-template-hash"],
                    }],
                    "containers": [{
                        "name": "pod", "image": POD_IMAGE, "imagePullPolicy": "Never",
                        "args": args,
                        "readinessProbe": {"tcpSocket": {"port": probed}, "periodSeconds": 1},
                        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
                    }],
                },
            },
        },
    })
}
