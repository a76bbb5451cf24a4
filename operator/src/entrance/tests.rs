use serde_json::json;

use super::*;

fn forward(namespace: &str, name: &str) -> ForwardName {
    ForwardName::new(namespace, name)
}

fn entrance(change: impl FnOnce(&mut Entrance)) -> Entrance {
    let mut entrance = Entrance {
        pool: "edge".to_owned(),
        owner: "pool-uid".to_owned(),
        forward: forward("shop", "db"),
        namespace: "proxies".to_owned(),
        port: 5432,
        count: 1,
        expose: Expose::DEFAULT,
    };
    change(&mut entrance);
    entrance
}

/// As the API server shows what was written.
pub(crate) fn stored(body: &Value, change: impl FnOnce(&mut Value)) -> Live {
    let mut raw = body.clone();
    raw["metadata"]["uid"] = json!("service-uid");
    raw["metadata"]["resourceVersion"] = json!("7");
    raw["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    raw["spec"]["clusterIPs"] = json!(["10.96.3.7"]);
    change(&mut raw);
    reduce(&serde_json::from_value(raw).unwrap())
}

fn wish(entrance: &Entrance) -> Wish<'_> {
    Wish {
        entrance: Some(entrance),
        gate: Gate::Open,
        is_held: false,
        first: None,
        kept: Some(20_000),
    }
}

fn load_balancer(entrance: &mut Entrance) {
    entrance.expose = Expose {
        kind: ExposeType::LoadBalancer,
        policy: Some(TrafficPolicy::Local),
        class: Some("example.com/lb".to_owned()),
        annotations: BTreeMap::from([("example.com/tier".to_owned(), "gold".to_owned())]),
    };
}

#[test]
fn names_are_labels_that_no_other_pair_has() {
    let long = "x".repeat(200);
    let pairs = [
        ("edge", forward("shop", "db")),
        ("other", forward("shop", "db")),
        ("edge", forward("a-b", "c")),
        ("edge", forward("b", "c-a")),
        ("edge", forward("shop", "1.db.example")),
        ("edge", forward("shop", &long)),
        ("edge", forward("shop", &format!("{long}y"))),
    ];
    let names = pairs.map(|(pool, forward)| name(pool, &forward));
    for name in &names {
        assert!(name.len() <= 63, "{name}");
        assert!(crate::validate::metadata::is_label(name), "{name}");
        assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
    }
    let different: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(different.len(), names.len());
    assert!(names[0].starts_with("db-shop-"), "{}", names[0]);
}

#[test]
fn what_is_written_is_whole_and_nothing_of_others() {
    let body = entrance(load_balancer).body(20_000, Gate::Closed);
    let name = name("edge", &forward("shop", "db"));
    let digest = &body["metadata"]["annotations"]["tcpforward.dev/applied"];
    assert_eq!(
        body,
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": name, "namespace": "proxies",
                "labels": {"app.kubernetes.io/managed-by": "tcpforward-operator",
                           "tcpforward.dev/data-plane": "edge"},
                "annotations": {"tcpforward.dev/forward": "shop/db", "tcpforward.dev/applied": digest,
                                "example.com/tier": "gold"},
                "ownerReferences": [{"apiVersion": "tcpforward.dev/v1alpha1", "kind": "DataPlane",
                                     "name": "edge", "uid": "pool-uid"}],
            },
            "spec": {
                "type": "LoadBalancer",
                "externalTrafficPolicy": "Local",
                "loadBalancerClass": "example.com/lb",
                "selector": {"tcpforward.dev/data-plane": "edge", "tcpforward.dev/entrance": "closed"},
                "ports": [{"name": "tcp-5432", "port": 5432, "targetPort": 20_000, "protocol": "TCP"}],
            },
        })
    );
    let open = entrance(|_| {}).body(20_000, Gate::Open);
    assert_eq!(
        open["spec"]["selector"],
        json!({"tcpforward.dev/data-plane": "edge"})
    );
}

