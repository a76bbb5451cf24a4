use serde_json::json;

use super::*;

#[test]
fn every_pattern_of_the_schema_is_known() {
    let of = |kind| crd::schema(kind)["properties"]["spec"].to_string();
    let text = Kind::ALL.map(of).concat();
    for (at, _) in text.match_indices("\"pattern\":") {
        let rest = &text[at..];
        let known = [
            crd::LABEL,
            crd::LABEL_KEY,
            crd::LABEL_VALUE,
            crd::DURATION,
            crd::HEX,
            crd::HOST_PATTERN,
            crd::HTTP_PATH,
            crd::SIZE,
            crd::SECONDS,
            crd::CONGESTION_CONTROL,
            crd::SUBDOMAIN,
            crd::USER_NAME,
        ];
        let known = known
            .iter()
            .any(|p| rest.starts_with(&format!("\"pattern\":{}", json!(p))));
        assert!(known, "{}", &rest[..80]);
    }
}

#[test]
fn every_rule_compiles() {
    fn errors(schema: &CompiledSchema) -> usize {
        schema.compilation_errors().len()
            + schema.properties.values().map(errors).sum::<usize>()
            + schema.items.as_deref().map_or(0, errors)
    }
    assert_eq!(errors(&TCP_FORWARD.compiled), 0);
    assert_eq!(errors(&DATA_PLANE.compiled), 0);
}

fn forward(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut raw = json!({
        "apiVersion": "tcpforward.dev/v1alpha1",
        "kind": "TcpForward",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "listener": {"port": 8888},
            "relay": {"targets": [{"name": "a", "service": {"name": "web", "port": "http"}}]},
        },
    });
    change(&mut raw);
    tcp_forward(&raw).iter().map(Finding::to_string).collect()
}

#[test]
fn a_null_is_an_absent_field() {
    let findings = forward(|f| {
        f["spec"]["listener"]["address"] = Value::Null;
        f["spec"]["dataPlaneName"] = Value::Null;
    });
    assert_eq!(findings, [""; 0]);
    let findings = forward(|f| f["spec"]["listener"]["port"] = Value::Null);
    assert_eq!(
        findings,
        ["spec.listener.port: is required; write a whole number from 1 to 65535"]
    );
}

#[test]
fn a_list_that_is_too_long_says_what_can_be_done() {
    let ranges: Vec<String> = (0..=256)
        .map(|i| format!("10.{}.{}.0/24", i / 256, i % 256))
        .collect();
    let findings = forward(|f| f["spec"]["listener"]["sourceRanges"] = json!(ranges));
    assert_eq!(
        findings,
        [
            "spec.listener.sourceRanges is 257: is the number of entries; at most 256 are allowed; take \
          some out"
        ]
    );
}

#[test]
fn a_status_of_any_shape_is_not_the_authors_fault() {
    assert_eq!(forward(|f| f["status"] = json!({"x": 1})), [""; 0]);
}

#[test]
fn a_finding_says_field_value_fault_and_remedy() {
    let findings = forward(|f| f["spec"]["relay"]["dial"] = json!({"timeout": "5"}));
    assert_eq!(
        findings,
        [
            "spec.relay.dial.timeout is \"5\": is not of the right form; write a duration with a \
          unit: h, m, s or ms, like 5s, 250ms or 1h30m"
        ]
    );
    let findings = forward(|f| f["spec"]["relay"]["dial"] = json!({"timeout": "6s"}));
    assert_eq!(
        findings,
        [
            "spec.relay.dial: timeout (6s) must not be longer than deadline (5s, the default); one \
          attempt has to fit into all of them"
        ]
    );
}

#[test]
fn all_faults_are_found_at_once() {
    let findings = forward(|f| {
        f["spec"]["listener"]["port"] = json!(0);
        f["spec"]["colour"] = json!("red");
        f["metadata"]["name"] = json!("Web");
    });
    assert_eq!(findings.len(), 3, "{findings:#?}");
}

