//! Pure. What tests apply, as text.

use std::net::SocketAddr;

use serde_json::json;

/// A Service without a selector and one EndpointSlice of it with these ready endpoints.
#[must_use]
pub fn service(name: &str, endpoints: &[SocketAddr]) -> String {
    let port = endpoints.first().map_or(80, SocketAddr::port);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    });
    let endpoint =
        |address: &SocketAddr| json!({"addresses": [address.ip()], "conditions": {"ready": true}});
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": port}],
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    });
    format!("{service}\n---\n{slice}\n---\n")
}

/// A TcpForward on `port` to the port `http` of a Service.
#[must_use]
pub fn forward(name: &str, port: u16, service: &str) -> String {
    let forward = json!({
        "apiVersion": "tcpforward.dev/v1alpha1", "kind": "TcpForward", "metadata": {"name": name},
        "spec": {
            "listener": {"port": port},
            "relay": {
                "dial": {"timeout": "300ms", "deadline": "3s"},
                "targets": [{"name": "a", "service": {"name": service, "port": "http"}}],
            },
        },
    });
    format!("{forward}\n---\n")
}
