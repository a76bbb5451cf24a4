//! Each value of a forward moves with what it tells of, and nothing else moves.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use prometheus::TextEncoder;
use tcpforward_protocol::answer::DialError;
use tcpforward_protocol::snapshot::{
    ActiveCheck, BackendLimits, Fate, Forward, Host, Probe, Target, TcpProbe,
};
use tcpforward_protocol::testing;
use tokio::time::Instant;

use super::*;
use crate::balancer::account::CheckResult;
use crate::balancer::backend::Backend;
use crate::balancer::outcome::{Failure, Outcome};
use crate::balancer::request::{Picked, Request};
use crate::dial::{self, Dialling};
use crate::hosts::found::Found;
use crate::place::{Place, Share, Terms};
use crate::relay::ending::{Ending, Side};
use crate::served::{DialResult, Served};
use crate::shared::{Context, Shared};
use crate::sync::samples::{self, terms};
use crate::view::{Row, View};

mod connect;

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Two backends, the second of a worse priority, and a target by name without an answer.
fn forward() -> Forward {
    let mut plain = testing::forward(
        "n/f",
        vec![
            testing::backend("a", "192.0.2.1:80"),
            testing::backend("b", "192.0.2.2:80"),
        ],
    );
    let relay = &mut plain.spec.relay;
    relay.targets[1].priority = 1;
    relay.targets.push(Target {
        host: Some(host()),
        priority: 2,
        ..testing::target("c")
    });
    relay.backend_limits = Some(BackendLimits {
        connections: NonZeroU32::new(4).unwrap(),
        queue_timeout: Duration::from_secs(9),
    });
    relay.health_check.passive.consecutive_dial_failures = NonZeroU32::new(2);
    relay.health_check.passive.max_ejection_percent = 50;
    relay.health_check.active = Some(ActiveCheck {
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(1),
        unhealthy_threshold: NonZeroU32::MIN,
        healthy_threshold: NonZeroU32::MIN,
        probe: Probe::Tcp(TcpProbe::default()),
    });
    let limits = &mut plain.spec.listener.limits;
    limits.connections = NonZeroU32::new(10);
    limits.connections_per_source = NonZeroU32::new(20);
    limits.connections_per_second = NonZeroU32::new(30);
    Forward::new(plain.name, plain.spec, plain.backends)
}

fn host() -> Host {
    Host {
        name: "c.example".to_owned(),
        port: std::num::NonZeroU16::MIN,
    }
}

struct Rig {
    served: Arc<Served>,
    view: View,
    before: BTreeMap<String, f64>,
}

fn rig() -> Rig {
    rig_of(forward())
}

fn rig_of(forward: Forward) -> Rig {
    let served = samples::served(forward);
    let row = Row {
        served: Arc::clone(&served),
        listeners: vec!["127.0.0.1:1".parse().unwrap()],
        notes: Vec::new(),
    };
    let view = View {
        forwards: [(served.name.clone(), row)].into(),
        ..View::default()
    };
    let mut rig = Rig {
        served,
        view,
        before: BTreeMap::new(),
    };
    rig.before = rig.values();
    rig
}

impl Rig {
    /// Every series as it is scraped, without what all names begin with.
    fn values(&self) -> BTreeMap<String, f64> {
        let mut families = values::families::Families::default();
        values::of_view(&self.view, Instant::now().into_std(), &mut families);
        let mut families = families.into_inner();
        families.retain(|family| !family.get_metric().is_empty());
        let text = TextEncoder::new().encode_to_string(&families).unwrap();
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let series = series.map(|line| line.rsplit_once(' ').unwrap());
        let short = |name: &str| name.trim_start_matches("tcpforward_dataplane_").to_owned();
        series
            .map(|(name, value)| (short(name), value.parse().unwrap()))
            .collect()
    }

    /// By how much which series have moved since the last time.
    fn moved(&mut self) -> Vec<(String, f64)> {
        let now = self.values();
        let before = std::mem::replace(&mut self.before, now.clone());
        let by = |(name, value): (&String, &f64)| {
            let by = value - before.get(name).copied().unwrap_or_default();
            (by != 0.0).then(|| (name.clone(), by))
        };
        now.iter().filter_map(by).collect()
    }

    fn expect(&mut self, expected: &[(&str, f64)]) {
        let moved = self.moved();
        let moved: Vec<(&str, f64)> = moved
            .iter()
            .map(|(name, by)| (name.as_str(), *by))
            .collect();
        assert_eq!(moved, expected);
    }

    fn backend(&self, target: &str) -> Arc<Backend> {
        let mut backends = self.served.backends().into_iter();
        backends.find(|backend| *backend.target == *target).unwrap()
    }

    fn observe(&self, target: &str, outcome: Outcome) {
        let now = Instant::now().into_std();
        let _ = self.served.observe(&self.backend(target), outcome, now);
    }

    fn pick(&self) -> Picked {
        let request = Request {
            tried: &[],
            source: SOURCE,
            now: Instant::now().into_std(),
            priority: None,
        };
        self.served.pick(None, &request).unwrap()
    }
}

