//! Who reaches whom by the chart's NetworkPolicies, as a table: the networks of tests enforce none.

use anyhow::{Result, ensure};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use tcpforward_tests::chart::{self, NAMESPACE};
use tcpforward_tests::reach::{End, Labels, Port, reaches};

const OPERATOR: &str = "operator";
const DATA_PLANE: &str = "data plane of default";

/// An end by its word.
fn end(word: &str) -> Result<End> {
    let pod = |namespace: &str, labels: &[(&str, &str)]| End::Pod {
        namespace: namespace.to_owned(),
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<Labels>(),
    };
    let ours = |component: &str, more: &[(&str, &str)]| {
        let name = ("app.kubernetes.io/name", "tcpforward");
        let instance = ("app.kubernetes.io/instance", "tcpforward");
        let component = ("app.kubernetes.io/component", component);
        pod(NAMESPACE, &[&[name, instance, component], more].concat())
    };
    Ok(match word {
        OPERATOR => ours("operator", &[]),
        DATA_PLANE => ours("data-plane", &[("tcpforward.dev/data-plane", "default")]),
        "neighbour" => pod(NAMESPACE, &[("app", "other")]),
        "prometheus" => pod("monitoring", &[("app", "prometheus")]),
        "shop" => pod("shop", &[("app", "web")]),
        "postgres" => pod("data", &[("app", "postgres")]),
        "redis" => pod("data", &[("app", "redis")]),
        "dns" => pod("kube-system", &[("k8s-app", "kube-dns")]),
        address => End::Address(address.parse()?),
    })
}

fn check(set: &str, table: &[(&str, &str, &str, bool)]) -> Result<()> {
    let mut policies = Vec::new();
    for object in chart::objects(set)? {
        if object
            .get("kind")
            .is_some_and(|kind| kind == "NetworkPolicy")
        {
            policies.push(serde_json::from_value::<NetworkPolicy>(object)?);
        }
    }
    let mut findings = Vec::new();
    for (from, to, port, expected) in table {
        let (protocol, number) = match port.strip_suffix("/udp") {
            Some(number) => ("UDP", number),
            None => ("TCP", *port),
        };
        let number = number.parse()?;
        let port = Port { protocol, number };
        let is = reaches(&policies, &end(from)?, &end(to)?, port);
        if is != *expected {
            findings.push(format!("{from} to {to}, {protocol} {number}: {is}"));
        }
    }
    ensure!(findings.is_empty(), "{set}:\n{}", findings.join("\n"));
    Ok(())
}

#[test]
fn by_default_clients_reach_data_planes_and_only_they_the_operator() -> Result<()> {
    check(
        "default",
        &[
            // The push is for data planes alone.
            (DATA_PLANE, OPERATOR, "9900", true),
            ("neighbour", OPERATOR, "9900", false),
            ("shop", OPERATOR, "9900", false),
            ("203.0.113.9", OPERATOR, "9900", false),
            // Pages for people are on loopback, and not let through either.
            ("neighbour", OPERATOR, "9903", false),
            ("prometheus", OPERATOR, "9902", true),
            ("prometheus", DATA_PLANE, "9904", true),
            // Clients, on any port.
            ("shop", DATA_PLANE, "5432", true),
            ("203.0.113.9", DATA_PLANE, "22", true),
            ("203.0.113.9", DATA_PLANE, "65535", true),
            ("203.0.113.9", DATA_PLANE, "53/udp", false),
            // Backends, anywhere but link-local.
            (DATA_PLANE, "postgres", "5432", true),
            (DATA_PLANE, "203.0.113.9", "25", true),
            (DATA_PLANE, "2001:db8::1", "25", true),
            (DATA_PLANE, "169.254.169.254", "80", false),
            (DATA_PLANE, "fe80::1", "80", false),
            (DATA_PLANE, "dns", "53/udp", true),
            // The operator speaks with the API server alone.
            (OPERATOR, "203.0.113.1", "6443", true),
            (OPERATOR, "203.0.113.1", "443", true),
            (OPERATOR, "203.0.113.1", "80", false),
            (OPERATOR, DATA_PLANE, "9904", false),
            (OPERATOR, "postgres", "5432", false),
            (OPERATOR, "dns", "53/udp", false),
        ],
    )
}

#[test]
fn what_is_named_is_all_that_is_reached() -> Result<()> {
    check(
        "locked",
        &[
            (DATA_PLANE, OPERATOR, "9900", true),
            ("shop", DATA_PLANE, "5432", true),
            ("198.51.100.7", DATA_PLANE, "5432", true),
            ("198.51.100.200", DATA_PLANE, "5432", false),
            ("203.0.113.9", DATA_PLANE, "5432", false),
            ("neighbour", DATA_PLANE, "5432", false),
            ("shop", DATA_PLANE, "9904", false),
            ("shop", OPERATOR, "9902", false),
            ("prometheus", DATA_PLANE, "9904", true),
            ("prometheus", OPERATOR, "9902", true),
            ("prometheus", DATA_PLANE, "5432", false),
            (DATA_PLANE, "postgres", "5432", true),
            (DATA_PLANE, "redis", "6379", false),
            (DATA_PLANE, "203.0.113.9", "25", false),
            (DATA_PLANE, "dns", "53/udp", true),
            (DATA_PLANE, "dns", "53", true),
            (OPERATOR, "203.0.113.1", "6443", true),
            (OPERATOR, "203.0.113.1", "443", false),
            (OPERATOR, "203.0.113.2", "6443", false),
        ],
    )
}

/// Such pods have the addresses of their nodes.
#[test]
fn data_planes_on_nodes_addresses_reach_the_operator() -> Result<()> {
    check(
        "daemonset",
        &[
            ("192.0.2.7", OPERATOR, "9900", true),
            ("203.0.113.9", OPERATOR, "9900", false),
            ("neighbour", OPERATOR, "9900", false),
        ],
    )?;
    // Nobody has said where nodes are: TLS and a token are what guards.
    check(
        "pools",
        &[
            ("192.0.2.7", OPERATOR, "9900", true),
            (DATA_PLANE, OPERATOR, "9900", true),
        ],
    )
}

#[test]
fn without_policies_there_are_none() -> Result<()> {
    let policies = chart::objects("small")?;
    let policies = policies.iter().filter(|o| o["kind"] == "NetworkPolicy");
    ensure!(policies.count() == 0);
    Ok(())
}
