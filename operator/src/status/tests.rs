use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tcpforward_protocol::answer::{
    DialError, FailingBackend, LeftOut, Refusal, RefusalCode, ServedSpec,
};
use tcpforward_protocol::snapshot::{Forward, ForwardName};
use tcpforward_protocol::version::Hash;

use super::*;
use crate::compile::{Compiler, Rules};
use crate::index::Index;
use crate::index::tests::{self as world, forward, raw, service, slice, to};
use crate::index::{Event, Object};

mod backends;
mod pods;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn name() -> ForwardName {
    ForwardName::new("shop", "one")
}

/// The outcome of forward shop/one in a world.
fn outcome(events: Vec<Event>) -> Outcome {
    let mut index = Index::new();
    index.apply(world::pool("default", json!({})));
    for event in events {
        index.apply(event);
    }
    let mut compiler = Compiler::new(Rules::of_cluster("cluster.local"));
    let all = index.names().cloned().collect();
    compiler.compile(&index, &all);
    compiler.outcome(&name()).unwrap().clone()
}

/// Two backends, everything fine.
fn good() -> Outcome {
    outcome(vec![
        service("web"),
        slice("web-1", "web", &["10.0.0.1", "10.0.0.2"]),
        forward("one", 8888, to("web")),
    ])
}

fn spec(of: &Outcome) -> &Arc<Forward> {
    of.forward.as_ref().unwrap()
}

fn member(pod: &str, serving: Option<&Outcome>) -> Member {
    Member {
        pod: pod.into(),
        serving: serving.map(|outcome| ServedSpec {
            hash: spec(outcome).spec_hash,
            generation: outcome.generation,
        }),
        refused: None,
        failing: vec![],
        hosts: vec![],
        listeners: vec!["127.0.0.1:8888".parse().unwrap()],
    }
}

fn refusing(pod: &str, outcome: &Outcome, text: &str) -> Member {
    Member {
        refused: Some(Refusal {
            forward: name(),
            spec_hash: spec(outcome).spec_hash,
            code: RefusalCode::BindFailed,
            text: text.into(),
        }),
        ..member(pod, None)
    }
}

fn failing(pod: &str, outcome: &Outcome, addresses: &[&str]) -> Member {
    let failing = addresses.iter().map(|address| FailingBackend {
        forward: name(),
        target: "a".into(),
        address: address.parse().unwrap(),
        reason: DialError::Timeout,
        message: "no answer within 1s".into(),
        since_ms: 1_800_000_000_900,
        left_out: LeftOut::No,
    });
    Member {
        failing: failing.collect(),
        ..member(pod, Some(outcome))
    }
}

fn pool(members: Vec<Member>) -> PoolView {
    PoolView {
        members,
        ..PoolView::default()
    }
}

fn status(outcome: &Outcome, pool: &PoolView) -> TcpForwardStatus {
    compute(outcome, pool, Addresses::Omitted, None, at(0))
}

/// `Programmed=False Pending: text` for each condition.
fn words(status: &TcpForwardStatus) -> Vec<String> {
    let words = |c: &Condition| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message);
    status.conditions.iter().map(words).collect()
}

#[test]
fn a_forward_that_works_says_so_whole() {
    let outcome = good();
    let members = vec![member("b", Some(&outcome)), member("a", Some(&outcome))];
    let status = compute(&outcome, &pool(members), Addresses::Reported, None, at(0));
    let condition = |type_: &str, message: &str| {
        json!({
            "type": type_, "status": "True", "reason": type_, "message": message,
            "observedGeneration": 1, "lastTransitionTime": "2027-01-15T08:00:00Z",
        })
    };
    assert_eq!(
        serde_json::to_value(&status).unwrap(),
        json!({
            "observedGeneration": 1,
            "programmedGeneration": 1,
            "conditions": [
                condition("Accepted", "the spec is valid and the port is granted"),
                condition("ResolvedRefs", "every target is found"),
                condition("Programmed", "2 of 2 pods serve generation 1"),
                condition("BackendsAvailable", "2 of 2 backends are healthy"),
                condition("Ready", "accepted, resolved, programmed, and backends are available"),
            ],
            "addresses": [{"type": "IPAddress", "value": "127.0.0.1", "port": 8888}],
            "backends": {"total": 2, "healthy": 2, "ejected": 0, "summary": "2/2"},
            "dataPlanes": {"ready": 2, "programmed": 2, "rejected": 0, "summary": "2/2"},
        })
    );
}

