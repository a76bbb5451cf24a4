//! Pure. Who reaches whom, by NetworkPolicies: both ends have to allow it, and whom no policy selects
//! allows everything. For networks that don't enforce them, as those of tests.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Labels.
pub type Labels = BTreeMap<String, String>;

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// An address that is no pod's: outside, a node, or a pod on a node's network.
    Address(IpAddr),
    /// A pod with an address of its own.
    Pod {
        /// Its namespace, whose only label is its name.
        namespace: String,
        /// Its labels.
        labels: Labels,
    },
}

/// What is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// TCP or UDP.
    pub protocol: &'static str,
    /// Its number.
    pub number: u16,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Egress,
    Ingress,
}

/// Whether `from` reaches that port of `to`.
#[must_use]
pub fn reaches(policies: &[NetworkPolicy], from: &End, to: &End, port: Port) -> bool {
    allows(policies, Direction::Egress, from, to, port)
        && allows(policies, Direction::Ingress, to, from, port)
}

/// Whether the policies of `own` let it speak with `other`.
fn allows(
    policies: &[NetworkPolicy],
    direction: Direction,
    own: &End,
    other: &End,
    port: Port,
) -> bool {
    let mut selecting = policies
        .iter()
        .filter(|policy| selects(policy, direction, own))
        .peekable();
    selecting.peek().is_none()
        || selecting.any(|policy| {
            let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
            rules(policy, direction).iter().any(|(peers, ports)| {
                (ports.is_empty() || ports.iter().any(|allowed| covers(allowed, port)))
                    && (peers.is_empty() || peers.iter().any(|peer| is(peer, namespace, other)))
            })
        })
}

fn selects(policy: &NetworkPolicy, direction: Direction, end: &End) -> bool {
    let End::Pod { namespace, labels } = end else {
        return false;
    };
    let Some(spec) = &policy.spec else {
        return false;
    };
    let word = match direction {
        Direction::Egress => "Egress",
        Direction::Ingress => "Ingress",
    };
    let is_of_type = spec.policy_types.iter().flatten().any(|kind| kind == word);
    let selector = spec.pod_selector.clone().unwrap_or_default();
    is_of_type
        && policy.metadata.namespace.as_ref() == Some(namespace)
        && matches(&selector, labels)
}

type Rule<'a> = (&'a [NetworkPolicyPeer], &'a [NetworkPolicyPort]);

fn rules(policy: &NetworkPolicy, direction: Direction) -> Vec<Rule<'_>> {
    let Some(spec) = &policy.spec else {
        return Vec::new();
    };
    match direction {
        Direction::Egress => {
            let rules = spec.egress.iter().flatten();
            rules
                .map(|rule| (slice(&rule.to), slice(&rule.ports)))
                .collect()
        }
        Direction::Ingress => {
            let rules = spec.ingress.iter().flatten();
            rules
                .map(|rule| (slice(&rule.from), slice(&rule.ports)))
                .collect()
        }
    }
}

fn slice<T>(list: &Option<Vec<T>>) -> &[T] {
    list.as_deref().unwrap_or_default()
}

/// Ports by name would need the pods' specs; no policy of ours has any, and none is allowed here.
fn covers(allowed: &NetworkPolicyPort, port: Port) -> bool {
    if allowed.protocol.as_deref().unwrap_or("TCP") != port.protocol {
        return false;
    }
    let number = i32::from(port.number);
    match (&allowed.port, allowed.end_port) {
        (None, _) => true,
        (Some(IntOrString::Int(first)), None) => *first == number,
        (Some(IntOrString::Int(first)), Some(last)) => (*first..=last).contains(&number),
        (Some(IntOrString::String(_)), _) => false,
    }
}

fn is(peer: &NetworkPolicyPeer, own: &str, end: &End) -> bool {
    match (end, &peer.ip_block) {
        // Networks differ in whether blocks match pods; a policy that needs it says so otherwise.
        (End::Address(address), Some(block)) => holds(block, *address),
        (End::Pod { namespace, labels }, None) => {
            let name =
                Labels::from([("kubernetes.io/metadata.name".to_owned(), namespace.clone())]);
            let is_there = match &peer.namespace_selector {
                Some(selector) => matches(selector, &name),
                None => namespace == own,
            };
            let selector = peer.pod_selector.clone().unwrap_or_default();
            is_there && matches(&selector, labels)
        }
        _ => false,
    }
}

/// A block that can't be read holds nobody.
fn holds(block: &IPBlock, address: IpAddr) -> bool {
    let within = |cidr: &String| {
        cidr.parse::<IpNet>()
            .is_ok_and(|net| net.contains(&address))
    };
    within(&block.cidr) && !block.except.iter().flatten().any(within)
}

/// Expressions are not read: a selector that has some matches nobody.
fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let mut wanted = selector.match_labels.iter().flatten();
    slice(&selector.match_expressions).is_empty()
        && wanted.all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(namespace: &str, app: &str) -> End {
        End::Pod {
            namespace: namespace.to_owned(),
            labels: Labels::from([("app".to_owned(), app.to_owned())]),
        }
    }

    fn address(text: &str) -> End {
        End::Address(text.parse().unwrap())
    }

    fn policy(spec: serde_json::Value) -> Vec<NetworkPolicy> {
        let policy = json!({"metadata": {"name": "p", "namespace": "a"}, "spec": spec});
        vec![serde_json::from_value(policy).unwrap()]
    }

    const TCP: Port = Port {
        protocol: "TCP",
        number: 80,
    };

    #[test]
    fn whom_no_policy_selects_allows_everything() {
        let policies = policy(
            json!({"podSelector": {"matchLabels": {"app": "x"}}, "policyTypes": ["Ingress"]}),
        );
        assert!(reaches(&policies, &pod("a", "y"), &pod("a", "z"), TCP));
        assert!(reaches(&policies, &pod("a", "y"), &pod("b", "x"), TCP));
        assert!(!reaches(&policies, &pod("a", "y"), &pod("a", "x"), TCP));
        // A policy for what comes in says nothing of what goes out.
        assert!(reaches(&policies, &pod("a", "x"), &pod("a", "y"), TCP));
    }

    #[test]
    fn peers_are_pods_by_labels_and_addresses_by_blocks() {
        let policies = policy(
            json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [
            {"from": [
                {"podSelector": {"matchLabels": {"app": "near"}}},
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "b"}},
                 "podSelector": {"matchLabels": {"app": "far"}}},
                {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}}]}]}),
        );
        let to = pod("a", "x");
        for (from, expected) in [
            (pod("a", "near"), true),
            (pod("b", "near"), false),
            (pod("b", "far"), true),
            (pod("c", "far"), false),
            (address("192.0.2.1"), true),
            (address("192.0.2.200"), false),
            (address("198.51.100.1"), false),
        ] {
            assert_eq!(reaches(&policies, &from, &to, TCP), expected, "{from:?}");
        }
    }

    #[test]
    fn ports_are_ranges_of_a_protocol() {
        let policies = policy(
            json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [
            {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 80, "endPort": 90}]}]}),
        );
        for (protocol, number, expected) in [
            ("UDP", 53, true),
            ("TCP", 53, false),
            ("TCP", 80, true),
            ("TCP", 90, true),
            ("TCP", 91, false),
        ] {
            let port = Port { protocol, number };
            let is = reaches(&policies, &pod("a", "x"), &address("192.0.2.1"), port);
            assert_eq!(is, expected, "{port:?}");
        }
    }
}
