use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::*;
use crate::entrance::tests::stored;
use crate::entrance::{self, Deed, Gate, Live, Wish, deed};
use crate::index::{EntranceNews, Unseen};
use crate::lease::now;

fn listed(services: Vec<Live>) -> Event {
    Event::Entrances(EntranceNews::Listed {
        namespace: "proxies".to_owned(),
        services,
    })
}

fn seen(live: Live) -> Event {
    Event::Entrances(EntranceNews::Seen(live))
}

/// A world where pods have networks of their own, and no Service is there.
fn world(events: impl IntoIterator<Item = Event>) -> World {
    let mut world = World::of([
        pool("default", json!({"hostNetwork": false})),
        pool("edge", json!({"hostNetwork": false})),
        listed(Vec::new()),
    ]);
    for event in events {
        world.apply(event);
    }
    world
}

impl World {
    /// The Service of a forward, as the operator would have it with that port of pods.
    fn service(&self, name: &str, first: u16, gate: Gate, change: fn(&mut Value)) -> Live {
        let approach = self.outcome(name).approach.as_ref().unwrap();
        stored(&approach.entrance.body(first, gate), change)
    }

    fn standing(&self, name: &str) -> Standing {
        self.outcome(name).approach.as_ref().unwrap().standing
    }

    /// Ports that pods of a pool listen on.
    fn pod_ports(&self, pool: &str) -> Vec<u16> {
        let snapshot = self.compiler.snapshot(pool);
        let ports = snapshot.forwards().flat_map(|f| f.spec.listener.ports());
        let mut ports: Vec<_> = ports.map(NonZeroU16::get).collect();
        ports.sort_unstable();
        ports
    }

    fn gone(&mut self, name: &str) {
        let name = ForwardName::new("shop", name);
        self.apply(Event::Entrances(EntranceNews::Gone {
            namespace: "proxies".to_owned(),
            name: entrance::name("default", &name),
        }));
    }

    fn tick(&mut self, time: Instant) {
        let released = self.compiler.tick(&self.index, time);
        self.compiler.compile(&self.index, &released);
    }
}

fn later(name: &str) -> fn(&mut Value) {
    match name {
        "a" => |raw| raw["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z"),
        _ => |raw| raw["metadata"]["creationTimestamp"] = json!("2026-01-02T00:00:00Z"),
    }
}

#[test]
fn pods_listen_where_their_service_says_and_two_forwards_may_have_one_port() {
    let mut world = world([forward("a", 5432, to("web")), forward("b", 5432, to("web"))]);
    assert_eq!(
        (world.standing("a"), world.standing("b")),
        (Standing::Absent, Standing::Absent)
    );
    assert_eq!(world.outcome("a").accepted, Ok(()));
    assert_eq!(world.pod_ports("default"), [0_u16; 0]);
    let (a, b) = (
        world.service("a", 20_000, Gate::Closed, later("a")),
        world.service("b", 20_001, Gate::Open, later("b")),
    );
    world.apply(seen(a));
    world.apply(seen(b));
    assert_eq!(
        (world.standing("a"), world.standing("b")),
        (Standing::Closed, Standing::Open)
    );
    assert_eq!(world.pod_ports("default"), [20_000, 20_001]);
    world.gone("a");
    assert_eq!(world.pod_ports("default"), [20_001]);
}

#[test]
fn a_range_gets_as_many_ports_in_a_row() {
    let mut raw = raw("a", 3000, to("web"));
    raw["spec"]["listener"]["endPort"] = json!(3002);
    let mut world = world([applied(raw)]);
    let service = world.service("a", 20_000, Gate::Open, |_| {});
    world.apply(seen(service));
    assert_eq!(world.pod_ports("default"), [20_000, 20_001, 20_002]);
    let narrow = world.service("a", 20_000, Gate::Closed, |raw| {
        raw["spec"]["ports"].as_array_mut().unwrap().pop();
    });
    world.apply(seen(narrow));
    assert_eq!(world.standing("a"), Standing::Unallocated);
    let torn = world.service("a", 20_000, Gate::Closed, |raw| {
        raw["spec"]["ports"][1]["targetPort"] = json!(25_000);
    });
    world.apply(seen(torn));
    assert_eq!(world.standing("a"), Standing::Unallocated);
}

