use tcpforward_protocol::answer::{HostError, HostErrorKind, ResolvedHost};

use super::*;

const HOST: &str = "db.example.com:5432";

/// One target by name.
fn named() -> Outcome {
    let targets = json!([{"name": "db", "address": {"host": "db.example.com", "port": 5432}}]);
    outcome(vec![forward("one", 5432, targets)])
}

fn resolving(pod: &str, outcome: &Outcome, addresses: &[&str], error: Option<&str>) -> Member {
    let host = ResolvedHost {
        forward: name(),
        target: "db".into(),
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        error: error.map(|text| HostError::new(HostErrorKind::NotResolved, text)),
    };
    Member {
        hosts: vec![host],
        ..member(pod, Some(outcome))
    }
}

fn available(status: &TcpForwardStatus) -> String {
    words(status).swap_remove(3)
}

#[test]
fn backends_that_sessions_avoid_are_counted_as_ejected() {
    let outcome = good();
    let avoided = |pod: &str, left_out: LeftOut| {
        let mut member = failing(pod, &outcome, &["10.0.0.1:8080"]);
        member.failing[0].left_out = left_out;
        member
    };
    let cases = [
        (vec![LeftOut::Ejected], 1),
        (vec![LeftOut::Unhealthy], 1),
        (vec![LeftOut::No], 0),
        (vec![LeftOut::Ejected, LeftOut::No], 0),
        (vec![LeftOut::Ejected, LeftOut::Unhealthy, LeftOut::No], 1),
    ];
    for (said, ejected) in cases {
        let pods = said.iter().enumerate();
        let members = pods.map(|(i, left_out)| avoided(&format!("pod-{i}"), *left_out));
        let status = status(&outcome, &pool(members.collect()));
        let backends = status.backends.unwrap();
        let counts = (backends.total, backends.healthy, backends.ejected);
        assert_eq!(counts, (2, 1, ejected), "{said:?}");
    }
}

#[test]
fn addresses_of_a_name_are_backends() {
    let outcome = named();
    let one = resolving("a", &outcome, &["10.1.0.1", "10.1.0.2", "10.1.0.1"], None);
    let two = resolving("b", &outcome, &["10.1.0.2", "10.1.0.3"], None);
    let status = status(&outcome, &pool(vec![one, two]));
    let counts = status.backends.as_ref().unwrap();
    assert_eq!((counts.summary.as_str(), counts.total), ("3/3", 3));
    let healthy = "BackendsAvailable=True BackendsAvailable: 3 of 3 backends are healthy";
    assert_eq!(available(&status), healthy);
}

#[test]
fn an_address_of_a_name_is_judged_by_those_that_know_it() {
    let outcome = named();
    let mut one = resolving("a", &outcome, &["10.1.0.1"], None);
    one.failing = failing("a", &outcome, &["10.1.0.1:5432"]).failing;
    one.failing[0].target = "db".into();
    let two = resolving("b", &outcome, &["10.1.0.2"], None);
    let counts = status(&outcome, &pool(vec![one, two])).backends.unwrap();
    assert_eq!(counts.summary, "1/2");
    assert_eq!(counts.unhealthy[0].address, "10.1.0.1:5432");
}

#[test]
fn a_name_that_leads_nowhere_is_shown_with_its_error() {
    let outcome = named();
    let error = Some("no such name (NXDOMAIN)");
    let nowhere = pool(vec![resolving("a", &outcome, &[], error)]);
    let first = status(&outcome, &nowhere);
    assert_eq!(
        available(&first),
        "BackendsAvailable=False NameNotResolved: db.example.com:5432 of target db leads nowhere: no \
         such name (NXDOMAIN); does the name exist, and do data planes reach their DNS server?"
    );
    let shown = first.backends.clone().unwrap().unhealthy.swap_remove(0);
    let words = (
        shown.target.as_str(),
        shown.address.as_str(),
        shown.reason.as_str(),
    );
    assert_eq!(words, ("db", HOST, "NameNotResolved"));
    assert_eq!(shown.since, Time(at(0)));
    // It has been so since then.
    let later = compute(&outcome, &nowhere, Addresses::Omitted, Some(&first), at(60));
    assert_eq!(later.backends, first.backends);
}

