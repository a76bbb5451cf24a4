use std::num::NonZeroU16;

use proptest::prelude::*;
use serde_json::{Value, json};
use tcpforward_protocol::snapshot::{Backend, BackendState, LocalTargets, TakesNew};
use tcpforward_protocol::{BACKENDS_BYTES, BACKENDS_PER_FORWARD, wire};

use super::*;
use crate::index::tests::{
    forward, gone, names, pool, proxy, raw, secret, secret_is, service, service_with, slice,
    slice_with, to,
};
use crate::index::{Contents, Event, Kind, Object};

mod connect;
mod entrances;
mod grants;
mod pools;

const CLUSTER: Settings = Settings::new(LocalTargets::Refuse);

fn rules() -> Rules {
    Rules {
        reserved: BTreeMap::from([(9901, "the admin page of this process".to_owned())]),
        ..Rules::of_cluster("cluster.test")
    }
}

struct World {
    index: Index,
    compiler: Compiler,
}

impl World {
    fn of(events: impl IntoIterator<Item = Event>) -> Self {
        let mut world = Self {
            index: Index::new(),
            compiler: Compiler::new(rules()),
        };
        for name in ["default", "edge", "other"] {
            world.apply(pool(name, json!({})));
        }
        for event in events {
            world.apply(event);
        }
        world
    }

    fn apply(&mut self, event: Event) -> Changes {
        let touched = self.index.apply(event);
        self.compiler.compile(&self.index, &touched)
    }

    fn outcome(&self, name: &str) -> &Outcome {
        self.compiler
            .outcome(&ForwardName::new("shop", name))
            .unwrap()
    }

    /// Reason and text of a rejection.
    fn rejection(&self, name: &str) -> (&str, &str) {
        let rejection = self.outcome(name).accepted.as_ref().unwrap_err();
        (rejection.reason, &rejection.message)
    }

    fn addresses(&self, name: &str) -> Vec<String> {
        let forward = self.outcome(name).forward.as_ref().unwrap();
        forward
            .backends
            .iter()
            .map(|b| b.address.to_string())
            .collect()
    }
}

fn applied(raw: Value) -> Event {
    Event::Applied(Object::TcpForward(raw))
}

#[test]
fn a_forward_is_compiled_whole() {
    let world = World::of([
        service("web"),
        slice("web-1", "web", &["10.0.0.2", "10.0.0.1"]),
        forward("one", 8888, to("web")),
    ]);
    let snapshot = world.compiler.snapshot("default");
    let forward = snapshot.find(&ForwardName::new("shop", "one")).unwrap();
    assert_eq!(forward.spec.listener.port, NonZeroU16::new(8888).unwrap());
    let backend = |address: &str| Backend {
        target: "a".into(),
        address: address.parse().unwrap(),
        state: BackendState::Ready,
        takes_new: TakesNew::Yes,
        nodes: vec![],
        zones: vec![],
    };
    assert_eq!(
        forward.backends,
        [backend("10.0.0.1:8080"), backend("10.0.0.2:8080")]
    );
    assert_eq!(world.outcome("one").unresolved, None);
    assert_eq!(world.compiler.snapshot("unheard-of").forwards().count(), 0);
}

#[test]
fn one_bad_target_leaves_the_others_serving() {
    let world = World::of([
        service("web"),
        slice("web-1", "web", &["10.0.0.1"]),
        forward(
            "one",
            1,
            json!([
                {"name": "a", "service": {"name": "missing", "port": 1}},
                {"name": "b", "service": {"name": "web", "port": 80}},
                {"name": "c", "address": {"host": "127.0.0.1", "port": 80}},
            ]),
        ),
    ]);
    let unresolved = world.outcome("one").unresolved.as_ref().unwrap();
    assert_eq!(unresolved.reason, "BackendNotFound");
    assert_eq!(unresolved.field, "spec.relay.targets[0].service.name");
    assert_eq!(world.addresses("one"), ["10.0.0.1:8080"]);
}

#[test]
fn a_rejected_forward_is_withdrawn() {
    let mut world = World::of([forward("one", 1, to("web"))]);
    let before = world.compiler.snapshot("default").version();
    let changes = world.apply(forward("one", 0, to("web")));
    assert_eq!(changes.pools, BTreeSet::from(["default".to_owned()]));
    assert_eq!(world.compiler.snapshot("default").forwards().count(), 0);
    assert_ne!(world.compiler.snapshot("default").version(), before);
    assert_eq!(
        world.rejection("one"),
        (
            "UnsupportedValue",
            "spec.listener.port is 0: is out of bounds; write a whole number from 1 to 65535"
        )
    );
}

