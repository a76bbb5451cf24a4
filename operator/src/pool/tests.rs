use serde_json::json;

use super::*;
use crate::forward;

fn pool(spec: Value) -> Result<Pool, Rejection> {
    let mut all = json!({"podNamespace": "proxies", "serviceAccountName": "tcpforward"});
    let written = spec.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(written);
    parse(&json!({
        "apiVersion": "tcpforward.dev/v1alpha1",
        "kind": "DataPlane",
        "metadata": {"name": "edge"},
        "spec": all,
    }))
}

fn draft(spec: Value) -> Draft {
    forward::parse(&json!({
        "apiVersion": "tcpforward.dev/v1alpha1",
        "kind": "TcpForward",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": spec,
    }))
    .unwrap()
}

fn relay(listener: Value) -> Draft {
    draft(json!({
        "listener": listener,
        "relay": {"targets": [{"name": "a", "service": {"name": "web", "port": 80}}]},
    }))
}

fn proxy(mode: &str) -> Draft {
    draft(json!({
        "listener": {"port": 3128, "sourceRanges": ["10.0.0.0/8"]},
        "httpConnect": {"mode": mode, "rules": [{"name": "r", "action": "Allow"}]},
    }))
}

fn field(spec: Value, namespace: &str, draft: &Draft) -> Option<String> {
    let labels = Labels::from([("team".to_owned(), namespace.to_owned())]);
    let rejection = pool(spec)
        .unwrap()
        .refusal("edge", namespace, Some(&labels), draft)?;
    assert_eq!(rejection.reason, status::NOT_ALLOWED_BY_DATA_PLANE);
    assert!(
        rejection.message.starts_with(&rejection.field),
        "{rejection}"
    );
    assert!(rejection.message.contains("DataPlane edge"), "{rejection}");
    assert!(rejection.message.chars().count() <= 256, "{rejection}");
    Some(rejection.field)
}

#[test]
fn what_is_not_said_is_allowed_but_for_reports() {
    assert_eq!(field(json!({}), "shop", &relay(json!({"port": 1}))), None);
    assert_eq!(field(json!({}), "shop", &proxy("Enforce")), None);
    let mode = Some("spec.httpConnect.mode".to_owned());
    assert_eq!(field(json!({}), "shop", &proxy("Report")), mode);
    let any = json!({"connectModes": "Any"});
    assert_eq!(field(any, "shop", &proxy("Report")), None);
    let bare = pool(json!({})).unwrap();
    assert_eq!(bare.address_targets, AddressTargets::External);
    assert_eq!(bare.forwards_per_namespace, None);
    assert_eq!(bare.connections_per_forward, None);
}

#[test]
fn ports_are_for_whom_they_are() {
    let ports = json!({"ports": [
        {"port": 5432, "namespaces": ["shop", "bank"]},
        {"port": 8000, "endPort": 8004},
        {"port": 8005, "endPort": 8009, "namespaces": ["shop"]},
    ]});
    let table = [
        ("shop", json!({"port": 5432}), true),
        ("mail", json!({"port": 5432}), false),
        ("mail", json!({"port": 8004}), true),
        ("mail", json!({"port": 8005}), false),
        ("shop", json!({"port": 8000, "endPort": 8009}), true),
        ("mail", json!({"port": 8000, "endPort": 8009}), false),
        ("shop", json!({"port": 8000, "endPort": 8010}), false),
        ("shop", json!({"port": 80}), false),
    ];
    for (namespace, listener, allowed) in table {
        let found = field(ports.clone(), namespace, &relay(listener.clone()));
        let expected = (!allowed).then(|| "spec.listener.port".to_owned());
        assert_eq!(found, expected, "{namespace} {listener}");
    }
}

#[test]
fn a_refusal_names_what_is_allowed() {
    let says = |ports: Value| {
        let pool = pool(json!({ "ports": ports })).unwrap();
        let refused = pool.refusal("edge", "shop", None, &relay(json!({"port": 80})));
        refused.unwrap().message
    };
    let some = says(json!([{"port": 81}, {"port": 90, "endPort": 99}]));
    assert!(some.contains("namespace shop only 81, 90-99;"), "{some}");
    let none = says(json!([{"port": 80, "namespaces": ["bank"]}]));
    assert!(none.contains("namespace shop none;"), "{none}");
    let many: Vec<_> = (0..60).map(|i| json!({"port": 60_000 + i * 2})).collect();
    let many = says(json!(many));
    assert!(many.contains("60010, …;") && many.len() < 256, "{many}");
}

#[test]
fn namespaces_are_allowed_by_their_labels() {
    let selected = json!({"allowedNamespaces": {
        "from": "Selector", "selector": {"matchLabels": {"team": "shop"}},
    }});
    let forward = relay(json!({"port": 80}));
    assert_eq!(field(selected.clone(), "shop", &forward), None);
    let namespace = Some("metadata.namespace".to_owned());
    assert_eq!(field(selected, "mail", &forward), namespace);
}

#[test]
fn a_pool_that_nobody_can_name_is_no_pool() {
    let refused = parse(&json!({
        "apiVersion": "tcpforward.dev/v1alpha1",
        "kind": "DataPlane",
        "metadata": {"name": "edge.eu"},
        "spec": {"podNamespace": "p", "serviceAccountName": "s"},
    }))
    .unwrap_err();
    assert_eq!(refused.field, "metadata.name");
    assert_eq!(
        pool(json!({"podNamespace": "P"})).unwrap_err().field,
        "spec.podNamespace"
    );
}
