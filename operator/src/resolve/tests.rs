use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use tcpforward_protocol::snapshot::LocalTargets;

use super::*;
use crate::index::Sight;

const CLUSTER: Settings = Settings::new(LocalTargets::Refuse);
const LAPTOP: Settings = Settings::new(LocalTargets::Allow);

fn place(kind: &str) -> Place {
    Place {
        title: "target a".into(),
        field: format!("spec.relay.targets[0].{kind}"),
        port: format!("spec.relay.targets[0].{kind}.port"),
    }
}

fn reference(port: &Value) -> ServiceRef {
    ServiceRef {
        namespace: "shop".into(),
        name: "web".into(),
        port: serde_json::from_value(port.clone()).unwrap(),
    }
}

fn a_service(spec: Value) -> Service {
    let service: k8s_openapi::api::core::v1::Service =
        serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
    Service::from(&service)
}

fn a_slice(slice: &Value) -> Option<Slice> {
    let mut whole = json!({
        "metadata": {},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [],
    });
    for (key, value) in slice.as_object().unwrap() {
        whole[key] = value.clone();
    }
    Slice::new(&serde_json::from_value(whole).unwrap())
}

fn resolve(port: &Value, spec: Value, slices: &[Value]) -> Resolved {
    let slices: Vec<Slice> = slices.iter().filter_map(a_slice).collect();
    service(
        "a",
        &place("service"),
        &reference(port),
        Some(&a_service(spec)),
        slices.iter(),
        &CLUSTER,
    )
}

/// `10.0.0.1:8080 Ready new` for each backend.
fn lines(resolved: &Resolved) -> Vec<String> {
    let line = |backend: &Backend| {
        let takes = match backend.takes_new {
            TakesNew::Yes => " new",
            TakesNew::No => "",
        };
        format!("{} {:?}{takes}", backend.address, backend.state)
    };
    resolved.backends.iter().map(line).collect()
}

fn http() -> Value {
    json!({"ports": [{"name": "http", "port": 80}]})
}

fn endpoint(
    address: &str,
    ready: Option<bool>,
    serving: Option<bool>,
    ending: Option<bool>,
) -> Value {
    json!({
        "addresses": [address],
        "conditions": {"ready": ready, "serving": serving, "terminating": ending},
    })
}

#[test]
fn states_are_read_as_kube_proxy_reads_them() {
    let (yes, no, unset) = (Some(true), Some(false), None);
    let cases = [
        (
            vec![endpoint("10.0.0.1", unset, unset, unset)],
            vec!["10.0.0.1:8080 Ready new"],
        ),
        (
            vec![json!({"addresses": ["10.0.0.1", "10.0.0.9"]})],
            vec!["10.0.0.1:8080 Ready new"],
        ),
        (
            vec![
                endpoint("10.0.0.1", no, no, unset),
                endpoint("10.0.0.2", yes, unset, unset),
            ],
            vec!["10.0.0.1:8080 NotReady", "10.0.0.2:8080 Ready new"],
        ),
        // Someone is ready: one that terminates gets nothing new.
        (
            vec![
                endpoint("10.0.0.1", no, yes, yes),
                endpoint("10.0.0.2", yes, yes, no),
            ],
            vec!["10.0.0.1:8080 Terminating", "10.0.0.2:8080 Ready new"],
        ),
        // Nobody is: those that terminate and still serve do.
        (
            vec![
                endpoint("10.0.0.1", no, yes, yes),
                endpoint("10.0.0.2", no, no, yes),
                endpoint("10.0.0.3", no, unset, yes),
                endpoint("10.0.0.4", no, no, no),
                endpoint("10.0.0.5", no, yes, no),
            ],
            vec![
                "10.0.0.1:8080 Terminating new",
                "10.0.0.2:8080 Terminating",
                "10.0.0.3:8080 Terminating new",
                "10.0.0.4:8080 NotReady",
                "10.0.0.5:8080 NotReady",
            ],
        ),
        // publishNotReadyAddresses: ready until the end.
        (
            vec![endpoint("10.0.0.1", yes, no, yes)],
            vec!["10.0.0.1:8080 Terminating new"],
        ),
        (vec![], vec![]),
    ];
    for (endpoints, expected) in cases {
        let slice = json!({"endpoints": endpoints});
        let resolved = resolve(&json!("http"), http(), std::slice::from_ref(&slice));
        assert_eq!(lines(&resolved), expected, "{slice}");
        assert_eq!(resolved.unresolved, None);
    }
}