#[test]
fn of_two_services_with_one_port_the_older_keeps_it() {
    let mut world = world([forward("a", 1, to("web")), forward("b", 2, to("web"))]);
    let (a, b) = (
        world.service("a", 20_000, Gate::Closed, later("a")),
        world.service("b", 20_000, Gate::Closed, later("b")),
    );
    world.apply(seen(b));
    assert_eq!(world.standing("b"), Standing::Closed);
    world.apply(seen(a));
    assert_eq!(
        (world.standing("a"), world.standing("b")),
        (Standing::Closed, Standing::Unallocated)
    );
    world.gone("a");
    assert_eq!(world.standing("b"), Standing::Closed);
}

#[test]
fn what_is_allocated_goes_before_what_is_named() {
    let mut direct = raw("direct", 20_000, to("web"));
    direct["spec"]["expose"] = json!({"type": "None"});
    let mut world = world([applied(direct), forward("a", 5432, to("web"))]);
    assert_eq!(world.pod_ports("default"), [20_000]);
    let taken = world.compiler.taken(&world.index, "default");
    assert_eq!(taken, BTreeSet::from([20_000]));
    let service = world.service("a", 20_000, Gate::Closed, |_| {});
    world.apply(seen(service));
    assert_eq!(world.rejection("direct").0, "PortUnavailable");
    assert_eq!(world.outcome("a").accepted, Ok(()));
    assert!(world.compiler.taken(&world.index, "edge").is_empty());
}

#[test]
fn what_nobody_may_see_or_has_looked_at_is_said() {
    let mut world = world([forward("a", 1, to("web"))]);
    let namespace = "proxies".to_owned();
    let unseen = |why| {
        Event::Entrances(EntranceNews::Unseen {
            why,
            namespace: namespace.clone(),
        })
    };
    let unreadable = unseen(Unseen::Forbidden);
    world.apply(unreadable.clone());
    assert_eq!(world.standing("a"), Standing::Absent, "it was seen");
    world.apply(Event::Entrances(EntranceNews::Forgotten {
        namespace: namespace.clone(),
    }));
    assert_eq!(world.standing("a"), Standing::Unread);
    world.apply(unseen(Unseen::TooMany));
    assert_eq!(world.standing("a"), Standing::Unseen(Unseen::TooMany));
    // There is room for it now, and no right.
    world.apply(unreadable);
    assert_eq!(world.standing("a"), Standing::Unseen(Unseen::Forbidden));
    world.apply(listed(Vec::new()));
    assert_eq!(world.standing("a"), Standing::Absent);
    let foreign = world.service("a", 1, Gate::Open, |raw| {
        raw["metadata"]["labels"] = json!({})
    });
    world.apply(seen(foreign));
    assert_eq!(world.standing("a"), Standing::Foreign);
    world.gone("a");
    assert_eq!(world.standing("a"), Standing::Absent);
}

#[test]
fn what_goes_is_served_until_its_service_is_closed_and_nodes_know() {
    let start = now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut world = world([forward("a", 5432, to("web"))]);
    world.tick(at(0));
    let open = world.service("a", 20_000, Gate::Open, |_| {});
    let closed = world.service("a", 20_000, Gate::Closed, |_| {});
    world.apply(seen(open.clone()));
    world.apply(gone(Kind::TcpForward, "a"));
    let name = ForwardName::new("shop", "a");
    assert!(world.compiler.is_held(&name, "default"));
    world.tick(at(4));
    assert_eq!(world.pod_ports("default"), [20_000], "it is open");
    world.apply(seen(closed));
    world.tick(at(5));
    world.tick(at(6));
    assert_eq!(world.pod_ports("default"), [20_000], "nodes do not know");
    world.tick(at(7));
    assert_eq!(world.pod_ports("default"), [0_u16; 0]);
    assert!(!world.compiler.is_held(&name, "default"));
    // Who comes back in time is not held, and what never closes is given up.
    world.apply(forward("a", 5432, to("web")));
    world.apply(seen(open));
    world.apply(gone(Kind::TcpForward, "a"));
    world.apply(forward("a", 5433, to("web")));
    assert!(!world.compiler.is_held(&name, "default"));
    assert_eq!(world.pod_ports("default"), [20_000]);
    world.apply(gone(Kind::TcpForward, "a"));
    world.tick(at(16));
    assert_eq!(world.pod_ports("default"), [20_000]);
    world.tick(at(17));
    assert_eq!(world.pod_ports("default"), [0_u16; 0]);
}