#[test]
fn a_rejected_forward_says_why_and_nothing_else() {
    let rejected = outcome(vec![forward("one", 0, to("web"))]);
    let status = status(&rejected, &pool(vec![member("a", None)]));
    let why = "spec.listener.port is 0: is out of bounds; write a whole number from 1 to 65535";
    assert_eq!(
        words(&status),
        [
            format!("Accepted=False UnsupportedValue: {why}"),
            "ResolvedRefs=Unknown Pending: not looked at while Accepted is not True".into(),
            "Programmed=False Pending: not served while Accepted is not True".into(),
            "BackendsAvailable=Unknown Pending: not looked at while Accepted is not True".into(),
            format!("Ready=False UnsupportedValue: {why}"),
        ]
    );
    assert_eq!(status.backends, None);
    assert_eq!(status.data_planes.unwrap().summary, "0/1");
}

#[test]
fn programmed_means_that_every_member_serves_this_spec() {
    let now = good();
    let mut former = raw("one", 8888, to("web"));
    former["spec"]["timeouts"] = json!({"idle": "1m"});
    let former = outcome(vec![Event::Applied(Object::TcpForward(former))]);
    let stale = Member {
        refused: Some(Refusal {
            forward: name(),
            spec_hash: Hash::of([b"another".as_slice()]),
            code: RefusalCode::BindFailed,
            text: "of a spec that is gone".into(),
        }),
        ..member("a", Some(&now))
    };
    let cases = [
        (
            vec![stale],
            "True Programmed: 1 of 1 pods serve generation 1",
            "1/1",
            Some(1),
        ),
        (
            vec![],
            "False NoDataPlane: no data plane of pool default is connected; start one for this \
             pool, or correct spec.dataPlaneName",
            "0/0",
            None,
        ),
        (
            vec![member("a", Some(&now)), member("b", Some(&former))],
            "False Pending: 1 of 2 pods serve generation 1; waiting for b",
            "1/2",
            Some(1),
        ),
        (
            vec![
                member("a", Some(&now)),
                refusing("b", &now, "port 8888 is in use"),
            ],
            "False Rejected: 1 of 2 pods refuse it: b: port 8888 is in use",
            "1/2",
            None,
        ),
    ];
    for (members, expected, summary, generation) in cases {
        let status = status(&now, &pool(members));
        assert_eq!(words(&status)[2], format!("Programmed={expected}"));
        assert_eq!(status.data_planes.unwrap().summary, summary);
        assert_eq!(status.programmed_generation, generation, "{expected}");
    }
}

#[test]
fn pods_that_lag_are_named_up_to_sixteen() {
    let outcome = good();
    let mut members: Vec<Member> = (0..20).map(|i| member(&format!("p{i:02}"), None)).collect();
    members[3] = refusing("p03", &outcome, &"x".repeat(300));
    let counts = status(&outcome, &pool(members)).data_planes.unwrap();
    assert_eq!(
        (counts.ready, counts.programmed, counts.rejected),
        (20, 0, 1)
    );
    assert_eq!(counts.pending.len(), 16);
    assert_eq!(
        counts.pending[0],
        crate::crd::status::PendingPod {
            pod: "p00".into(),
            generation: None,
            reason: "Pending".into(),
            message: "has not applied generation 1 yet".into(),
        }
    );
    assert_eq!(counts.pending[3].reason, "Rejected");
    assert_eq!(counts.pending[3].message.chars().count(), 256);
}

#[test]
fn a_backend_is_unhealthy_when_most_pods_fail_to_reach_it() {
    let outcome = good();
    let (one, two) = ("10.0.0.1:8080", "10.0.0.2:8080");
    let cases = [
        (
            vec![failing("a", &outcome, &[one]), member("b", Some(&outcome))],
            "2/2",
            true,
        ),
        (
            vec![
                failing("a", &outcome, &[one]),
                failing("b", &outcome, &[one]),
            ],
            "1/2",
            true,
        ),
        (vec![failing("a", &outcome, &[one, two])], "0/2", false),
        (vec![failing("a", &outcome, &["10.0.0.9:1"])], "2/2", true),
        // One pod has one vote, however often it says so.
        (
            vec![
                failing("a", &outcome, &[one, one, one]),
                member("b", Some(&outcome)),
                member("c", Some(&outcome)),
            ],
            "2/2",
            true,
        ),
    ];
    for (members, summary, available) in cases {
        let status = status(&outcome, &pool(members));
        assert_eq!(status.backends.as_ref().unwrap().summary, summary);
        assert_eq!(
            words(&status)[3].starts_with("BackendsAvailable=True"),
            available
        );
    }
    let down = status(&outcome, &pool(vec![failing("a", &outcome, &[two, one])]));
    assert_eq!(
        words(&down)[4],
        "Ready=False NoHealthyBackend: no backend is reached; 10.0.0.1:8080 of target a: no \
         answer within 1s; does a NetworkPolicy or a firewall drop it?"
    );
    let unhealthy = &down.backends.unwrap().unhealthy[0];
    assert_eq!(unhealthy.reason, "DialTimeout");
    assert_eq!(unhealthy.since, Time(at(0)));
}