#[test]
fn a_service_is_made_closed_claimed_opened_and_then_left_alone() {
    let wanted = entrance(|_| {});
    let new = Wish {
        first: Some(20_000),
        kept: None,
        ..wish(&wanted)
    };
    let Some(Deed::Create(body)) = deed(&new, None) else {
        panic!("nothing is created");
    };
    assert_eq!(body, wanted.body(20_000, Gate::Closed));
    let created = stored(&body, |raw| {
        raw["metadata"]["managedFields"] = json!([
            {"manager": "someone", "operation": "Update", "fieldsV1": {"f:spec": {}}},
            {"manager": "tcpforward-operator", "operation": "Update",
             "fieldsV1": {"f:spec": {"f:ports": {}}}},
        ]);
    });
    let Some(Deed::Claim(patch)) = deed(&wish(&wanted), Some(&created)) else {
        panic!("it is not claimed");
    };
    assert_eq!(patch["metadata"]["resourceVersion"], "7");
    let managers = patch["metadata"]["managedFields"].as_array().unwrap();
    let operations: Vec<_> = managers.iter().map(|entry| &entry["operation"]).collect();
    assert_eq!(operations, ["Update", "Apply"]);
    let claimed = stored(&body, |_| {});
    let owned = claimed.owned.as_deref().unwrap();
    assert_eq!(
        (owned.gate, owned.allocation),
        (Some(Gate::Closed), Some((20_000, 1)))
    );
    let Some(Deed::Apply(open)) = deed(&wish(&wanted), Some(&claimed)) else {
        panic!("it is not opened");
    };
    assert_eq!(open["metadata"]["uid"], "service-uid");
    assert_eq!(open["metadata"]["resourceVersion"], "7");
    let opened = stored(&wanted.body(20_000, Gate::Open), |_| {});
    assert_eq!(deed(&wish(&wanted), Some(&opened)), None);
    let closed = Wish {
        gate: Gate::Closed,
        ..wish(&wanted)
    };
    assert_eq!(deed(&closed, Some(&claimed)), None);
}

