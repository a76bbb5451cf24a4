//! Who is told to end, when, and at which pace.

use std::num::NonZeroU32;
use std::time::Duration;

use tcpforward_protocol::snapshot::Fate;
use tcpforward_protocol::testing;

use super::*;

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

    /// Ticks on for that long.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(250);
            self.sessions.tick(&self.forward, self.now, &mut self.rng);
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