#[test]
fn all_slices_are_joined_and_an_address_counts_once() {
    let slices = [
        json!({"endpoints": [endpoint("10.0.0.2", Some(false), None, None)]}),
        json!({"endpoints": [endpoint("10.0.0.1", None, None, None)]}),
        json!({"endpoints": [endpoint("10.0.0.2", Some(true), None, None)]}),
        json!({"ports": [{"name": "http", "port": 9090}],
               "endpoints": [endpoint("10.0.0.2", None, None, None)]}),
        json!({"addressType": "FQDN", "endpoints": [{"addresses": ["web.example"]}]}),
    ];
    let resolved = resolve(&json!("http"), http(), &slices);
    assert_eq!(
        lines(&resolved),
        [
            "10.0.0.1:8080 Ready new",
            "10.0.0.2:8080 Ready new",
            "10.0.0.2:9090 Ready new"
        ]
    );
}

#[test]
fn ports_are_matched_by_name_and_only_tcp_counts() {
    let one = |ports: Value| json!({"ports": ports, "endpoints": [{"addresses": ["10.0.0.1"]}]});
    let unnamed = json!({"ports": [{"port": 80}]});
    let both = json!({"ports": [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]});
    let cases = [
        (json!(80), unnamed.clone(), one(json!([{"port": 8080}])), 1),
        (
            json!(80),
            unnamed.clone(),
            one(json!([{"name": "", "port": 8080}])),
            1,
        ),
        (
            json!(80),
            unnamed,
            one(json!([{"name": "x", "port": 8080}])),
            0,
        ),
        (
            json!(80),
            http(),
            one(json!([{"name": "http", "port": 8080, "protocol": "UDP"}])),
            0,
        ),
        (json!(80), http(), one(json!([{"name": "http"}])), 0),
        (
            json!(80),
            http(),
            one(json!([{"name": "http", "port": 0}])),
            0,
        ),
        (
            json!(53),
            both,
            one(json!([{"name": "dns-tcp", "port": 5353}])),
            1,
        ),
    ];
    for (port, spec, slice, expected) in cases {
        let resolved = resolve(&port, spec, std::slice::from_ref(&slice));
        assert_eq!(resolved.backends.len(), expected, "{slice}");
        assert_eq!(resolved.unresolved, None, "{slice}");
    }
}

#[test]
fn the_first_family_counts_and_the_other_only_when_that_is_empty() {
    let four = json!({"endpoints": [{"addresses": ["10.0.0.1"]}]});
    let six = json!({"addressType": "IPv6", "endpoints": [{"addresses": ["fd00::1"]}]});
    let dual = |first: &str, second: &str| json!({"ports": [{"name": "http", "port": 80}], "ipFamilies": [first, second]});
    let both = [four, six];
    let cases = [
        (dual("IPv4", "IPv6"), &both[..], "10.0.0.1:8080 Ready new"),
        (dual("IPv6", "IPv4"), &both, "[fd00::1]:8080 Ready new"),
        (dual("IPv6", "IPv4"), &both[..1], "10.0.0.1:8080 Ready new"),
        (http(), &both[1..], "[fd00::1]:8080 Ready new"),
    ];
    for (spec, slices, expected) in cases {
        let shown = spec.to_string();
        assert_eq!(
            lines(&resolve(&json!("http"), spec, slices)),
            [expected],
            "{shown}"
        );
    }
}

#[test]
fn a_traffic_policy_that_filters_nothing_is_fine() {
    let policies = [
        json!({"internalTrafficPolicy": "Cluster"}),
        json!({"externalTrafficPolicy": "Local"}),
        // kube-proxy, which would filter, never sees a Service without an address.
        json!({"internalTrafficPolicy": "Local", "clusterIP": "None"}),
    ];
    for mut spec in policies {
        spec["ports"] = http()["ports"].clone();
        let shown = spec.to_string();
        let slice = json!({"endpoints": [{"addresses": ["10.0.0.1"]}]});
        let resolved = resolve(&json!("http"), spec, &[slice]);
        assert_eq!(lines(&resolved), ["10.0.0.1:8080 Ready new"], "{shown}");
        assert_eq!(resolved.unresolved, None, "{shown}");
    }
}

