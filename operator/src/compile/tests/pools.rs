use std::num::NonZeroU32;

use tcpforward_protocol::feature;
use tcpforward_protocol::snapshot::Protected;

use super::*;
use crate::pool::Labels;

pub(super) fn namespace(name: &str, team: &str) -> Event {
    Event::Applied(Object::Namespace {
        name: name.to_owned(),
        labels: Labels::from([("team".to_owned(), team.to_owned())]),
    })
}

pub(super) fn node(name: &str, ranges: &[&str]) -> Event {
    Event::Applied(Object::Node {
        name: name.to_owned(),
        zone: None,
        ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
    })
}

pub(super) fn services(ranges: &[&str]) -> Event {
    Event::Applied(Object::ServiceCidr {
        name: "kubernetes".to_owned(),
        ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
    })
}

pub(super) fn to_address(ip: &str) -> Value {
    json!([{"name": "a", "address": {"host": ip, "port": 80}}])
}

fn created(name: &str, port: u16, day: u8) -> Event {
    let mut raw = raw(name, port, to("web"));
    raw["metadata"]["creationTimestamp"] = json!(format!("2026-11-{day:02}T10:00:00Z"));
    applied(raw)
}

impl World {
    /// Reasons of those that are not accepted, by name.
    fn refused(&self) -> Vec<String> {
        let outcomes = self.compiler.outcomes().iter();
        let refused = outcomes.filter_map(|(name, outcome)| {
            let rejection = outcome.accepted.as_ref().err()?;
            Some(format!("{} {}", name.name(), rejection.reason))
        });
        refused.collect()
    }

