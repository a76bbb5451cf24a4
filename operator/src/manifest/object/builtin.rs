//! Pure. What the API server would refuse of a Service or an EndpointSlice, as far as it matters
//! here.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::json;

use crate::validate::Finding;

pub(super) fn service(service: &Service) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ports = service
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten());
    let ports: Vec<_> = ports.enumerate().collect();
    for (i, port) in &ports {
        if !(1..=65535).contains(&port.port) {
            findings.push(Finding::new(
                format!("spec.ports[{i}].port"),
                Some(&json!(port.port)),
                "is out of bounds",
                "write a whole number from 1 to 65535",
            ));
        }
        if ports.len() > 1 && port.name.as_deref().unwrap_or_default().is_empty() {
            findings.push(Finding::new(
                format!("spec.ports[{i}].name"),
                None,
                "is required where a Service has several ports",
                "give each port a name",
            ));
        }
        findings.extend(protocol(
            &format!("spec.ports[{i}].protocol"),
            port.protocol.as_deref(),
        ));
    }
    findings
}

pub(super) fn slice(slice: &EndpointSlice) -> Vec<Finding> {
    let mut findings = Vec::new();
    let family = slice.address_type.as_str();
    if !["IPv4", "IPv6", "FQDN"].contains(&family) {
        findings.push(Finding::new(
            "addressType",
            Some(&json!(family)),
            "is not one of the values that Kubernetes knows",
            "write IPv4 or IPv6",
        ));
    }
    for (i, endpoint) in slice.endpoints.iter().flatten().enumerate() {
        if endpoint.addresses.is_empty() {
            findings.push(Finding::new(
                format!("endpoints[{i}].addresses"),
                None,
                "is required",
                "write the endpoint's address",
            ));
        }
        for (j, address) in endpoint.addresses.iter().enumerate() {
            let fits = match (family, address.parse()) {
                ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => true,
                ("IPv4" | "IPv6", _) => false,
                _ => true,
            };
            if !fits {
                findings.push(Finding::new(
                    format!("endpoints[{i}].addresses[{j}]"),
                    Some(&json!(address)),
                    format!("is no {family} address"),
                    "write an address of the slice's addressType",
                ));
            }
        }
    }
    for (i, port) in slice.ports.iter().flatten().enumerate() {
        if let Some(number) = port.port.filter(|number| !(1..=65535).contains(number)) {
            findings.push(Finding::new(
                format!("ports[{i}].port"),
                Some(&json!(number)),
                "is out of bounds",
                "write a whole number from 1 to 65535",
            ));
        }
        findings.extend(protocol(
            &format!("ports[{i}].protocol"),
            port.protocol.as_deref(),
        ));
    }
    findings
}

fn protocol(path: &str, protocol: Option<&str>) -> Option<Finding> {
    let known = ["TCP", "UDP", "SCTP"];
    let unknown = protocol.filter(|protocol| !known.contains(protocol))?;
    Some(Finding::new(
        path,
        Some(&json!(unknown)),
        "is not one of the values that Kubernetes knows",
        "write TCP",
    ))
}