#[test]
fn a_silence_names_those_whose_policies_may_cause_it() {
    let outcome = good();
    let to = BTreeMap::from([("a".to_owned(), "shop".to_owned())]);
    let cases = [
        (
            Some("edge"),
            to.clone(),
            "no answer within 1s from namespace edge: does a NetworkPolicy in shop allow it?",
        ),
        (
            None,
            to,
            "no answer within 1s; does a NetworkPolicy in shop allow it?",
        ),
        (
            Some("edge"),
            BTreeMap::new(),
            "no answer within 1s from namespace edge: does a NetworkPolicy there, or a firewall on \
             the way, drop it?",
        ),
    ];
    for (from, to, expected) in cases {
        let mut seen = pool(vec![failing(
            "a",
            &outcome,
            &["10.0.0.1:8080", "10.0.0.2:8080"],
        )]);
        let from = from.map(ToOwned::to_owned);
        seen.ways = Ways { from, to };
        let down = status(&outcome, &seen);
        let message = &down.backends.as_ref().unwrap().unhealthy[0].message;
        assert_eq!(message, expected);
        assert!(words(&down)[4].ends_with(expected), "{}", words(&down)[4]);
    }
}

#[test]
fn a_hint_is_never_cut_and_at_most_eight_are_listed() {
    let long = "n".repeat(63);
    let addresses: Vec<String> = (1..=12).map(|i| format!("10.0.0.{i}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let outcome = outcome(vec![
        service("web"),
        slice("web-1", "web", &addresses),
        forward("one", 8888, to("web")),
    ]);
    let failing_ones: Vec<String> = addresses.iter().map(|ip| format!("{ip}:8080")).collect();
    let failing_ones: Vec<&str> = failing_ones.iter().map(String::as_str).collect();
    let mut member = failing("a", &outcome, &failing_ones);
    for failing in &mut member.failing {
        failing.message = "x".repeat(256);
    }
    let mut seen = pool(vec![member]);
    seen.ways = Ways {
        from: Some(long.clone()),
        to: BTreeMap::from([("a".to_owned(), long)]),
    };
    let backends = status(&outcome, &seen).backends.unwrap();
    assert_eq!(backends.unhealthy.len(), 8);
    assert_eq!(backends.summary, "0/12");
    for unhealthy in backends.unhealthy {
        assert!(
            unhealthy.message.ends_with("n allow it?"),
            "{}",
            unhealthy.message
        );
        assert!(unhealthy.message.chars().count() <= TEXT_CHARS);
    }
}

#[test]
fn nothing_to_dial_is_said_with_the_likely_cause() {
    let cases = [
        (
            outcome(vec![service("web"), forward("one", 1, to("web"))]),
            "NoEndpoints: no endpoint takes new sessions; are the Services' pods Ready, and do \
             the selectors match them? targets: a",
        ),
        (
            outcome(vec![forward(
                "one",
                1,
                json!([{"name": "a", "weight": 0, "address": {"host": "10.0.0.1", "port": 1}}]),
            )]),
            "NoEndpoints: every target has weight 0, so there are no new sessions; give one a \
             weight",
        ),
    ];
    for (outcome, expected) in cases {
        let status = status(&outcome, &pool(vec![member("a", Some(&outcome))]));
        assert_eq!(
            words(&status)[3],
            format!("BackendsAvailable=False {expected}")
        );
    }
}

#[test]
fn backends_that_are_left_out_are_said() {
    let mut outcome = good();
    outcome.left_out = 20;
    let status = status(&outcome, &pool(vec![member("a", Some(&outcome))]));
    assert_eq!(
        words(&status)[3],
        "BackendsAvailable=True BackendsAvailable: 2 of 2 backends are healthy; 20 more are left \
         out: one forward holds at most 10000 or 3 MiB of them; spread them over several"
    );
}