fn failure() -> Failure {
    Failure {
        reason: DialError::Refused,
        message: "refused".to_owned(),
        at_ms: 1,
    }
}

#[test]
fn what_sessions_count() {
    let mut rig = rig();
    rig.served.opened(0);
    rig.served.opened(0);
    rig.served.finished(0, Ending::QueueTimeout);
    rig.expect(&[
        (
            "sessions_finished_total{forward=\"n/f\",ending=\"queue_timeout\"}",
            1.0,
        ),
        ("sessions_opened_total{forward=\"n/f\"}", 2.0),
        ("sessions_open{forward=\"n/f\"}", 1.0),
    ]);
    rig.served.passed(0, Side::Downstream, 3);
    rig.served.passed(0, Side::Upstream, 4);
    rig.expect(&[
        (
            "relayed_bytes_total{forward=\"n/f\",direction=\"down\"}",
            4.0,
        ),
        ("relayed_bytes_total{forward=\"n/f\",direction=\"up\"}", 3.0),
    ]);
}

#[test]
fn what_dials_count() {
    let mut rig = rig();
    rig.served.dialled(0, DialResult::Local);
    rig.served.raced(0);
    rig.served.raced(0);
    rig.served.race_won(0);
    rig.expect(&[
        ("dials_total{forward=\"n/f\",result=\"local\"}", 1.0),
        ("hedges_total{forward=\"n/f\"}", 2.0),
        ("hedges_won_total{forward=\"n/f\"}", 1.0),
    ]);
    for took in [500, 1000, 8000] {
        rig.served.connected(0, Duration::from_millis(took));
    }
    rig.expect(&[
        ("connect_seconds_bucket{forward=\"n/f\",le=\"+Inf\"}", 3.0),
        ("connect_seconds_bucket{forward=\"n/f\",le=\"1\"}", 2.0),
        ("connect_seconds_bucket{forward=\"n/f\",le=\"3\"}", 2.0),
        ("connect_seconds_count{forward=\"n/f\"}", 3.0),
        ("connect_seconds_sum{forward=\"n/f\"}", 9.5),
    ]);
}

#[test]
fn what_is_known_of_a_backend() {
    let mut rig = rig();
    let of_a = |name: &str| {
        format!("backend_{name}{{forward=\"n/f\",target=\"a\",backend=\"192.0.2.1:80\"")
    };
    let connect = Duration::from_millis(250);
    rig.observe("a", Outcome::Reached { connect });
    rig.expect(&[
        (&format!("{}}}", of_a("connect_seconds_total")), 0.25),
        (&format!("{}}}", of_a("connects_total")), 1.0),
    ]);
    rig.observe("a", Outcome::DialFailed(failure()));
    rig.expect(&[
        (
            &format!("{},reason=\"refused\"}}", of_a("failures_total")),
            1.0,
        ),
        ("backends{forward=\"n/f\",state=\"failing\"}", 1.0),
        ("backends{forward=\"n/f\",state=\"usable\"}", -1.0),
    ]);
    let picked = rig.pick();
    rig.expect(&[
        (&format!("{}}}", of_a("sessions_open")), 1.0),
        (&format!("{}}}", of_a("sessions_total")), 1.0),
    ]);
    drop(picked);
    rig.backend("a").passed(3, 4);
    rig.expect(&[
        (
            &format!("{},direction=\"down\"}}", of_a("bytes_total")),
            4.0,
        ),
        (&format!("{},direction=\"up\"}}", of_a("bytes_total")), 3.0),
        (&format!("{}}}", of_a("sessions_open")), -1.0),
    ]);
}

#[test]
fn who_is_left_out_and_where_sessions_go_instead() {
    let mut rig = rig();
    let healthy = "backend_healthy{forward=\"n/f\",target=\"a\",backend=\"192.0.2.1:80\"}";
    rig.observe("a", Outcome::DialFailed(failure()));
    rig.moved();
    rig.observe("a", Outcome::DialFailed(failure()));
    rig.expect(&[
        ("backend_ejections_total{forward=\"n/f\",target=\"a\",backend=\"192.0.2.1:80\"}", 1.0),
        (
            "backend_failures_total{forward=\"n/f\",target=\"a\",backend=\"192.0.2.1:80\",reason=\"refused\"}",
            1.0,
        ),
        (healthy, -1.0),
        ("backends{forward=\"n/f\",state=\"ejected\"}", 1.0),
        ("backends{forward=\"n/f\",state=\"failing\"}", -1.0),
        ("priority_share_ratio{forward=\"n/f\",priority=\"0\"}", -1.0),
        ("priority_share_ratio{forward=\"n/f\",priority=\"1\"}", 1.0),
    ]);
    rig.observe("b", Outcome::CheckPassed);
    rig.served.checked(CheckResult::Unknown);
    rig.expect(&[
        ("checks_total{forward=\"n/f\",result=\"passed\"}", 1.0),
        ("checks_total{forward=\"n/f\",result=\"unknown\"}", 1.0),
    ]);
    rig.observe("a", Outcome::CheckFailed(failure()));
    rig.expect(&[
        ("backends{forward=\"n/f\",state=\"ejected\"}", -1.0),
        ("backends{forward=\"n/f\",state=\"unhealthy\"}", 1.0),
        ("checks_total{forward=\"n/f\",result=\"failed\"}", 1.0),
    ]);
}