#[test]
fn what_nobody_wants_is_closed_and_deleted_once_it_is_not_held() {
    let wanted = entrance(|_| {});
    let opened = stored(&wanted.body(20_000, Gate::Open), |raw| {
        raw["spec"]["selector"]["colour"] = json!("red");
    });
    let none = Wish::none(true);
    let Some(Deed::Close(patch)) = deed(&none, Some(&opened)) else {
        panic!("it is not closed");
    };
    let selector = json!({"tcpforward.dev/data-plane": "edge", "colour": null,
                          "tcpforward.dev/entrance": "closed"});
    assert_eq!(patch["spec"], json!({"selector": selector}));
    assert_eq!(
        patch["metadata"],
        json!({"uid": "service-uid", "resourceVersion": "7"})
    );
    let closed = stored(&wanted.body(20_000, Gate::Closed), |_| {});
    assert_eq!(deed(&none, Some(&closed)), None);
    let over = Wish::none(false);
    let deleted = deed(&over, Some(&closed));
    assert_eq!(deleted, Some(Deed::Delete("service-uid".to_owned())));
    let leaving = stored(&wanted.body(20_000, Gate::Open), |raw| {
        raw["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    assert_eq!(deed(&over, Some(&leaving)), None);
}

#[test]
fn other_ports_of_pods_are_for_a_closed_service_that_nobody_holds() {
    let wanted = entrance(|entrance| entrance.count = 3);
    let narrow = entrance(|_| {});
    let moving = Wish {
        first: Some(21_000),
        kept: None,
        gate: Gate::Closed,
        ..wish(&wanted)
    };
    let opened = stored(&narrow.body(20_000, Gate::Open), |_| {});
    assert!(matches!(deed(&moving, Some(&opened)), Some(Deed::Close(_))));
    let closed = stored(&narrow.body(20_000, Gate::Closed), |_| {});
    let held = Wish {
        is_held: true,
        ..moving
    };
    assert_eq!(deed(&held, Some(&closed)), None);
    let Some(Deed::Apply(body)) = deed(&moving, Some(&closed)) else {
        panic!("it does not move");
    };
    assert_eq!(body["spec"]["ports"][2]["targetPort"], 21_002);
    assert_eq!(
        body["spec"]["selector"]["tcpforward.dev/entrance"],
        "closed"
    );
    let full = Wish {
        first: None,
        ..moving
    };
    assert_eq!(deed(&full, Some(&closed)), None, "there is no room");
}

#[test]
fn what_is_ours_is_taken_back_and_what_is_others_stays() {
    let wanted = entrance(load_balancer);
    let seen = |change: fn(&mut Value)| {
        let live = stored(&wanted.body(20_000, Gate::Open), change);
        deed(&wish(&wanted), Some(&live)).is_some()
    };
    let others: [fn(&mut Value); 5] = [
        |raw| raw["metadata"]["annotations"]["example.com/note"] = json!("mine"),
        |raw| raw["metadata"]["labels"]["team"] = json!("net"),
        |raw| raw["spec"]["externalIPs"] = json!(["203.0.113.9"]),
        |raw| raw["spec"]["healthCheckNodePort"] = json!(31_000),
        |raw| raw["spec"]["ports"][0]["nodePort"] = json!(30_123),
    ];
    assert_eq!(others.map(seen), [false; 5]);
    let ours: [fn(&mut Value); 8] = [
        |raw| raw["spec"]["type"] = json!("NodePort"),
        |raw| raw["spec"]["ports"][0]["targetPort"] = json!("http"),
        |raw| raw["spec"]["ports"][0]["port"] = json!(1),
        |raw| raw["spec"]["externalTrafficPolicy"] = json!("Cluster"),
        |raw| raw["spec"]["selector"] = json!({"app": "other"}),
        |raw| raw["metadata"]["annotations"]["example.com/tier"] = json!("lead"),
        |raw| raw["metadata"]["annotations"]["tcpforward.dev/applied"] = json!(""),
        |raw| raw["metadata"]["ownerReferences"] = json!([]),
    ];
    assert_eq!(ours.map(seen), [true; 8]);
}

#[test]
fn who_does_not_say_that_it_is_ours_is_foreign_and_never_touched() {
    let wanted = entrance(|_| {});
    let changes: [fn(&mut Value); 3] = [
        |raw| raw["metadata"]["labels"] = json!({}),
        |raw| raw["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("Helm"),
        |raw| raw["metadata"]["annotations"] = json!({}),
    ];
    for change in changes {
        let live = stored(&wanted.body(20_000, Gate::Open), change);
        assert_eq!(live.owned, None);
        assert_eq!(deed(&wish(&wanted), Some(&live)), None);
    }
}

#[test]
fn clients_are_told_addresses_from_outside_to_inside() {
    let addresses = |change: fn(&mut Entrance), live: fn(&mut Value)| {
        let live = stored(&entrance(change).body(20_000, Gate::Open), live);
        let owned = live.owned.unwrap();
        let shown = owned.addresses.iter();
        let shown = shown.map(|a| format!("{} {}:{}", a.kind, a.value, a.port));
        (shown.collect::<Vec<_>>().join(", "), owned.is_balanced)
    };
    let host = format!("Hostname {}.proxies.svc:5432", entrance(|_| {}).name());
    let within = format!("IPAddress 10.96.3.7:5432, {host}");
    assert_eq!(addresses(|_| {}, |_| {}), (within.clone(), false));
    let given = addresses(load_balancer, |raw| {
        raw["status"] = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.5"}, {"hostname": "lb.example"}]}});
    });
    let outside = "IPAddress 203.0.113.5:5432, Hostname lb.example:5432";
    assert_eq!(given, (format!("{outside}, {within}"), true));
    let of_nodes = addresses(
        |entrance| entrance.expose.kind = ExposeType::NodePort,
        |raw| raw["spec"]["ports"][0]["nodePort"] = json!(30_123),
    );
    assert_eq!(of_nodes.0, format!("{within}, NodePort node:30123"));
}

#[test]
fn ports_that_someone_else_puts_in_are_taken_out_and_change_nothing() {
    let wanted = entrance(|_| {});
    let with_more = stored(&wanted.body(20_000, Gate::Open), |raw| {
        raw["spec"]["ports"][0]["nodePort"] = json!(31_000);
        let stray = json!({"name": "stray", "port": 9000, "targetPort": 9000});
        raw["spec"]["ports"].as_array_mut().unwrap().push(stray);
    });
    let owned = with_more.owned.as_deref().unwrap();
    assert_eq!(wanted.allocation(owned), Some(20_000));
    let Some(Deed::Trim(patch)) = deed(&wish(&wanted), Some(&with_more)) else {
        panic!("it stays");
    };
    let left = json!([{"name": "tcp-5432", "port": 5432, "targetPort": 20_000, "protocol": "TCP",
                       "nodePort": 31_000}]);
    assert_eq!(patch["spec"], json!({"ports": left}));
    assert_eq!(patch["metadata"]["resourceVersion"], "7");
}