#[test]
fn ready_carries_the_first_that_fails() {
    let unresolved = outcome(vec![forward("one", 1, to("web"))]);
    let status = status(&unresolved, &pool(vec![]));
    let why = "BackendNotFound: target a: Service web does not exist in namespace shop; create it \
               or correct the name";
    assert_eq!(words(&status)[1], format!("ResolvedRefs=False {why}"));
    assert_eq!(words(&status)[4], format!("Ready=False {why}"));
}

#[test]
fn a_transition_time_moves_only_with_the_status() {
    let outcome = good();
    let before = status(&outcome, &pool(vec![member("a", Some(&outcome))]));
    let two = pool(vec![member("a", Some(&outcome)), member("b", None)]);
    let after = compute(&outcome, &two, Addresses::Omitted, Some(&before), at(60));
    let times: Vec<_> = after
        .conditions
        .iter()
        .map(|c| c.last_transition_time.0)
        .collect();
    assert_eq!(times, [at(0), at(0), at(60), at(0), at(60)]);
}

#[test]
fn a_new_lease_holder_keeps_what_was_said_until_the_pool_is_there() {
    let outcome = good();
    let before = status(&outcome, &pool(vec![member("a", Some(&outcome))]));
    let waiting = PoolView {
        members: vec![],
        gathering: Gathering::Waiting,
        ..PoolView::default()
    };
    let after = compute(
        &outcome,
        &waiting,
        Addresses::Omitted,
        Some(&before),
        at(60),
    );
    assert_eq!(after, before);
    let first = compute(&outcome, &waiting, Addresses::Omitted, None, at(60));
    assert_eq!(
        words(&first)[2],
        "Programmed=False Pending: waiting for the pool's data planes to connect"
    );
}

#[test]
fn a_refusal_is_said_although_others_may_still_come() {
    let outcome = good();
    let before = status(&outcome, &pool(vec![]));
    let waiting = PoolView {
        members: vec![refusing("a", &outcome, "port 8888 is taken")],
        gathering: Gathering::Waiting,
        ..PoolView::default()
    };
    let after = compute(
        &outcome,
        &waiting,
        Addresses::Omitted,
        Some(&before),
        at(60),
    );
    assert_eq!(
        words(&after)[2],
        "Programmed=False Rejected: 1 of 1 pods refuse it: a: port 8888 is taken"
    );
}

#[test]
fn a_rejection_is_said_although_others_may_still_come() {
    let outcome = good();
    let before = status(&outcome, &pool(vec![member("a", Some(&outcome))]));
    let rejected = Outcome {
        accepted: Err(crate::forward::Rejection {
            reason: PORT_UNAVAILABLE,
            field: "spec.listener.port".into(),
            message: "taken".into(),
        }),
        forward: None,
        ..outcome
    };
    let waiting = PoolView {
        members: vec![],
        gathering: Gathering::Waiting,
        ..PoolView::default()
    };
    let omitted = Addresses::Omitted;
    let after = compute(&rejected, &waiting, omitted, Some(&before), at(60));
    assert_eq!(
        words(&after)[2],
        "Programmed=False Pending: not served while Accepted is not True"
    );
    assert_eq!(after.data_planes.unwrap().summary, "0/0");
}

#[test]
fn a_write_is_worth_what_differs() {
    let outcome = good();
    let serving = || {
        pool(vec![
            member("a", Some(&outcome)),
            member("b", Some(&outcome)),
        ])
    };
    let before = status(&outcome, &serving());
    assert_eq!(difference(None, &before), Difference::Transition);

    let mut foreign = before.clone();
    let mut other = before.conditions[0].clone();
    other.type_ = "example.com/Checked".into();
    foreign.conditions.insert(0, other);
    foreign.conditions.reverse();
    assert_eq!(difference(Some(&foreign), &before), Difference::Nothing);

    let one = pool(vec![failing("a", &outcome, &["10.0.0.1:8080"])]);
    let counts = compute(&outcome, &one, Addresses::Omitted, Some(&before), at(9));
    assert_eq!(difference(Some(&before), &counts), Difference::Counts);

    let none = compute(
        &outcome,
        &pool(vec![]),
        Addresses::Omitted,
        Some(&before),
        at(9),
    );
    assert_eq!(difference(Some(&before), &none), Difference::Transition);
}