#[test]
fn the_oldest_has_the_port_and_the_loser_is_told_the_winner() {
    let created = |name: &str, at: &str| {
        let mut raw = raw(name, 80, to("web"));
        raw["metadata"]["creationTimestamp"] = json!(at);
        applied(raw)
    };
    let mut world = World::of([
        created("a", "2026-01-02T00:00:00Z"),
        created("b", "2026-01-01T00:00:00Z"),
    ]);
    assert_eq!(
        world.rejection("a"),
        (
            "PortUnavailable",
            "port 80 is taken by TcpForward shop/b of pool default; choose another port"
        )
    );
    let changes = world.apply(gone(Kind::TcpForward, "b"));
    assert_eq!(changes.forwards, names(&["a", "b"]));
    assert_eq!(world.outcome("a").accepted, Ok(()));
}

#[test]
fn a_forward_that_is_served_keeps_its_port() {
    let judged = |name: &str, accepted: &str, observed: i64| {
        let mut raw = raw(name, 80, to("web"));
        raw["metadata"]["generation"] = json!(2);
        let condition = json!({
            "type": "Accepted", "status": accepted, "observedGeneration": observed,
        });
        raw["status"] = json!({"conditions": [condition]});
        applied(raw)
    };
    // Without a status, a would win by its name.
    let intruder = World::of([judged("a", "True", 1), judged("b", "True", 2)]);
    assert_eq!(intruder.rejection("a").0, "PortUnavailable");
    let edited = World::of([judged("a", "False", 2), judged("b", "True", 1)]);
    assert_eq!(edited.rejection("a").0, "PortUnavailable");
}

#[test]
fn addresses_that_do_not_overlap_share_a_port() {
    let on = |name: &str, address: Option<&str>, pool: &str| {
        let mut raw = raw(name, 80, to("web"));
        raw["spec"]["listener"]["address"] = json!(address);
        raw["spec"]["dataPlaneName"] = json!(pool);
        applied(raw)
    };
    let world = World::of([
        on("a", Some("10.0.0.1"), "default"),
        on("b", Some("10.0.0.2"), "default"),
        on("c", None, "default"),
        on("d", Some("0.0.0.0"), "default"),
        on("e", Some("10.0.0.1"), "default"),
        on("f", None, "edge"),
    ]);
    let accepted = |name: &str| world.outcome(name).accepted.is_ok();
    let verdicts = ["a", "b", "c", "d", "e", "f"].map(accepted);
    assert_eq!(verdicts, [true, true, false, false, false, true]);
}

/// A forward on a range of ports.
fn range(name: &str, first: u16, last: u16) -> Event {
    let mut raw = raw(name, first, to("web"));
    raw["spec"]["listener"]["endPort"] = last.into();
    applied(raw)
}

#[test]
fn a_range_takes_each_of_its_ports() {
    let mut world = World::of([
        service("web"),
        range("a", 8000, 8009),
        range("b", 8009, 8019),
        range("c", 8015, 8020),
        forward("d", 8005, to("web")),
        forward("e", 8021, to("web")),
    ]);
    let taken = |port: u16, winner: &str| {
        format!(
            "port {port} is taken by TcpForward shop/{winner} of pool default; choose another port"
        )
    };
    let accepted = |world: &World, name: &str| world.outcome(name).accepted.is_ok();
    assert_eq!(
        world.rejection("b"),
        ("PortUnavailable", taken(8009, "a").as_str())
    );
    assert_eq!(
        world.rejection("d"),
        ("PortUnavailable", taken(8005, "a").as_str())
    );
    // b is not served, so it is in nobody's way.
    assert!(accepted(&world, "c") && accepted(&world, "e"));

    let changes = world.apply(range("a", 8000, 8004));
    assert_eq!(changes.forwards, names(&["a", "b", "c", "d"]));
    assert!(accepted(&world, "b") && accepted(&world, "d"));
    assert_eq!(
        world.rejection("c"),
        ("PortUnavailable", taken(8015, "b").as_str())
    );
}

#[test]
fn a_range_with_a_reserved_port_takes_none() {
    let world = World::of([
        service("web"),
        range("a", 9900, 9910),
        forward("b", 9905, to("web")),
    ]);
    let text = "port 9901 is taken by the admin page of this process; choose another port";
    assert_eq!(world.rejection("a"), ("PortUnavailable", text));
    assert_eq!(world.outcome("b").accepted, Ok(()));
}