#[test]
fn hints_are_kept_sorted() {
    let hints = json!({
        "forNodes": [{"name": "n2"}, {"name": "n1"}],
        "forZones": [{"name": "b"}, {"name": "a"}],
    });
    let slice = json!({"endpoints": [{"addresses": ["10.0.0.1"], "hints": hints}]});
    let resolved = resolve(&json!("http"), http(), &[slice]);
    assert_eq!(resolved.backends[0].nodes, ["n1", "n2"]);
    assert_eq!(resolved.backends[0].zones, ["a", "b"]);
}

/// What the API server never stores comes from manifests on disk alone.
#[test]
fn hints_beyond_the_bounds_of_kubernetes_are_none() {
    let named = |n: usize, name: &str| -> Vec<Value> {
        (0..n)
            .map(|i| json!({"name": format!("{i}{name}")}))
            .collect()
    };
    let cases = [
        (named(8, "z"), 8),
        (named(9, "z"), 0),
        (named(1, &"z".repeat(252)), 1),
        (named(1, &"z".repeat(253)), 0),
    ];
    for (hints, kept) in cases {
        let both = json!({"forNodes": hints, "forZones": hints});
        let slice = json!({"endpoints": [{"addresses": ["10.0.0.1"], "hints": both}]});
        let backend = resolve(&json!("http"), http(), &[slice]).backends.remove(0);
        assert_eq!((backend.nodes.len(), backend.zones.len()), (kept, kept));
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_refusal_says_what_is_there_and_what_to_do() {
    let several = json!({"ports": [
        {"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"},
    ]});
    let cases = [
        (
            resolve(&json!("https"), several.clone(), &[]),
            "PortNotFound",
            "service.port",
            "target a: Service web has no port \"https\"; its TCP ports: http (80)",
        ),
        (
            resolve(&json!(443), json!({}), &[]),
            "PortNotFound",
            "service.port",
            "target a: Service web has no port 443; its TCP ports: none",
        ),
        (
            resolve(&json!(53), several, &[]),
            "UnsupportedService",
            "service.port",
            "target a: port 53 of Service web is UDP, only TCP is forwarded; its TCP ports: http \
             (80)",
        ),
        (
            resolve(
                &json!(80),
                json!({"type": "ExternalName", "externalName": "x.y"}),
                &[],
            ),
            "UnsupportedService",
            "service.name",
            "target a: Service web is of type ExternalName, which could lead anywhere; name its \
             server by address instead",
        ),
        (
            resolve(
                &json!("http"),
                json!({"internalTrafficPolicy": "Local", "clusterIP": "10.96.0.7",
                       "ports": [{"name": "http", "port": 80}]}),
                &[json!({"endpoints": [{"addresses": ["10.0.0.1"]}]})],
            ),
            "UnsupportedService",
            "service.name",
            "target a: Service web has internalTrafficPolicy Local, but a forward does not know \
             the nodes of its clients; set it to Cluster, or name another Service of the same pods",
        ),
        (
            service(
                "a",
                &place("service"),
                &reference(&json!(80)),
                None,
                [].iter(),
                &CLUSTER,
            ),
            "BackendNotFound",
            "service.name",
            "target a: Service web does not exist in namespace shop; create it or correct the name",
        ),
        (
            not_permitted(
                &place("service"),
                &reference(&json!(80)),
                "team",
                Sight::Seen,
            ),
            "RefNotPermitted",
            "service.namespace",
            "target a: Service web is in namespace shop, which does not permit it: apply there a \
             ReferenceGrant from {group: tcpforward.dev, kind: TcpForward, namespace: team} to \
             {group: \"\", kind: Service, name: web}",
        ),
        (
            address(
                "a",
                &place("address"),
                "127.0.0.1:80".parse().unwrap(),
                &CLUSTER,
            ),
            "RefNotPermitted",
            "address.host",
            "target a: 127.0.0.1 must not be dialled: a loopback address is the data plane's own \
             host; name a server of its own",
        ),
    ];
    for (resolved, reason, field, message) in cases {
        assert_eq!(
            resolved.unresolved,
            Some(Unresolved {
                reason,
                field: format!("spec.relay.targets[0].{field}"),
                message: message.to_owned(),
            })
        );
        assert_eq!(resolved.backends, []);
    }
}

#[test]
fn an_endpoint_that_must_not_be_dialled_is_left_out_alone() {
    let slice = json!({"endpoints": [
        {"addresses": ["169.254.169.254"]}, {"addresses": ["10.0.0.1"]}, {"addresses": ["127.0.0.1"]},
    ]});
    let resolved = resolve(&json!(80), http(), std::slice::from_ref(&slice));
    assert_eq!(lines(&resolved), ["10.0.0.1:8080 Ready new"]);
    let unresolved = resolved.unresolved.unwrap();
    assert_eq!(unresolved.reason, "RefNotPermitted");
    assert!(
        unresolved.message.contains("127.0.0.1:8080"),
        "{unresolved}"
    );
    let slices = [a_slice(&slice).unwrap()];
    let (port, spec) = (reference(&json!(80)), a_service(http()));
    let laptop = service(
        "a",
        &place("service"),
        &port,
        Some(&spec),
        slices.iter(),
        &LAPTOP,
    );
    assert_eq!(
        lines(&laptop),
        ["10.0.0.1:8080 Ready new", "127.0.0.1:8080 Ready new"]
    );
    assert!(
        laptop
            .unresolved
            .unwrap()
            .message
            .contains("169.254.169.254")
    );
}

type State = (Option<bool>, Option<bool>, Option<bool>);

/// What kube-proxy would do, written the slow way: who is listed, and who of them takes sessions.
fn model(slices: &[(u16, Vec<(u8, State)>)]) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut listed, mut ready, mut ending) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (port, endpoints) in slices {
        for (host, (is_ready, serving, terminating)) in endpoints {
            let address = format!("10.0.0.{host}:{port}");
            listed.insert(address.clone());
            if is_ready.unwrap_or(true) {
                ready.insert(address);
            } else if serving.unwrap_or(true) && terminating.unwrap_or(false) {
                ending.insert(address);
            }
        }
    }
    let takes = if ready.is_empty() { ending } else { ready };
    (listed, takes)
}