    fn protected(&self) -> Vec<String> {
        let snapshot = self.compiler.snapshot("default");
        let ranges = snapshot.settings().protected.ranges();
        ranges.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn a_pool_that_is_not_there_serves_nothing_until_it_is() {
    let mut world = World::of([forward("one", 80, to("web"))]);
    assert_eq!(world.refused(), [""; 0]);
    let changes = world.apply(gone(Kind::DataPlane, "default"));
    assert_eq!(changes.pools, BTreeSet::from(["default".to_owned()]));
    let (reason, message) = world.rejection("one");
    assert_eq!(reason, "UnknownDataPlane");
    assert!(
        message.starts_with("spec.dataPlaneName is default: there is no DataPlane default; create")
    );
    assert_eq!(world.compiler.snapshot("default").forwards().count(), 0);
    world.apply(pool("default", json!({"colour": "red"})));
    let (reason, message) = world.rejection("one");
    assert_eq!(reason, "UnknownDataPlane");
    assert!(
        message.contains("is not valid; correct it: spec.colour"),
        "{message}"
    );
    world.apply(pool("default", json!({})));
    assert_eq!(world.refused(), [""; 0]);
}

#[test]
fn manifests_need_no_pool_and_obey_one_that_is_there() {
    let laptop = || {
        Compiler::new(Rules {
            place: Place::Manifests,
            ..rules()
        })
    };
    let mut index = Index::new();
    let touched = index.apply(forward("one", 80, to_address("127.0.0.1")));
    let mut compiler = laptop();
    compiler.compile(&index, &touched);
    let name = ForwardName::new("shop", "one");
    let outcome = |compiler: &Compiler| compiler.outcome(&name).unwrap().clone();
    assert_eq!(outcome(&compiler).accepted, Ok(()));
    let by_name = json!({"matchLabels": {"kubernetes.io/metadata.name": "shop"}});
    let allowed = json!({"allowedNamespaces": {"from": "Selector", "selector": by_name}});
    let touched = index.apply(pool("default", allowed));
    compiler.compile(&index, &touched);
    assert_eq!(outcome(&compiler).accepted, Ok(()));
    assert_eq!(
        outcome(&compiler).unresolved,
        None,
        "loopback is where servers are"
    );
    let touched = index.apply(pool("default", json!({"ports": [{"port": 81}]})));
    compiler.compile(&index, &touched);
    let refused = outcome(&compiler).accepted.unwrap_err();
    assert_eq!(refused.field, "spec.listener.port");
}

#[test]
fn a_label_of_the_namespace_lets_in_and_out() {
    let selector = json!({"matchLabels": {"team": "a"}});
    let selected = json!({"allowedNamespaces": {"from": "Selector", "selector": selector}});
    let mut world = World::of([pool("default", selected), forward("one", 80, to("web"))]);
    let refused = ["one NotAllowedByDataPlane"];
    assert_eq!(
        world.refused(),
        refused,
        "nothing is known of the namespace"
    );
    assert_eq!(
        world.apply(namespace("shop", "a")).forwards,
        names(&["one"])
    );
    assert_eq!(world.refused(), [""; 0]);
    assert_eq!(world.apply(namespace("mail", "b")).forwards, names(&[]));
    world.apply(namespace("shop", "b"));
    assert_eq!(world.refused(), refused);
    world.apply(pool("default", json!({})));
    assert_eq!(world.refused(), [""; 0]);
    let unselected = world.apply(namespace("shop", "c"));
    assert_eq!(unselected.forwards, names(&[]), "no pool selects by it");
}

#[test]
fn the_oldest_forwards_of_a_namespace_are_served() {
    let limits = |n: u8| pool("default", json!({"limits": {"forwardsPerNamespace": n}}));
    let mut world = World::of([
        limits(2),
        created("c", 83, 3),
        created("a", 81, 2),
        created("b", 82, 2),
    ]);
    assert_eq!(world.refused(), ["c NotAllowedByDataPlane"]);
    let (_, message) = world.rejection("c");
    assert!(
        message.starts_with("DataPlane default serves 2 TcpForwards of a namespace"),
        "{message}"
    );
    // The same port is free for whoever is within.
    world.apply(created("z", 83, 1));
    assert_eq!(
        world.refused(),
        ["b NotAllowedByDataPlane", "c NotAllowedByDataPlane"]
    );
    assert_eq!(world.outcome("z").accepted, Ok(()));
    let changes = world.apply(gone(Kind::TcpForward, "a"));
    assert_eq!(changes.forwards, names(&["a", "b"]));
    assert_eq!(world.refused(), ["c NotAllowedByDataPlane"]);
    world.apply(limits(9));
    assert_eq!(world.refused(), ["c PortUnavailable"]);
    world.apply(limits(1));
    assert_eq!(
        world.refused(),
        ["b NotAllowedByDataPlane", "c NotAllowedByDataPlane"]
    );
}

#[test]
fn who_is_not_allowed_for_another_reason_takes_no_place() {
    let says = json!({"ports": [{"port": 81}], "limits": {"forwardsPerNamespace": 1}});
    let world = World::of([
        pool("default", says),
        created("a", 80, 1),
        created("b", 81, 2),
    ]);
    assert_eq!(world.refused(), ["a NotAllowedByDataPlane"]);
}

#[test]
fn the_lower_limit_of_connections_counts() {
    let asking = |connections: Option<u32>| {
        let mut raw = raw("one", 80, to("web"));
        if let Some(connections) = connections {
            raw["spec"]["listener"]["limits"] = json!({"connections": connections});
        }
        applied(raw)
    };
    let limits = json!({"limits": {"connectionsPerForward": 100}});
    let mut world = World::of([pool("default", limits), asking(None)]);
    let in_force = |world: &World| {
        let outcome = world.outcome("one");
        let spec = &outcome.forward.as_ref().unwrap().spec;
        assert_eq!(spec.requires, feature::required(spec));
        let connections = spec.listener.limits.connections;
        (
            connections.map(NonZeroU32::get),
            outcome.capped.map(NonZeroU32::get),
        )
    };
    assert_eq!(in_force(&world), (Some(100), Some(100)));
    world.apply(asking(Some(200)));
    assert_eq!(in_force(&world), (Some(100), Some(100)));
    world.apply(asking(Some(100)));
    assert_eq!(in_force(&world), (Some(100), None));
    world.apply(asking(Some(7)));
    assert_eq!(in_force(&world), (Some(7), None));
    world.apply(pool("default", json!({})));
    assert_eq!(in_force(&world), (Some(7), None));
}

#[test]
fn the_cluster_s_networks_are_settings_and_push_no_forward() {
    let mut world = World::of([
        forward("far", 80, to_address("172.16.100.101")),
        forward("near", 81, to_address("192.168.0.7")),
        service("web"),
        slice("web-1", "web", &["10.244.0.9"]),
        forward("one", 82, to("web")),
    ]);
    let before = world.compiler.snapshot("default");
    let changes = world.apply(services(&["10.96.0.0/16"]));
    assert_eq!(changes.forwards, names(&[]));
    assert_eq!(changes.pools, BTreeSet::from(["default".to_owned()]));
    let changes = world.apply(node("a", &["192.168.0.8/32", "10.244.0.0/24"]));
    assert_eq!(changes.forwards, names(&[]));
    let after = world.compiler.snapshot("default");
    assert_ne!(after.version(), before.version());
    let delta = tcpforward_protocol::delta::Delta::between(&before, &after);
    assert_eq!((delta.upserts, delta.removals), (Vec::new(), Vec::new()));
    assert_eq!(
        world.protected(),
        ["10.96.0.0/16", "10.244.0.0/24", "192.168.0.8/32"]
    );
    assert_eq!(
        world.addresses("one"),
        ["10.244.0.9:8080"],
        "a Service leads anywhere"
    );

    // A node comes up where a forward goes: that one alone is looked at.
    let changes = world.apply(node("b", &["192.168.0.7/32"]));
    assert_eq!(changes.forwards, names(&["near"]));
    let unresolved = world.outcome("near").unresolved.clone().unwrap();
    assert_eq!(unresolved.reason, "RefNotPermitted");
    assert_eq!(unresolved.field, "spec.relay.targets[0].address.host");
    assert!(
        unresolved
            .message
            .contains("write a service target, or have the DataPlane's")
    );
    assert_eq!(world.addresses("near"), [""; 0]);
    assert_eq!(
        world.protected(),
        [
            "10.96.0.0/16",
            "10.244.0.0/24",
            "192.168.0.7/32",
            "192.168.0.8/32"
        ]
    );
    let same = world.apply(node("b", &["192.168.0.7/32"]));
    assert_eq!(same, Changes::default());

    world.apply(pool("default", json!({"addressTargets": "Any"})));
    assert_eq!(world.protected(), [""; 0]);
    assert_eq!(world.outcome("near").unresolved, None);
    world.apply(pool("default", json!({})));
    world.apply(gone(Kind::Node, "b"));
    assert_eq!(world.outcome("near").unresolved, None);
}

#[test]
fn networks_of_flags_are_protected_with_what_is_seen() {
    let mut index = Index::protecting(vec!["10.244.0.0/16".parse().unwrap()]);
    let expected = |texts: &[&str]| Protected::new(texts.iter().map(|t| t.parse().unwrap()));
    assert_eq!(*index.protected(), expected(&["10.244.0.0/16"]));
    index.apply(node("a", &["10.244.7.0/24", "192.168.0.7/32"]));
    assert_eq!(
        *index.protected(),
        expected(&["10.244.0.0/16", "192.168.0.7/32"])
    );
    index.apply(Event::Replaced(Kind::Node, Vec::new()));
    assert_eq!(*index.protected(), expected(&["10.244.0.0/16"]));
}

#[test]
fn of_two_pools_with_one_service_account_the_older_keeps_it() {
    let with = |name: &str, day: u8| {
        let Event::Applied(Object::DataPlane(mut raw)) =
            pool(name, json!({"serviceAccountName": "dp"}))
        else {
            unreachable!()
        };
        raw["metadata"]["creationTimestamp"] = json!(format!("2026-11-{day:02}T10:00:00Z"));
        Event::Applied(Object::DataPlane(raw))
    };
    let mut index = Index::new();
    index.apply(with("a", 2));
    index.apply(with("b", 1));
    index.apply(with("c", 2));
    let holders = |index: &Index| {
        ["a", "b", "c"].map(|name| index.pools().account_holder(name).map(ToOwned::to_owned))
    };
    let b = Some("b".to_owned());
    assert_eq!(holders(&index), [b.clone(), None, b]);
    index.apply(gone(Kind::DataPlane, "b"));
    assert_eq!(holders(&index), [None, None, Some("a".to_owned())]);
}