#[test]
fn a_backend_whose_port_would_move_too_far_is_left_out() {
    let slice = json!({
        "metadata": {
            "name": "web-1", "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 65530}],
        "endpoints": [{"addresses": ["10.0.0.1"]}],
    });
    let world = World::of([
        service("web"),
        Event::Applied(Object::EndpointSlice(
            serde_json::from_value(slice).unwrap(),
        )),
        range("one", 8000, 8006),
        range("two", 8010, 8015),
    ]);
    assert_eq!(world.addresses("one"), [""; 0]);
    let unresolved = world.outcome("one").unresolved.clone().unwrap();
    assert_eq!(unresolved.reason, "PortNotFound");
    assert_eq!(unresolved.field, "spec.relay.targets[0].service.port");
    assert_eq!(
        unresolved.message,
        "target a: the port of endpoint 10.0.0.1:65530 moves by up to 6 with the listener's, and \
         there is no port beyond 65535; lower spec.listener.endPort"
    );
    assert_eq!(world.addresses("two"), ["10.0.0.1:65530"]);
}

#[test]
fn a_target_by_name_is_left_to_data_planes() {
    let targets = json!([{"name": "db", "address": {"host": "db.example.com", "port": 5432}}]);
    let world = World::of([forward("one", 5432, targets)]);
    assert_eq!(world.outcome("one").unresolved, None);
    let forward = world.outcome("one").forward.clone().unwrap();
    assert_eq!(forward.backends, []);
    let host = forward.spec.relay.targets[0].host.as_ref().unwrap();
    assert_eq!(
        (host.name.as_str(), host.port.get()),
        ("db.example.com", 5432)
    );
}

#[test]
fn a_reserved_port_is_refused() {
    let world = World::of([forward("one", 9901, to("web"))]);
    assert_eq!(
        world.rejection("one"),
        (
            "PortUnavailable",
            "port 9901 is taken by the admin page of this process; choose another port"
        )
    );
}

#[test]
fn a_forward_moves_between_pools() {
    let mut world = World::of([forward("one", 1, to("web"))]);
    let mut moved = raw("one", 1, to("web"));
    moved["spec"]["dataPlaneName"] = json!("edge");
    let changes = world.apply(applied(moved));
    assert_eq!(
        changes.pools,
        BTreeSet::from(["default".to_owned(), "edge".to_owned()])
    );
    assert_eq!(world.compiler.snapshot("default").forwards().count(), 0);
    assert_eq!(world.compiler.snapshot("edge").forwards().count(), 1);
}

#[test]
fn a_pool_without_forwards_is_forgotten_and_is_the_empty_one() {
    let mut world = World::of([forward("one", 1, to("web")), forward("two", 2, to("web"))]);
    let pools =
        |world: &World| -> Vec<String> { world.compiler.snapshots().keys().cloned().collect() };
    world.apply(gone(Kind::TcpForward, "one"));
    assert_eq!(pools(&world), ["default"]);
    let changes = world.apply(gone(Kind::TcpForward, "two"));
    assert_eq!(changes.pools, BTreeSet::from(["default".to_owned()]));
    assert_eq!(pools(&world), [""; 0]);
    let empty = Snapshot::new(CLUSTER).version();
    assert_eq!(world.compiler.snapshot("default").version(), empty);
}

#[test]
fn what_changes_nothing_leaves_the_pool_alone() {
    let mut world = World::of([
        service("web"),
        slice("web-1", "web", &["10.0.0.1"]),
        forward("one", 1, to("web")),
    ]);
    let moved = world.apply(slice("web-2", "web", &["10.0.0.1"]));
    assert_eq!(moved.forwards, names(&["one"]));
    assert_eq!(moved.pools, BTreeSet::new());
}

#[test]
fn a_slice_that_comes_back_under_another_name_is_the_same_world() {
    let mut world = World::of([
        slice("web-1", "web", &["10.0.0.1"]),
        service("web"),
        forward("one", 1, to("web")),
    ]);
    let version = world.compiler.snapshot("default").version();
    world.apply(gone(Kind::EndpointSlice, "web-1"));
    assert_eq!(world.addresses("one"), [""; 0]);
    world.apply(slice("web-2", "web", &["10.0.0.1"]));
    assert_eq!(world.compiler.snapshot("default").version(), version);
    // The address goes to a pod of another slice before the old one is gone.
    world.apply(slice("web-3", "web", &["10.0.0.1", "10.0.0.2"]));
    world.apply(gone(Kind::EndpointSlice, "web-2"));
    assert_eq!(world.addresses("one"), ["10.0.0.1:8080", "10.0.0.2:8080"]);
}

#[test]
fn backends_beyond_the_bound_are_counted() {
    let addresses: Vec<String> = (0..10_020)
        .map(|i| format!("10.{}.{}.{}", i / 65536, i / 256 % 256, i % 256))
        .collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let world = World::of([
        service("web"),
        slice("web-1", "web", &addresses),
        forward("one", 1, to("web")),
    ]);
    assert_eq!(world.outcome("one").left_out, 20);
    assert_eq!(world.addresses("one").len(), BACKENDS_PER_FORWARD);
}

#[test]
fn backends_beyond_what_a_message_holds_are_counted() {
    let hints = |letter: &str| -> Vec<Value> {
        (0..8)
            .map(|i| json!({"name": format!("{i}{}", letter.repeat(252))}))
            .collect()
    };
    let hints = json!({"forNodes": hints("n"), "forZones": hints("z")});
    let endpoint = |i: usize| {
        let ready = json!({"ready": i >= 500});
        let address = format!("10.0.{}.{}", i / 256, i % 256);
        json!({"addresses": [address], "conditions": ready, "hints": hints})
    };
    let endpoints: Vec<Value> = (0..1000).map(endpoint).collect();
    let world = World::of([
        service("web"),
        slice_with("web-1", "web", json!(endpoints)),
        forward("one", 1, to("web")),
    ]);
    let kept = &world.outcome("one").forward.as_ref().unwrap().backends;
    assert_eq!(world.outcome("one").left_out, 1000 - kept.len());
    let bytes: usize = kept.iter().map(wire::backend_bytes).sum();
    assert!(
        (BACKENDS_BYTES - 5000..=BACKENDS_BYTES).contains(&bytes),
        "{bytes}"
    );
    let taking = kept.iter().filter(|b| b.takes_new == TakesNew::Yes);
    assert_eq!(
        taking.count(),
        500,
        "those that take new sessions come first"
    );
}

/// Events that overlap in every way: ports, Services, slices that share endpoints, grants.
fn events() -> Vec<Event> {
    let waiting = json!([
        {"addresses": ["10.0.0.1"], "conditions": {"ready": false}},
        {"addresses": ["10.0.0.3"], "hints": {"forZones": [{"name": "b"}, {"name": "a"}]}},
    ]);
    vec![
        service("web"),
        service_with("db", json!({"ports": [{"name": "http", "port": 5432}]})),
        slice("web-1", "web", &["10.0.0.1", "10.0.0.2"]),
        slice_with("web-2", "web", waiting),
        slice("db-1", "db", &["10.0.0.1"]),
        forward("a", 80, to("web")),
        forward("b", 80, to("db")),
        forward("c", 81, to("db")),
        forward("d", 82, to("missing")),
        forward("e", 0, to("web")),
        range("f", 79, 80),
        range("g", 81, 90),
        proxy("h", 100, "users"),
        proxy("i", 101, "others"),
        secret("users", &["ci"]),
        secret_is("others", Contents::Forbidden),
        grants::beyond("team", 200, "web"),
        grants::beyond("aux", 201, "db"),
        grants::grant("j", &["team", "aux"], &[Some("web")]),
        grants::grant("k", &["aux"], &[None]),
        forward("j", 102, pools::to_address("172.16.0.7")),
        pool(
            "default",
            json!({
                "allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "a"}}},
                "ports": [{"port": 79, "endPort": 100, "namespaces": ["shop"]}, {"port": 102}],
                "limits": {"forwardsPerNamespace": 6, "connectionsPerForward": 5},
            }),
        ),
        pools::namespace("shop", "a"),
        pools::node("one", &["172.16.0.0/24"]),
        pools::services(&["10.96.0.0/16"]),
    ]
}

proptest! {
    #[test]
    fn the_order_of_events_changes_nothing(order in Just(events()).prop_shuffle()) {
        let one = World::of(events());
        let other = World::of(order);
        prop_assert_eq!(one.compiler.outcomes(), other.compiler.outcomes());
        prop_assert_eq!(
            one.compiler.snapshot("default").version(),
            other.compiler.snapshot("default").version()
        );
    }

    #[test]
    fn changing_bit_by_bit_is_computing_everything(
        edits in prop::collection::vec((0..25_usize, any::<bool>()), 0..60),
    ) {
        let mut world = World::of([]);
        for (i, there) in edits {
            let event = events().swap_remove(i);
            let event = match event {
                Event::Applied(object) if !there => Event::Deleted {
                    kind: object.kind(),
                    namespace: object.namespace().to_owned(),
                    name: object.name().to_owned(),
                },
                event => event,
            };
            world.apply(event);
        }
        let mut whole = Compiler::new(rules());
        let all = world.index.names().cloned().collect();
        whole.compile(&world.index, &all);
        prop_assert_eq!(whole.outcomes(), world.compiler.outcomes());
        prop_assert!(whole.snapshots().keys().eq(world.compiler.snapshots().keys()));
        prop_assert_eq!(
            whole.snapshot("default").version(),
            world.compiler.snapshot("default").version()
        );
    }
}
