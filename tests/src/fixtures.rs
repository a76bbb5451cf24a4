//! Pure. Objects that set only what matters to a test.

use k8s_openapi::api::core::v1::{Namespace, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;
use serde_json::{Value, json};

/// A namespace.
#[must_use]
pub fn mk_namespace(name: &str) -> Namespace {
    Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    }
}

/// A Service without a selector, so that the test writes its slices; ports by name, each with the
/// target port of the same name.
#[must_use]
pub fn mk_service(namespace: &str, name: &str, ports: &[(&str, i32)]) -> Service {
    let ports = ports.iter().map(|&(name, port)| ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    });
    Service {
        metadata: named(namespace, name),
        spec: Some(ServiceSpec {
            ports: Some(ports.collect()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// What the API says of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not ready and not terminating.
    NotReady,
    /// Ready.
    Ready,
    /// Terminating, still serving.
    Terminating,
}

/// A slice of a Service with one port and these endpoints, IPv4.
#[must_use]
pub fn mk_slice(
    namespace: &str,
    service: &str,
    name: &str,
    port: (&str, u16),
    endpoints: &[(&str, State)],
) -> EndpointSlice {
    let endpoints = endpoints.iter().map(|&(address, state)| Endpoint {
        addresses: vec![address.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(state == State::Ready),
            serving: Some(state != State::NotReady),
            terminating: Some(state == State::Terminating),
        }),
        ..Endpoint::default()
    });
    let mut metadata = named(namespace, name);
    let label = ("kubernetes.io/service-name".to_owned(), service.to_owned());
    metadata.labels = Some([label].into());
    EndpointSlice {
        address_type: "IPv4".to_owned(),
        endpoints: Some(endpoints.collect()),
        metadata,
        ports: Some(vec![EndpointPort {
            name: Some(port.0.to_owned()),
            port: Some(port.1.into()),
            protocol: Some("TCP".to_owned()),
            ..EndpointPort::default()
        }]),
    }
}

/// A TcpForward as it is written, with these targets.
#[must_use]
pub fn mk_forward(namespace: &str, name: &str, port: u16, targets: &[Value]) -> Value {
    json!({
        "apiVersion": "tcpforward.dev/v1alpha1",
        "kind": "TcpForward",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"listener": {"port": port}, "relay": {"targets": targets}},
    })
}

/// A DataPlane whose pods are of the ServiceAccount `proxy` of namespace `default`; `says` is what it
/// says beside that, or instead.
#[must_use]
pub fn mk_pool(name: &str, says: Value) -> Value {
    let mut spec = json!({
        "podNamespace": "default",
        "serviceAccountName": "proxy",
        "hostNetwork": true,
    });
    if let (Value::Object(spec), Value::Object(says)) = (&mut spec, says) {
        spec.extend(says);
    }
    json!({
        "apiVersion": "tcpforward.dev/v1alpha1",
        "kind": "DataPlane",
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// A target that names a port of a Service.
#[must_use]
pub fn mk_service_target(name: &str, service: &str, port: &str) -> Value {
    json!({"name": name, "service": {"name": service, "port": port}})
}

/// A target that names an address.
#[must_use]
pub fn mk_address_target(name: &str, address: std::net::SocketAddr) -> Value {
    let host = address.ip().to_string();
    json!({"name": name, "address": {"host": host, "port": address.port()}})
}

fn named(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}
