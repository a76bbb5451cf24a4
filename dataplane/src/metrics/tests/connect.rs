//! What a CONNECT proxy counts.

use tcpforward_protocol::snapshot::Subject;

use super::*;

fn proxy() -> Rig {
    let mut forward = testing::forward("n/f", Vec::new());
    let mut connect = testing::connect(vec![testing::rule("a")]);
    connect.limits.tunnels = NonZeroU32::new(9);
    connect.limits.tunnels_per_subject = NonZeroU32::new(2);
    forward.spec.connect = Some(connect);
    rig_of(Forward::new(forward.name, forward.spec, Vec::new()))
}

#[test]
fn what_a_proxy_counts() {
    let mut rig = proxy();
    let limit = |name: &str| rig.before[&format!("limit{{forward=\"n/f\",limit=\"{name}\"}}")];
    assert_eq!(limit("tunnels"), 9.0);
    assert_eq!(limit("tunnels_per_subject"), 2.0);
    let now = Instant::now().into_std();
    let ci = Subject::User("ci".to_owned());
    rig.served.tunnels().ask(SOURCE, now).unwrap();
    rig.served.tunnels().enter(SOURCE, Some(&ci)).unwrap();
    rig.served.tunnels().enter(SOURCE, None).unwrap();
    rig.expect(&[
        ("connect_requests_pending{forward=\"n/f\"}", 1.0),
        ("connect_tunnels_open{forward=\"n/f\",subject=\"\"}", 1.0),
        ("connect_tunnels_open{forward=\"n/f\",subject=\"ci\"}", 1.0),
    ]);
    rig.served.answered(0, 200);
    rig.served.answered(0, 431);
    rig.served.would_deny(0);
    rig.served.tunnels().decided("a");
    rig.expect(&[
        ("connect_answers_total{forward=\"n/f\",status=\"200\"}", 1.0),
        ("connect_answers_total{forward=\"n/f\",status=\"431\"}", 1.0),
        ("connect_reported_total{forward=\"n/f\"}", 1.0),
        (
            "connect_rule_decisions_total{forward=\"n/f\",rule=\"a\"}",
            1.0,
        ),
    ]);
}

#[test]
fn a_relay_has_no_series_of_a_proxy() {
    let is_proxys = |name: &&String| name.starts_with("connect_") && !name.starts_with("connect_s");
    assert_eq!(rig().before.keys().find(is_proxys), None);
}
