use k8s_openapi::serde_json::json;

use super::*;

/// A TcpForward of namespace shop on a port, with targets.
pub(crate) fn forward(name: &str, port: u16, targets: Value) -> Event {
    Event::Applied(Object::TcpForward(raw(name, port, targets)))
}

pub(crate) fn raw(name: &str, port: u16, targets: Value) -> Value {
    json!({
        "apiVersion": "tcpforward.dev/v1alpha1",
        "kind": "TcpForward",
        "metadata": {"name": name, "namespace": "shop", "generation": 1},
        "spec": {"listener": {"port": port}, "relay": {"targets": targets}},
    })
}

/// A target of port `http` of a Service.
pub(crate) fn to(service: &str) -> Value {
    json!([{"name": "a", "service": {"name": service, "port": "http"}}])
}

/// A Service of namespace shop with port http = 80.
pub(crate) fn service(name: &str) -> Event {
    service_with(name, json!({"ports": [{"name": "http", "port": 80}]}))
}

pub(crate) fn service_with(name: &str, spec: Value) -> Event {
    let service = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec});
    Event::Applied(Object::Service(serde_json::from_value(service).unwrap()))
}

/// A slice of a Service with ready endpoints at port http = 8080.
pub(crate) fn slice(name: &str, service: &str, addresses: &[&str]) -> Event {
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|a| json!({"addresses": [a]}))
        .collect();
    slice_with(name, service, json!(endpoints))
}

