//! Who is told to end, when, and at which pace.

use std::fmt::Debug;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tcpforward_protocol::snapshot::{
    self, BackendState, EstablishedConnections, Failback, Fate, ProxyMode, ProxyProtocolIn,
    ServiceName, TakesNew,
};
use tcpforward_protocol::testing;

use super::*;
use crate::balancer::backend::{Backend, Condition};
use crate::connect::proxy::{Grounds, Way};
use crate::connect::target::Target;
use crate::sync::samples;

mod case;
mod grants;
mod protected;

struct Rig {
    sessions: Arc<Sessions>,
    forward: Forward,
    now: Instant,
    rng: Rng,
}

fn rig() -> Rig {
    let mut forward = testing::forward("n/f", Vec::new());
    let established = &mut forward.spec.relay.established_connections;
    established.closes_per_second = NonZeroU32::new(20).unwrap();
    established.drain_timeout = Duration::from_secs(10);
    Rig {
        sessions: Arc::new(Sessions::new(2)),
        forward,
        now: tokio::time::Instant::now().into_std(),
        rng: Rng::with_seed(7),
    }
}

impl Rig {
    fn enter(&self, n: u8) -> Ticket {
        let source = IpAddr::from([10, 0, 0, n]);
        self.sessions.enter(usize::from(n), source)
    }

    fn backend(&self, n: u8) -> Arc<Backend> {
        Arc::new(Backend::new(
            "t".into(),
            ([10, 1, 0, n], 80).into(),
            self.now,
        ))
    }

    fn established(&mut self) -> &mut EstablishedConnections {
        &mut self.forward.spec.relay.established_connections
    }

    /// That backend changes.
    fn turn(&self, backend: &Backend, condition: Condition) {
        backend.set_condition(condition, self.now);
        self.sessions.stir();
    }

    /// Ticks on for that long.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(250);
            let forward = Arc::new(self.forward.clone());
            let active = Active::new(forward, samples::terms(), None);
            self.sessions.tick(&active, self.now, &mut self.rng);
        }
    }
}

fn ending(ticket: &Ticket) -> Option<Ending> {
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(&mut ticket.cut()).poll(&mut context) {
        Poll::Ready(ending) => Some(ending),
        Poll::Pending => None,
    }
}

fn endings(tickets: &[Ticket]) -> Vec<Option<Ending>> {
    tickets.iter().map(ending).collect()
}

#[test]
fn a_session_is_known_as_long_as_its_ticket_lives() {
    let rig = rig();
    let (one, other) = (rig.enter(1), rig.enter(2));
    assert_eq!(rig.sessions.open().len(), 2);
    drop(one);
    assert_eq!(rig.sessions.open().len(), 1);
    drop(other);
    assert!(rig.sessions.open().is_empty());
}

#[tokio::test]
async fn whoever_waits_is_woken() {
    let rig = rig();
    let (sessions, ticket) = (Arc::clone(&rig.sessions), rig.enter(1));
    let (word, ()) = tokio::join!(ticket.cut(), async { sessions.end_all(Ending::Drain) });
    assert_eq!(word, Ending::Drain);
    // Who was accepted a moment too late has to go as well.
    assert_eq!(ending(&rig.enter(2)), Some(Ending::Drain));
}

#[test]
fn sessions_of_a_forward_that_is_gone_drain_then_go_at_its_pace() {
    let mut rig = rig();
    let tickets: Vec<_> = (0..100).map(|n| rig.enter(n)).collect();
    rig.sessions.forward_gone(Some(rig.now));
    rig.pass(Duration::from_millis(9750));
    assert_eq!(endings(&tickets), [None; 100]);
    let mut left = Vec::new();
    for _ in 0..5 {
        rig.pass(Duration::from_secs(1));
        left.push(endings(&tickets).iter().filter(|e| e.is_none()).count());
    }
    assert_eq!(left, [80, 60, 40, 20, 0]);
    assert_eq!(endings(&tickets), [Some(Ending::Removed); 100]);
}