#[test]
fn another_pool_serves_at_once_what_the_first_one_holds() {
    let mut world = world([forward("a", 5432, to("web"))]);
    world.tick(now());
    let open = world.service("a", 20_000, Gate::Open, |_| {});
    world.apply(seen(open.clone()));
    let mut moved = raw("a", 5432, to("web"));
    moved["spec"]["dataPlaneName"] = json!("edge");
    world.apply(applied(moved));
    let there = world.service("a", 20_000, Gate::Closed, |_| {});
    assert_ne!(there.name, open.name);
    world.apply(seen(there));
    assert_eq!(world.pod_ports("default"), [20_000]);
    assert_eq!(world.pod_ports("edge"), [20_000], "other pods");
    let none = Wish::none(true);
    assert!(matches!(deed(&none, Some(&open)), Some(Deed::Close(_))));
}

#[test]
fn what_the_pool_does_not_allow_or_cannot_tell_apart_is_refused() {
    let exposed = |expose: Value, listener: Value| {
        let mut raw = raw("a", 5432, to("web"));
        raw["spec"]["expose"] = expose;
        raw["spec"]["listener"] = listener;
        applied(raw)
    };
    let mut world = world([]);
    let lets_in = json!({"hostNetwork": false, "allowedExposeTypes": ["LoadBalancer"]});
    let plain = json!({"port": 5432});
    let sources = json!({"port": 5432, "sourceRanges": ["10.0.0.0/8"]});
    let proxied = json!({"port": 5432, "sourceRanges": ["10.0.0.0/8"],
                         "proxyProtocol": {"mode": "Required", "trustedSources": ["10.0.0.0/8"]}});
    let balanced = json!({"type": "LoadBalancer"});
    let local = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"});
    world.apply(exposed(balanced.clone(), plain.clone()));
    let (reason, message) = world.rejection("a");
    assert_eq!(reason, "NotAllowedByDataPlane");
    assert!(message.contains("allows None, ClusterIP"), "{message}");
    assert!(
        world.outcome("a").approach.is_none(),
        "it is not kept either"
    );
    world.apply(pool("default", lets_in));
    assert_eq!(world.outcome("a").accepted, Ok(()));
    world.apply(exposed(balanced.clone(), sources.clone()));
    let (reason, message) = world.rejection("a");
    assert_eq!(reason, "SourceAddressNotPreserved");
    assert!(
        message.starts_with("spec.listener.sourceRanges"),
        "{message}"
    );
    assert!(message.chars().count() <= 256, "{message}");
    assert!(world.outcome("a").approach.is_some(), "its address is kept");
    for (expose, listener) in [(local, sources), (balanced.clone(), proxied)] {
        world.apply(exposed(expose, listener));
        assert_eq!(world.outcome("a").accepted, Ok(()));
    }
    let address = json!({"port": 5432, "address": "10.0.0.7"});
    world.apply(exposed(balanced.clone(), address));
    assert!(world.rejection("a").1.starts_with("spec.listener.address"));
    world.apply(pool("default", json!({})));
    world.apply(exposed(balanced, plain));
    let (_, message) = world.rejection("a");
    assert!(message.contains("has hostNetwork"), "{message}");
}
