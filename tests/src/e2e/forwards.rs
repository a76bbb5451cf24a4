//! Pure. TcpForwards of the suite.

use serde_json::{Value, json};

use crate::e2e::backends::PORT;

/// A TcpForward on `port` to the Service `service` with more fields of its relay.
pub(super) fn forward(name: &str, port: u16, service: &str, relay: &Value) -> String {
    let mut spec = json!({
        "targets": [{"name": service, "service": {"name": service, "port": PORT}}],
    });
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), relay) {
        spec.extend(more.clone());
    }
    json!({
        "apiVersion": "tcpforward.dev/v1alpha1", "kind": "TcpForward", "metadata": {"name": name},
        "spec": {"listener": {"port": port}, "relay": spec},
    })
    .to_string()
}