#[test]
fn a_forward_that_comes_back_keeps_its_sessions() {
    let mut rig = rig();
    let ticket = rig.enter(1);
    rig.sessions.forward_gone(Some(rig.now));
    rig.pass(Duration::from_secs(9));
    rig.sessions.forward_gone(None);
    rig.pass(Duration::from_secs(9));
    assert_eq!(ending(&ticket), None);
}

#[test]
fn what_a_gone_forward_said_last_decides() {
    for (fate, expected) in [(Fate::Keep, None), (Fate::Close, Some(Ending::Removed))] {
        let mut rig = rig();
        rig.forward.spec.relay.established_connections.on_removed = fate;
        let ticket = rig.enter(1);
        rig.sessions.forward_gone(Some(rig.now));
        rig.pass(Duration::from_millis(250));
        assert_eq!(ending(&ticket), expected);
        rig.pass(Duration::from_secs(60));
        assert_eq!(ending(&ticket), expected);
    }
}

#[test]
fn each_condition_has_its_fate_and_its_word() {
    type Field = fn(&mut EstablishedConnections) -> &mut Fate;
    let cases: [(Condition, Field, Ending); 5] = [
        (
            Condition::FailedBack,
            |e| &mut e.on_failback,
            Ending::Failback,
        ),
        (
            Condition::NotReady,
            |e| &mut e.on_not_ready,
            Ending::NotReady,
        ),
        (Condition::Removed, |e| &mut e.on_removed, Ending::Removed),
        (
            Condition::Terminating,
            |e| &mut e.on_terminating,
            Ending::Terminating,
        ),
        (
            Condition::Unhealthy,
            |e| &mut e.on_unhealthy,
            Ending::Unhealthy,
        ),
    ];
    for (condition, field, ending_word) in cases {
        for (fate, at_once, after_drain) in [
            (Fate::Keep, None, None),
            (Fate::Drain, None, Some(ending_word)),
            (Fate::Close, Some(ending_word), Some(ending_word)),
        ] {
            let mut rig = rig();
            *field(rig.established()) = fate;
            let (backend, other) = (rig.backend(1), rig.backend(2));
            let (here, there, dials) = (rig.enter(1), rig.enter(2), rig.enter(3));
            here.on(&backend, rig.now);
            there.on(&other, rig.now);
            rig.pass(Duration::from_secs(1));
            rig.turn(&backend, condition);
            rig.pass(Duration::from_millis(9750));
            assert_eq!(ending(&here), at_once, "{condition:?} {fate:?}");
            rig.pass(Duration::from_millis(500));
            assert_eq!(ending(&here), after_drain, "{condition:?} {fate:?}");
            rig.pass(Duration::from_secs(60));
            assert_eq!(ending(&there), None, "on another backend");
            assert_eq!(ending(&dials), None, "on none");
        }
    }
}

#[test]
fn a_condition_that_passes_ends_its_drain_and_even_a_turn_that_waits() {
    for fate in [Fate::Drain, Fate::Close] {
        let mut rig = rig();
        rig.established().on_not_ready = fate;
        rig.established().closes_per_second = NonZeroU32::MIN;
        let backend = rig.backend(1);
        let tickets: Vec<_> = (0..20).map(|n| rig.enter(n)).collect();
        tickets
            .iter()
            .for_each(|ticket| ticket.on(&backend, rig.now));
        rig.turn(&backend, Condition::NotReady);
        rig.pass(Duration::from_secs(5));
        let closed = endings(&tickets).iter().flatten().count();
        assert_eq!(closed, if fate == Fate::Close { 5 } else { 0 });
        // Not told to anybody: the turn looks itself.
        backend.set_condition(Condition::Usable, rig.now);
        rig.pass(Duration::from_secs(60));
        assert_eq!(endings(&tickets).iter().flatten().count(), closed);
    }
}