fn pool(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut raw = json!({
        "apiVersion": "tcpforward.dev/v1alpha1",
        "kind": "DataPlane",
        "metadata": {"name": "edge"},
        "spec": {
            "podNamespace": "proxies",
            "serviceAccountName": "tcpforward",
            "allowedNamespaces": {"from": "Selector", "selector": {
                "matchLabels": {"team.example.com/name": "a", "tier": ""},
                "matchExpressions": [
                    {"key": "tier", "operator": "In", "values": ["", "gold"]},
                    {"key": "legacy", "operator": "DoesNotExist"},
                ],
            }},
            "ports": [{"port": 80, "endPort": 80, "namespaces": ["shop"]}, {"port": 5432}],
            "addressTargets": "Any",
            "connectModes": "Any",
            "limits": {"forwardsPerNamespace": 5, "connectionsPerForward": 100},
        },
    });
    change(&mut raw);
    data_plane(&raw).iter().map(Finding::to_string).collect()
}

#[test]
fn what_a_pool_must_not_say_is_found_with_its_field() {
    assert_eq!(pool(|_| {}), [""; 0]);
    assert_eq!(
        pool(|p| p["spec"]["allowedNamespaces"] = json!({"from": "All"})),
        [""; 0]
    );
    type Change = fn(&mut Value);
    let table: [(Change, &str); 10] = [
        (
            |p| p["spec"]["podNamespace"] = json!("A"),
            "spec.podNamespace is \"A\"",
        ),
        (
            |p| p["spec"]["podNamespace"] = Value::Null,
            "spec.podNamespace: is required",
        ),
        (
            |p| p["spec"]["serviceAccountName"] = json!("a:b"),
            "spec.serviceAccountName is",
        ),
        (
            |p| p["spec"]["allowedNamespaces"]["from"] = json!("All"),
            "spec.allowedNamespaces.selector: a selector goes with",
        ),
        (
            |p| p["spec"]["allowedNamespaces"] = json!({"from": "Selector"}),
            "spec.allowedNamespaces.selector: a selector goes with",
        ),
        (
            |p| p["spec"]["allowedNamespaces"]["selector"]["matchLabels"] = json!({"a b": "c"}),
            "spec.allowedNamespaces.selector.matchLabels: a key is not one of a label",
        ),
        (
            |p| p["spec"]["allowedNamespaces"]["selector"]["matchLabels"] = json!({"a": "b c"}),
            "spec.allowedNamespaces.selector.matchLabels.a is \"b c\"",
        ),
        (
            |p| p["spec"]["ports"][0]["endPort"] = json!(79),
            "spec.ports[0].endPort is 79: must not be below port",
        ),
        (
            |p| p["spec"]["ports"] = json!([]),
            "spec.ports is []: needs at least one entry",
        ),
        (
            |p| p["spec"]["limits"]["forwardsPerNamespace"] = json!(0),
            "spec.limits.forwardsPerNamespace is 0: is out of bounds",
        ),
    ];
    for (n, (change, expected)) in table.into_iter().enumerate() {
        let findings = pool(change);
        let [only] = findings.as_slice() else {
            panic!("row {n}: {findings:#?}")
        };
        assert!(only.starts_with(expected), "row {n}: {only}");
    }
}

#[test]
fn only_in_and_not_in_compare_with_values() {
    let findings = pool(|p| {
        let selector = &mut p["spec"]["allowedNamespaces"]["selector"];
        selector["matchExpressions"][1]["values"] = json!(["x"]);
        selector["matchExpressions"][0]["values"] = json!([]);
    });
    let at = |n| format!("spec.allowedNamespaces.selector.matchExpressions[{n}].values: values go");
    assert!(
        findings
            .iter()
            .zip([at(0), at(1)])
            .all(|(f, at)| f.starts_with(&at)),
        "{findings:?}"
    );
    assert_eq!(findings.len(), 2);
}