#[test]
fn series_of_a_backend_go_with_it() {
    let mut rig = rig();
    let of_b = |rig: &Rig| {
        let names = rig.before.keys();
        names.filter(|name| name.contains("192.0.2.2")).count()
    };
    assert_eq!(of_b(&rig), 13, "as the page of metrics says");
    let mut gone = forward();
    gone.backends.truncate(1);
    let now = Instant::now().into_std();
    rig.served.update(Arc::new(gone), terms(), now, 0);
    rig.moved();
    assert_eq!(of_b(&rig), 0);
}

#[test]
fn limits_are_the_part_of_this_data_plane() {
    let mut rig = rig();
    let place = Place {
        share: Some(Share { index: 1, of: 2 }),
        ..Place::default()
    };
    let terms = Terms {
        place: Arc::new(place),
        ..terms()
    };
    let now = Instant::now().into_std();
    rig.served.update(Arc::new(forward()), terms, now, 0);
    rig.expect(&[
        ("limit{forward=\"n/f\",limit=\"backend_connections\"}", -2.0),
        ("limit{forward=\"n/f\",limit=\"connections\"}", -5.0),
        (
            "limit{forward=\"n/f\",limit=\"connections_per_second\"}",
            -15.0,
        ),
    ]);
}

#[test]
fn what_a_name_leads_to() {
    let mut rig = rig();
    let found = Found {
        addresses: vec!["192.0.2.3".parse().unwrap()],
        error: None,
    };
    let now = Instant::now().into_std();
    assert!(rig.served.set_host("c", &host(), &found, now, 0));
    let moved = rig.moved();
    let of_host: Vec<_> = moved
        .into_iter()
        .filter(|(name, _)| name.starts_with("host_"))
        .collect();
    let expected = [
        (
            "host_addresses{forward=\"n/f\",target=\"c\"}".to_owned(),
            1.0,
        ),
        (
            "host_failing{forward=\"n/f\",target=\"c\"}".to_owned(),
            -1.0,
        ),
    ];
    assert_eq!(of_host, expected);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_place_and_how_long() {
    let mut rig = rig();
    let held: Vec<Picked> = (0..8).map(|_| rig.pick()).collect();
    rig.moved();
    let context = Context {
        worker: 0,
        shared: Arc::new(Shared::new(100, 1)),
    };
    let (served, active) = (Arc::clone(&rig.served), rig.served.active());
    let mut waiting = Box::pin(dial::dial(Dialling {
        served: &served,
        active: &active,
        context: &context,
        source: SOURCE,
        target: None,
        offset: 0,
    }));
    assert!(is_pending(&mut waiting).await);
    rig.expect(&[
        ("queue_sessions{forward=\"n/f\"}", 1.0),
        ("queue_waits_total{forward=\"n/f\"}", 1.0),
    ]);
    tokio::time::advance(Duration::from_secs(3)).await;
    drop(waiting);
    rig.expect(&[
        ("queue_sessions{forward=\"n/f\"}", -1.0),
        ("queue_wait_seconds_total{forward=\"n/f\"}", 3.0),
    ]);
    drop(held);
}

/// Polls once; true: it is not over.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|context| {
        let polled = std::pin::Pin::new(&mut *future).poll(context);
        std::task::Poll::Ready(polled.is_pending())
    })
    .await
}

#[test]
fn sessions_that_will_be_closed() {
    let mut rig = rig();
    let now = Instant::now().into_std();
    let backend = rig.backend("b");
    let tickets: Vec<_> = (0..3)
        .map(|_| rig.served.sessions().enter(0, SOURCE))
        .collect();
    tickets.iter().for_each(|ticket| ticket.on(&backend, now));
    let mut gone = forward();
    gone.backends.truncate(1);
    rig.served.update(Arc::new(gone.clone()), terms(), now, 0);
    rig.served
        .close_sessions(now, &mut fastrand::Rng::with_seed(1));
    let moved = |rig: &mut Rig| {
        let mut moved = rig.moved();
        moved.retain(|(name, _)| name.starts_with("sessions_closing"));
        moved.into_iter().map(|(_, by)| by).collect::<Vec<_>>()
    };
    // Draining; then all are due but the one that is allowed at once.
    assert_eq!(moved(&mut rig), [3.0]);
    let established = &mut gone.spec.relay.established_connections;
    established.on_removed = Fate::Close;
    established.closes_per_second = NonZeroU32::MIN;
    rig.served.update(Arc::new(gone), terms(), now, 0);
    rig.served
        .close_sessions(now, &mut fastrand::Rng::with_seed(1));
    assert_eq!(moved(&mut rig), [-3.0, 2.0]);
}
