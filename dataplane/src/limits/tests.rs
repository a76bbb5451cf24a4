//! Events and who is let in.

use std::time::Duration;

use proptest::prelude::*;
use tcpforward_protocol::snapshot::ListenerLimits;

use super::*;

#[expect(clippy::disallowed_methods, reason = "any moment to count from")]
fn start() -> Instant {
    Instant::now()
}

fn source(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn listener(connections: u32, per_source: u32, per_second: u32) -> Listener {
    Listener {
        limits: ListenerLimits {
            connections: NonZeroU32::new(connections),
            connections_per_source: NonZeroU32::new(per_source),
            connections_per_second: NonZeroU32::new(per_second),
        },
        ..Listener::plain(std::num::NonZeroU16::MIN, None)
    }
}

fn limits(connections: u32, per_source: u32, per_second: u32) -> Limits {
    let mut limits = Limits::default();
    limits.update(
        &listener(connections, per_source, per_second),
        Share::default(),
    );
    limits
}

#[test]
fn without_limits_everyone_is_let_in_and_nothing_is_kept_of_who_left() {
    let (mut limits, now) = (limits(0, 0, 0), start());
    for _ in 0..1000 {
        assert_eq!(limits.admit(source(1), now), Ok(()));
    }
    for _ in 0..1000 {
        limits.leave(source(1));
    }
    assert_eq!((limits.open, limits.sources.len()), (0, 0));
    // Whoever was never counted in can't do harm either.
    limits.leave(source(2));
    assert_eq!(limits.open, 0);
}

#[test]
fn a_place_is_free_again_once_its_session_has_left() {
    let (mut limits, now) = (limits(2, 0, 0), start());
    assert_eq!(limits.admit(source(1), now), Ok(()));
    assert_eq!(limits.admit(source(2), now), Ok(()));
    assert_eq!(limits.admit(source(3), now), Err(Refused::Connections));
    limits.leave(source(1));
    assert_eq!(limits.admit(source(3), now), Ok(()));
}

#[test]
fn one_source_takes_nothing_from_another() {
    let (mut limits, now) = (limits(0, 1, 2), start());
    assert_eq!(limits.admit(source(1), now), Ok(()));
    for _ in 0..10 {
        assert_eq!(limits.admit(source(1), now), Err(Refused::Source));
    }
    // Those who were refused have not used the rate up.
    assert_eq!(limits.admit(source(2), now), Ok(()));
    assert_eq!(limits.admit(source(3), now), Err(Refused::Rate));
    let later = now + Duration::from_secs(1);
    assert_eq!(limits.admit(source(3), later), Ok(()));
}

#[test]
fn limits_that_come_late_count_what_is_open() {
    let (mut limits, now) = (limits(0, 0, 0), start());
    for last in 0..3 {
        assert_eq!(limits.admit(source(last), now), Ok(()));
    }
    limits.update(&listener(3, 1, 0), Share::default());
    assert_eq!(limits.admit(source(0), now), Err(Refused::Source));
    assert_eq!(limits.admit(source(9), now), Err(Refused::Connections));
    limits.update(&listener(4, 1, 0), Share::default());
    assert_eq!(limits.admit(source(9), now), Ok(()));
}

#[test]
fn a_pool_shares_connections_and_rate_but_not_sources() {
    let now = start();
    let admitted = |index, listener: &Listener| {
        let mut limits = Limits::default();
        limits.update(listener, Share { index, of: 3 });
        let tries = 0..100;
        let admitted = tries.filter(|last| limits.admit(source(*last), now).is_ok());
        admitted.count()
    };
    for listener in [listener(10, 0, 0), listener(0, 0, 10)] {
        assert_eq!([0, 1, 2].map(|index| admitted(index, &listener)), [4, 3, 3]);
    }
    // With a limit below their number some have none.
    for listener in [listener(2, 0, 0), listener(0, 0, 2)] {
        assert_eq!([0, 1, 2].map(|index| admitted(index, &listener)), [1, 1, 0]);
    }
    let mut limits = Limits::default();
    limits.update(&listener(0, 2, 0), Share { index: 2, of: 3 });
    let same: Vec<_> = (0..3).map(|_| limits.admit(source(1), now)).collect();
    assert_eq!(same, [Ok(()), Ok(()), Err(Refused::Source)]);
}

proptest! {
    #[test]
    fn no_limit_is_ever_passed(
        events in prop::collection::vec((0..5u8, any::<bool>()), 0..300),
        (connections, per_source) in (1..6u32, 1..4u32),
    ) {
        let (mut limits, now) = (limits(connections, per_source, 0), start());
        let mut open: Vec<u8> = Vec::new();
        for (last, comes) in events {
            let from_there = open.iter().filter(|l| **l == last).count();
            if comes {
                let fits = open.len() < connections as usize && from_there < per_source as usize;
                prop_assert_eq!(limits.admit(source(last), now).is_ok(), fits);
                if fits {
                    open.push(last);
                }
            } else if let Some(at) = open.iter().position(|l| *l == last) {
                open.swap_remove(at);
                limits.leave(source(last));
            }
            prop_assert_eq!(limits.open as usize, open.len());
            prop_assert!(limits.sources.len() <= open.len());
        }
    }
}