#[test]
fn what_is_wrong_with_a_name_has_a_word_of_its_own() {
    let outcome = named();
    let shown = |kind, addresses: &[&str]| {
        let mut member = resolving("a", &outcome, addresses, None);
        member.hosts[0].error = Some(HostError::new(kind, "127.0.0.1 is left out"));
        let status = status(&outcome, &pool(vec![member]));
        let shown = status.backends.clone().unwrap().unhealthy.swap_remove(0);
        let available = available(&status);
        let verdict = available.split(':').next().unwrap().to_owned();
        (shown.reason, verdict)
    };
    let fine = "BackendsAvailable=True BackendsAvailable";
    for (kind, addresses, reason, verdict) in [
        (
            HostErrorKind::Forbidden,
            &["10.1.0.1"][..],
            "NameNotPermitted",
            fine,
        ),
        (
            HostErrorKind::Forbidden,
            &[],
            "NameNotPermitted",
            "BackendsAvailable=False NameNotPermitted",
        ),
        (
            HostErrorKind::PartlyResolved,
            &["10.1.0.1"],
            "NamePartlyResolved",
            fine,
        ),
        (
            HostErrorKind::NotResolved,
            &["10.1.0.1"],
            "NameNotResolved",
            fine,
        ),
    ] {
        let expected = (reason.to_owned(), verdict.to_owned());
        assert_eq!(shown(kind, addresses), expected);
    }
}

#[test]
fn a_name_is_the_cause_beside_a_target_of_weight_zero() {
    let targets = json!([
        {"name": "db", "address": {"host": "db.example.com", "port": 5432}},
        {"name": "old", "address": {"host": "10.0.0.9", "port": 5432}, "weight": 0},
    ]);
    let outcome = outcome(vec![forward("one", 5432, targets)]);
    let error = Some("no such name (NXDOMAIN)");
    let status = status(&outcome, &pool(vec![resolving("a", &outcome, &[], error)]));
    let cause =
        "BackendsAvailable=False NameNotResolved: db.example.com:5432 of target db leads nowhere";
    assert!(
        available(&status).starts_with(cause),
        "{}",
        available(&status)
    );
}

#[test]
fn earlier_answers_of_a_name_still_count() {
    let outcome = named();
    let member = |pod: &str| resolving(pod, &outcome, &["10.1.0.1"], Some("timed out"));
    let status = status(&outcome, &pool(vec![member("a"), member("b")]));
    let counts = status.backends.as_ref().unwrap();
    assert_eq!(
        (counts.summary.as_str(), counts.unhealthy.len()),
        ("1/1", 1)
    );
    assert!(available(&status).starts_with("BackendsAvailable=True"));
}

#[test]
fn a_name_that_nobody_has_asked_for_yet_is_said() {
    let outcome = named();
    let status = status(&outcome, &pool(vec![member("a", Some(&outcome))]));
    assert_eq!(
        available(&status),
        "BackendsAvailable=False NameNotResolved: no data plane has looked up db.example.com yet"
    );
}

/// The status of a proxy with these rules, beside Service web with two backends.
fn proxy(rules: &serde_json::Value) -> TcpForwardStatus {
    let mut raw = raw("one", 3128, json!([]));
    raw["spec"] = json!({
        "listener": {"port": 3128, "sourceRanges": ["10.0.0.0/8"]},
        "httpConnect": {"rules": rules},
    });
    let outcome = outcome(vec![
        service("web"),
        slice("web-1", "web", &["10.0.0.1", "10.0.0.2"]),
        Event::Applied(Object::TcpForward(raw)),
    ]);
    let pool = PoolView {
        members: vec![member("p1", Some(&outcome))],
        ..PoolView::default()
    };
    compute(&outcome, &pool, Addresses::Omitted, None, at(0))
}

#[test]
fn a_proxy_is_available_whatever_its_services_are() {
    let words = |status: &TcpForwardStatus, type_: &str| {
        let condition = condition(status, type_).unwrap();
        (condition.status.clone(), condition.message.clone())
    };
    let hosts = proxy(&json!([{"name": "a", "action": "Allow", "hosts": ["*"]}]));
    assert_eq!(
        words(&hosts, BACKENDS_AVAILABLE),
        (
            "True".to_owned(),
            "a proxy needs no backends: its clients say where they go".to_owned()
        )
    );
    assert_eq!(words(&hosts, READY).0, "True");
    assert_eq!(hosts.backends, None);

    let rule = |services: serde_json::Value| json!([{"name": "a", "action": "Allow", "services": services, "ports": [80]}]);
    let services = proxy(&rule(json!([{"name": "web"}])));
    assert_eq!(
        words(&services, BACKENDS_AVAILABLE),
        (
            "True".to_owned(),
            "clients of a proxy say where they go; 2 of 2 backends of its Services are healthy"
                .to_owned()
        )
    );
    assert_eq!(services.backends.as_ref().unwrap().summary, "2/2");

    let missing = proxy(&rule(json!([{"name": "nobody"}])));
    assert_eq!(words(&missing, BACKENDS_AVAILABLE).0, "True");
    assert_eq!(words(&missing, RESOLVED_REFS).0, "False");
    let (_, message) = words(&missing, READY);
    assert!(
        message.contains("spec.httpConnect.rules[0].services[0]"),
        "{message}"
    );
}