pub(crate) fn slice_with(name: &str, service: &str, endpoints: Value) -> Event {
    Event::Applied(Object::EndpointSlice(
        serde_json::from_value(json!({
            "metadata": {
                "name": name,
                "namespace": "shop",
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": endpoints,
        }))
        .unwrap(),
    ))
}

/// A proxy of namespace shop whose users are in a Secret.
pub(crate) fn proxy(name: &str, port: u16, secret: &str) -> Event {
    let mut raw = raw(name, port, json!([]));
    raw["spec"] = json!({
        "listener": {"port": port},
        "httpConnect": {
            "rules": [{"name": "all", "action": "Allow"}],
            "authentication": {"basic": {"secretRef": {"name": secret}}},
        },
    });
    Event::Applied(Object::TcpForward(raw))
}

/// A Secret of namespace shop with these users, or of which this is known.
pub(crate) fn secret(name: &str, users: &[&str]) -> Event {
    let line = |user: &&str| format!("{user}:{HASH}\n");
    let text: String = users.iter().map(line).collect();
    secret_is(name, Contents::of([("auth", text.as_bytes())]))
}

pub(crate) fn secret_is(name: &str, contents: Contents) -> Event {
    Event::Applied(Object::Secret(Secret::of("shop", name, contents)))
}

pub(crate) const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01232";

/// A DataPlane that says this beside what it has to, whose pods listen where clients dial.
pub(crate) fn pool(name: &str, says: Value) -> Event {
    let mut spec =
        json!({"podNamespace": "proxies", "serviceAccountName": name, "hostNetwork": true});
    if let (Value::Object(spec), Value::Object(says)) = (&mut spec, says) {
        spec.extend(says);
    }
    Event::Applied(Object::DataPlane(json!({
        "apiVersion": "tcpforward.dev/v1alpha1",
        "kind": "DataPlane",
        "metadata": {"name": name},
        "spec": spec,
    })))
}

pub(crate) fn gone(kind: Kind, name: &str) -> Event {
    Event::Deleted {
        kind,
        namespace: "shop".into(),
        name: name.into(),
    }
}

pub(crate) fn names(of: &[&str]) -> BTreeSet<ForwardName> {
    of.iter()
        .map(|name| ForwardName::new("shop", name))
        .collect()
}

fn world() -> Index {
    let mut index = Index::new();
    for event in [
        service("web"),
        service("db"),
        slice("web-1", "web", &["10.0.0.1"]),
        forward("one", 1001, to("web")),
        forward("two", 1002, to("web")),
        forward("three", 1003, to("db")),
    ] {
        index.apply(event);
    }
    index
}

#[test]
fn an_event_touches_only_the_forwards_that_use_it() {
    let cases = [
        (slice("web-2", "web", &["10.0.0.2"]), &["one", "two"][..]),
        (slice("db-1", "db", &["10.0.0.9"]), &["three"]),
        (slice("other-1", "other", &["10.0.0.3"]), &[]),
        (service_with("db", json!({"ports": []})), &["three"]),
        (service("unknown"), &[]),
        (forward("two", 1004, to("web")), &["two"]),
        (gone(Kind::Service, "web"), &["one", "two"]),
        (gone(Kind::Service, "unknown"), &[]),
        (gone(Kind::EndpointSlice, "web-1"), &["one", "two"]),
        (gone(Kind::TcpForward, "three"), &["three"]),
        (gone(Kind::TcpForward, "unknown"), &[]),
    ];
    for (event, expected) in cases {
        let shown = format!("{event:?}");
        assert_eq!(world().apply(event), names(expected), "{shown}");
    }
}

#[test]
fn what_changes_nothing_touches_nothing() {
    let mut index = world();
    let Event::Applied(Object::Service(mut service)) = service("web") else {
        panic!("a Service")
    };
    service.metadata.resource_version = Some("7".into());
    for event in [
        Event::Applied(Object::Service(service)),
        slice("web-1", "web", &["10.0.0.1"]),
        forward("one", 1001, to("web")),
    ] {
        assert_eq!(index.apply(event), names(&[]));
    }
}

#[test]
fn a_status_touches_nothing_but_a_claim() {
    let written = |version: &str, edit: fn(&mut Value)| {
        let mut raw = raw("one", 1001, to("web"));
        raw["metadata"]["resourceVersion"] = json!(version);
        raw["metadata"]["managedFields"] = json!([{"time": version}]);
        edit(&mut raw);
        Event::Applied(Object::TcpForward(raw))
    };
    let name = ForwardName::new("shop", "one");
    let accepted = |raw: &mut Value| {
        let condition = json!({"type": "Accepted", "status": "True", "observedGeneration": 1});
        raw["status"] = json!({"conditions": [condition]});
    };
    let mut index = world();
    let counted = written("7", |raw| raw["status"] = json!({"observedGeneration": 1}));
    assert_eq!(index.apply(counted), names(&[]));
    assert_eq!(index.status_of(&name).unwrap().observed_generation, Some(1));
    assert_eq!(
        index.raw(&name).unwrap()["metadata"]["resourceVersion"],
        "7"
    );
    let edits: [fn(&mut Value); 4] = [
        accepted,
        |raw| raw["metadata"]["generation"] = json!(2),
        |raw| raw["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
        |raw| raw["spec"]["timeouts"] = json!({"idle": "1m"}),
    ];
    for edit in edits {
        assert_eq!(index.apply(written("8", edit)), names(&["one"]));
    }
}

#[test]
fn a_service_may_come_after_its_slices_and_its_forwards() {
    let mut index = Index::new();
    assert_eq!(
        index.apply(slice("web-1", "web", &["10.0.0.1"])),
        names(&[])
    );
    assert_eq!(index.apply(forward("one", 1, to("web"))), names(&["one"]));
    assert_eq!(index.apply(service("web")), names(&["one"]));
    assert_eq!(index.slices("shop", "web").count(), 1);
}

#[test]
fn a_secret_touches_those_that_name_it() {
    let mut index = world();
    index.apply(proxy("four", 1004, "users"));
    assert_eq!(index.apply(secret("other", &["ci"])), names(&[]));
    assert_eq!(index.waiting_for_secrets(), names(&["four"]));
    assert_eq!(index.apply(secret("users", &["ci"])), names(&["four"]));
    assert_eq!(index.waiting_for_secrets(), names(&[]));
    assert_eq!(index.apply(secret("users", &["ci"])), names(&[]));
    let forbidden = secret_is("users", Contents::Forbidden);
    assert_eq!(index.apply(forbidden), names(&["four"]));
    let all = Event::Replaced(Kind::Secret, Vec::new());
    assert_eq!(index.apply(all), names(&["four"]));
    let of_shop = |name: &str| ("shop".to_owned(), name.to_owned());
    assert_eq!(index.secrets_in_use(), BTreeSet::from([of_shop("users")]));
    index.apply(proxy("four", 1004, "others"));
    assert_eq!(index.secrets_in_use(), BTreeSet::from([of_shop("others")]));
    assert_eq!(index.apply(gone(Kind::Secret, "users")), names(&[]));
    index.apply(gone(Kind::TcpForward, "four"));
    assert_eq!(index.secrets_in_use(), BTreeSet::new());
}

#[test]
fn what_is_known_of_a_secret_shows_no_hash() {
    let shown = format!("{:?}", secret("users", &["ci"]));
    assert!(shown.contains("ci") && !shown.contains("$2y$"), "{shown}");
}

#[test]
fn a_slice_that_moves_touches_both_services() {
    let mut index = world();
    let moved = index.apply(slice("web-1", "db", &["10.0.0.1"]));
    assert_eq!(moved, names(&["one", "two", "three"]));
    assert_eq!(index.slices("shop", "web").count(), 0);
    assert_eq!(index.slices("shop", "db").count(), 1);
}

#[test]
fn a_relist_takes_away_what_it_does_not_name() {
    let mut index = world();
    let all = |events: Vec<Event>| {
        events
            .into_iter()
            .filter_map(|event| match event {
                Event::Applied(object) => Some(object),
                _ => None,
            })
            .collect()
    };
    let same = all(vec![service("web"), service("db")]);
    assert_eq!(
        index.apply(Event::Replaced(Kind::Service, same)),
        names(&[])
    );
    let fewer = all(vec![service("web")]);
    assert_eq!(
        index.apply(Event::Replaced(Kind::Service, fewer)),
        names(&["three"])
    );
    let none = index.apply(Event::Replaced(Kind::TcpForward, vec![]));
    assert_eq!(none, names(&["one", "two", "three"]));
    assert_eq!(index.names().count(), 0);
    assert_eq!(index.uses_of_services.keys().count(), 0);
}

#[test]
fn a_forward_that_stops_using_a_service_is_left_alone() {
    let mut index = world();
    index.apply(forward("one", 1001, to("db")));
    assert_eq!(index.apply(gone(Kind::Service, "web")), names(&["two"]));
}

#[test]
fn a_status_is_read_if_it_can_be() {
    let mut index = Index::new();
    let mut good = raw("good", 1, to("web"));
    good["status"] = json!({"observedGeneration": 3});
    let mut odd = raw("odd", 1, to("web"));
    odd["status"] = json!({"observedGeneration": "three"});
    index.apply(Event::Applied(Object::TcpForward(good)));
    index.apply(Event::Applied(Object::TcpForward(odd)));
    let status = index.status_of(&ForwardName::new("shop", "good")).unwrap();
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(index.status_of(&ForwardName::new("shop", "odd")), None);
}