#[test]
fn who_was_sent_to_a_backend_in_that_condition_may_stay() {
    let mut rig = rig();
    rig.established().on_unhealthy = Fate::Close;
    let backend = rig.backend(1);
    rig.turn(&backend, Condition::Unhealthy);
    rig.pass(Duration::from_secs(1));
    let ticket = rig.enter(1);
    ticket.on(&backend, rig.now);
    rig.pass(Duration::from_secs(1));
    assert_eq!(ending(&ticket), None);
    // Not so on one that was removed while it was dialled.
    rig.established().on_removed = Fate::Close;
    rig.turn(&backend, Condition::Removed);
    rig.pass(Duration::from_secs(1));
    let late = rig.enter(2);
    late.on(&backend, rig.now);
    rig.pass(Duration::from_secs(1));
    assert_eq!(endings(&[ticket, late]), [Some(Ending::Removed); 2]);
}

#[test]
fn a_tunnel_to_a_backend_that_was_removed_during_the_dial_is_cut() {
    let mut rig = rig();
    let db = ServiceName {
        namespace: "shop".to_owned(),
        name: "db".to_owned(),
    };
    let mut rule = testing::rule("db");
    rule.services = vec![db.clone()];
    rig.forward.spec.connect = Some(testing::connect(vec![rule]));
    let grounds = || Grounds {
        target: Target::parse(b"db.shop.svc:443").unwrap(),
        identity: None,
        way: Way::Service(db.clone()),
    };
    let (backend, other) = (rig.backend(1), rig.backend(2));
    let (late, fine) = (rig.enter(1), rig.enter(2));
    rig.turn(&backend, Condition::Removed);
    rig.sessions.rights_changed();
    rig.pass(Duration::from_secs(1));
    for (ticket, backend) in [(&late, &backend), (&fine, &other)] {
        ticket.on(backend, rig.now);
        ticket.stands_on(grounds());
    }
    rig.pass(Duration::from_secs(4));
    let expected = [Some(Ending::RightLost), None];
    assert_eq!(endings(&[late, fine]), expected);
}

#[test]
fn a_backend_that_changes_during_a_dial_is_seen() {
    let mut rig = rig();
    rig.established().on_removed = Fate::Close;
    let (backend, ticket) = (rig.backend(1), rig.enter(1));
    rig.turn(&backend, Condition::Removed);
    rig.pass(Duration::from_secs(1));
    ticket.on(&backend, rig.now);
    rig.pass(Duration::from_millis(250));
    assert_eq!(ending(&ticket), Some(Ending::Removed));
}

#[test]
fn a_removed_backend_drains_whatever_its_health_was() {
    let mut rig = rig();
    rig.established().on_unhealthy = Fate::Keep;
    let (backend, ticket) = (rig.backend(1), rig.enter(1));
    ticket.on(&backend, rig.now);
    rig.turn(&backend, Condition::Unhealthy);
    rig.pass(Duration::from_secs(60));
    rig.turn(&backend, Condition::Removed);
    rig.pass(Duration::from_millis(10_250));
    assert_eq!(ending(&ticket), Some(Ending::Removed));
}

fn ranges<T: FromStr<Err: Debug>>(list: &[&str]) -> Vec<T> {
    list.iter().map(|range| range.parse().unwrap()).collect()
}

#[test]
fn who_may_not_come_any_more_is_cut_within_seconds_and_spread() {
    let mut rig = rig();
    rig.established().closes_per_second = NonZeroU32::MIN;
    let tickets: Vec<_> = (0..200).map(|n| rig.enter(n)).collect();
    rig.forward.spec.listener.source_ranges = ranges(&["10.0.0.100/30", "10.0.0.0/27"]);
    rig.sessions.rights_changed();
    let mut cut = Vec::new();
    for _ in 0..4 {
        rig.pass(Duration::from_secs(1));
        cut.push(endings(&tickets).iter().flatten().count());
    }
    assert!(
        (30..90).contains(&cut[0]) && (80..150).contains(&cut[1]),
        "{cut:?}"
    );
    let still = |n: usize| n < 32 || (100..104).contains(&n);
    for (n, ending) in endings(&tickets).into_iter().enumerate() {
        assert_eq!(ending, (!still(n)).then_some(Ending::RightLost), "{n}");
    }
}

