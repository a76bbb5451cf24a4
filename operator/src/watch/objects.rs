//! Pure. What the API server shows, reduced to what matters here.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::api::DynamicObject;
use kube::core::{ApiResource, PartialObjectMeta};
use kube::{Resource, ResourceExt};
use serde_json::Value;

use crate::crd::{DataPlane, TcpForward};
use crate::index::Object;

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// As it is: what can't be decoded becomes a visible rejection, not an error of the watch.
pub(crate) fn tcp_forward(object: DynamicObject) -> Option<Object> {
    raw::<TcpForward>(object).map(Object::TcpForward)
}

/// The same of a DataPlane.
pub(crate) fn data_plane(object: DynamicObject) -> Option<Object> {
    raw::<DataPlane>(object).map(Object::DataPlane)
}

fn raw<K: Resource<DynamicType = ()>>(object: DynamicObject) -> Option<Value> {
    let resource = ApiResource::erase::<K>(&());
    let mut raw = serde_json::to_value(object).ok()?;
    let map = raw.as_object_mut()?;
    // Items of a list come without these.
    map.insert("apiVersion".to_owned(), Value::String(resource.api_version));
    map.insert("kind".to_owned(), Value::String(resource.kind));
    Some(raw)
}

pub(crate) fn namespace(namespace: PartialObjectMeta<Namespace>) -> Option<Object> {
    Some(Object::Namespace {
        name: namespace.name_any(),
        labels: namespace.metadata.labels.unwrap_or_default(),
    })
}

/// Its zone, and all that leads to it or to its pods. An address that is no IP address is a name of
/// it, which leads to one of the others.
pub(crate) fn node(node: Node) -> Option<Object> {
    let addresses = node
        .status
        .iter()
        .flat_map(|s| s.addresses.iter().flatten());
    let addresses = addresses.filter_map(|address| address.address.parse::<IpAddr>().ok());
    let spec = node.spec.iter();
    let pods = spec.flat_map(|spec| spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr));
    let pods = pods.filter_map(|range| range.parse::<IpNet>().ok());
    Some(Object::Node {
        ranges: addresses.map(IpNet::from).chain(pods).collect(),
        zone: node.labels().get(ZONE_LABEL).cloned(),
        name: node.name_any(),
    })
}

pub(crate) fn service_cidr(cidr: ServiceCIDR) -> Option<Object> {
    let ranges = cidr.spec.iter().flat_map(|s| s.cidrs.iter().flatten());
    Some(Object::ServiceCidr {
        ranges: ranges.filter_map(|range| range.parse().ok()).collect(),
        name: cidr.name_any(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ranges(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_node_is_its_zone_its_addresses_and_its_pods() {
        let written = json!({
            "metadata": {"name": "one", "labels": {ZONE_LABEL: "a"}},
            "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:1::/64"]},
            "status": {"addresses": [
                {"type": "InternalIP", "address": "192.168.0.7"},
                {"type": "InternalIP", "address": "fd00::7"},
                {"type": "ExternalIP", "address": "203.0.113.7"},
                {"type": "Hostname", "address": "one"},
            ]},
        });
        let expected = Object::Node {
            name: "one".to_owned(),
            zone: Some("a".to_owned()),
            ranges: ranges(&[
                "192.168.0.7/32",
                "fd00::7/128",
                "203.0.113.7/32",
                "10.244.1.0/24",
                "fd00:1::/64",
                "10.244.1.0/24",
            ]),
        };
        assert_eq!(
            node(serde_json::from_value(written).unwrap()),
            Some(expected)
        );
        let bare = json!({"metadata": {"name": "one"}});
        let bare = node(serde_json::from_value(bare).unwrap());
        let expected = Object::Node {
            name: "one".to_owned(),
            zone: None,
            ranges: Vec::new(),
        };
        assert_eq!(bare, Some(expected));
    }

    #[test]
    fn a_range_of_services_is_all_its_families() {
        let written = json!({
            "metadata": {"name": "kubernetes"},
            "spec": {"cidrs": ["10.96.0.0/16", "fd00:96::/108"]},
        });
        let expected = Object::ServiceCidr {
            name: "kubernetes".to_owned(),
            ranges: ranges(&["10.96.0.0/16", "fd00:96::/108"]),
        };
        let seen = service_cidr(serde_json::from_value(written).unwrap());
        assert_eq!(seen, Some(expected));
    }
}