proptest! {
    /// Slices that overlap, in any order, with addresses that come again at other ports.
    #[test]
    fn slices_in_any_order_give_what_the_model_says(
        slices in prop::collection::vec(
            (8080..8083_u16, prop::collection::vec((1..6_u8, any::<State>()), 0..6)),
            0..6,
        ).prop_flat_map(|slices| (Just(slices.clone()), Just(slices).prop_shuffle())),
    ) {
        let to_json = |slices: &[(u16, Vec<(u8, State)>)]| -> Vec<Value> {
            slices
                .iter()
                .map(|(port, endpoints)| {
                    let endpoints: Vec<Value> = endpoints
                        .iter()
                        .map(|(host, (r, s, t))| endpoint(&format!("10.0.0.{host}"), *r, *s, *t))
                        .collect();
                    json!({"ports": [{"name": "http", "port": port}], "endpoints": endpoints})
                })
                .collect()
        };
        let (one, other) = slices;
        let resolved = resolve(&json!("http"), http(), &to_json(&one));
        prop_assert_eq!(&resolved, &resolve(&json!("http"), http(), &to_json(&other)));

        let (listed, takes) = model(&one);
        let of = |backends: Vec<&Backend>| -> Vec<String> {
            backends.iter().map(|backend| backend.address.to_string()).collect()
        };
        let all = of(resolved.backends.iter().collect());
        prop_assert_eq!(listed.len(), all.len());
        prop_assert_eq!(listed, all.into_iter().collect());
        let chosen = resolved.backends.iter().filter(|b| b.takes_new == TakesNew::Yes);
        prop_assert_eq!(takes, of(chosen.collect()).into_iter().collect());
    }
}