#[test]
fn a_right_that_comes_back_in_time_saves_who_waits() {
    let mut rig = rig();
    let tickets: Vec<_> = (0..200).map(|n| rig.enter(n)).collect();
    for list in [&["192.0.2.0/24"][..], &[]] {
        rig.forward.spec.listener.source_ranges = ranges(list);
        rig.sessions.rights_changed();
        rig.pass(Duration::from_secs(1));
    }
    let cut = endings(&tickets).iter().flatten().count();
    assert!((30..90).contains(&cut), "{cut}");
    rig.pass(Duration::from_secs(9));
    assert_eq!(endings(&tickets).iter().flatten().count(), cut);
}

#[test]
fn a_client_is_known_by_the_word_of_a_peer_as_long_as_that_is_trusted() {
    let mut rig = rig();
    let listener = &mut rig.forward.spec.listener;
    listener.source_ranges = ranges(&["192.0.2.0/24"]);
    listener.proxy_protocol = Some(ProxyProtocolIn {
        mode: ProxyMode::Optional,
        trusted_sources: ranges(&["10.0.0.1/32", "10.0.0.2/32"]),
    });
    let (one, two, far) = (rig.enter(1), rig.enter(2), rig.enter(2));
    one.vouched_for("192.0.2.1".parse().unwrap());
    two.vouched_for("192.0.2.2".parse().unwrap());
    far.vouched_for("198.51.100.1".parse().unwrap());
    rig.sessions.rights_changed();
    rig.pass(Duration::from_secs(4));
    let tickets = [one, two, far];
    assert_eq!(endings(&tickets), [None, None, Some(Ending::RightLost)]);
    if let Some(proxy) = &mut rig.forward.spec.listener.proxy_protocol {
        proxy.trusted_sources = ranges(&["10.0.0.2/32"]);
    }
    rig.sessions.rights_changed();
    rig.pass(Duration::from_secs(4));
    assert_eq!(endings(&tickets)[..2], [Some(Ending::RightLost), None]);
}

#[test]
fn a_client_in_the_form_of_the_other_family_keeps_its_right() {
    let mut rig = rig();
    let listener = &mut rig.forward.spec.listener;
    listener.source_ranges = ranges(&["192.0.2.0/24"]);
    listener.proxy_protocol = Some(ProxyProtocolIn {
        mode: ProxyMode::Required,
        trusted_sources: ranges(&["10.0.0.0/8"]),
    });
    let ticket = rig.enter(1);
    ticket.vouched_for("::ffff:192.0.2.1".parse().unwrap());
    rig.sessions.rights_changed();
    rig.pass(Duration::from_secs(4));
    assert_eq!(endings(&[ticket]), [None]);
}

#[test]
fn a_failback_that_time_alone_brings_is_seen() {
    let backend = |target: &str, state| snapshot::Backend {
        state,
        takes_new: match state {
            BackendState::Ready => TakesNew::Yes,
            _ => TakesNew::No,
        },
        ..testing::backend(target, "10.1.0.1:80")
    };
    let forward = |state| {
        let mut spec = testing::spec(vec![testing::target("first"), testing::target("second")]);
        spec.relay.targets[1].priority = 1;
        spec.relay.failover.failback = Failback::Delayed(Duration::from_secs(5));
        spec.relay.established_connections.on_failback = Fate::Close;
        let backends = vec![
            backend("first", state),
            backend("second", BackendState::Ready),
        ];
        Arc::new(Forward::new("n/f".parse().unwrap(), spec, backends))
    };
    let served = samples::served((*forward(BackendState::NotReady)).clone());
    let mut now = tokio::time::Instant::now().into_std();
    let second = served
        .backends()
        .into_iter()
        .find(|b| *b.target == *"second");
    let ticket = served.sessions().enter(0, IpAddr::from([10, 0, 0, 1]));
    ticket.on(&second.unwrap(), now);
    served.update(forward(BackendState::Ready), samples::terms(), now, 0);
    let mut rng = Rng::with_seed(1);
    for expected in [None, Some(Ending::Failback)] {
        for _ in 0..12 {
            now += Duration::from_millis(250);
            let _ = served.tick(now);
            served.close_sessions(now, &mut rng);
        }
        assert_eq!(ending(&ticket), expected);
    }
}
