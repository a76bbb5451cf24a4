//! Which priority a session goes to. The shares have tests of their own; these are about picks.

use std::num::NonZeroU32;
use std::time::Duration;

use tcpforward_protocol::snapshot::{BackendLimits, Failback, Policy, WhenNoneHealthy};

use super::health::passive;
use super::rig::{Rig, name};
use super::*;
use crate::balancer::backend::Condition;

/// A primary and a standby.
fn pair(failback: Failback) -> Rig {
    Rig::new(&[(1, 0, 1), (1, 1, 1)], |relay| {
        relay.health_check.passive = passive();
        relay.health_check.when_none_healthy = WhenNoneHealthy::Refuse;
        relay.failover.failback = failback;
    })
}

#[test]
fn a_standby_serves_until_a_trial_brings_the_primary_back() {
    let mut rig = pair(Failback::Immediate);
    assert_eq!(rig.names(2), ["t0:1"; 2]);
    rig.fails("t0:1", 3);
    assert_eq!(rig.names(2), ["t1:1"; 2]);
    assert_eq!(rig.condition("t0:1"), Condition::Unhealthy);
    let _ = rig.after(67.0);
    // The first session tries the primary, all others are safe meanwhile.
    let trial = rig.pick().unwrap();
    assert_eq!((trial.priority, trial.trial.is_some()), (0, true));
    assert_eq!(rig.names(2), ["t1:1"; 2]);
    assert_eq!(rig.condition("t1:1"), Condition::Usable);
    let _ = rig.reached("t0:1", 1);
    assert_eq!(rig.names(2), ["t0:1"; 2]);
    assert_eq!(rig.condition("t1:1"), Condition::FailedBack);
    // Needed again, it is not failed back any more.
    rig.fails("t0:1", 3);
    assert_eq!(rig.condition("t1:1"), Condition::Usable);
}

#[test]
fn who_waits_for_failback_gets_no_session_not_even_a_trial() {
    let mut rig = pair(Failback::Manual(String::new()));
    rig.fails("t0:1", 3);
    let _ = rig.after(67.0);
    assert_eq!(rig.names(3), ["t1:1"; 3]);
    // A session that failed at the standby does not go back either.
    let client = rig.anyone();
    let elsewhere = rig.pick_but(&["t1:1"], client, None);
    assert_eq!(elsewhere.unwrap_err(), NoPick::AllTried);
    let last = rig.pick().unwrap();
    assert_eq!(last.candidates, Candidates::Last);
    rig.edit(|f| f.spec.relay.failover.failback = Failback::Manual("go".to_owned()));
    assert_eq!(rig.names(1), ["t0:1"], "a trial");
    let _ = rig.reached("t0:1", 1);
    assert_eq!(rig.names(2), ["t0:1"; 2]);
}

#[test]
fn nobody_waits_for_a_place_in_a_priority_that_waits_itself() {
    let mut rig = pair(Failback::Manual(String::new()));
    rig.edit(|f| {
        f.spec.relay.backend_limits = Some(BackendLimits {
            connections: NonZeroU32::MIN,
            queue_timeout: Duration::from_secs(1),
        });
    });
    let stays = rig.pick().unwrap();
    assert_eq!(name(stays.place.backend()), "t0:1");
    rig.fails("t0:1", 3);
    let _ = rig.after(67.0);
    assert_eq!(rig.names(1), ["t1:1"]);
    let client = rig.anyone();
    let elsewhere = rig.pick_but(&["t1:1"], client, None);
    assert_eq!(elsewhere.unwrap_err(), NoPick::AllTried);
}

#[test]
fn a_delay_is_over_by_a_tick() {
    let mut rig = pair(Failback::Delayed(Duration::from_secs(30)));
    rig.fails("t0:1", 3);
    let _ = rig.after(67.0);
    assert_eq!(rig.names(1), ["t1:1"]);
    let _ = rig.after(29.0);
    assert_eq!(rig.names(1), ["t1:1"]);
    let _ = rig.after(1.0);
    assert_eq!(rig.names(1), ["t0:1"]);
}

#[test]
fn a_session_that_fails_goes_to_the_next_priority() {
    let mut rig = pair(Failback::Immediate);
    let client = rig.anyone();
    let next = rig.pick_but(&["t0:1"], client, None).unwrap();
    assert_eq!((next.priority, next.candidates), (1, Candidates::Last));
    assert_eq!(rig.condition("t1:1"), Condition::Usable);
    // A hedge stays where it is.
    let hedge = rig.pick_but(&["t0:1"], client, Some(0));
    assert_eq!(hedge.unwrap_err(), NoPick::AllTried);
}

#[test]
fn below_the_minimum_sessions_are_split_and_clients_stay() {
    let mut rig = Rig::new(&[(1, 0, 4), (1, 1, 4)], |relay| {
        relay.load_balancer.policy = Policy::ConsistentHash;
        relay.health_check.passive = passive();
        relay.failover.min_healthy_percent = Some(100);
    });
    rig.fails("t0:1", 3);
    let counts = rig.counts(10_000);
    let first: usize = counts
        .iter()
        .filter(|(n, _)| n.starts_with("t0"))
        .map(|(_, c)| c)
        .sum();
    assert!(
        (7300..7700).contains(&first),
        "{first} of 10,000 with 3 of 4"
    );
    for _ in 0..50 {
        let client = rig.anyone();
        let mut home = || name(rig.pick_but(&[], client, None).unwrap().place.backend());
        assert_eq!(home(), home());
    }
}

#[test]
fn pods_that_are_not_ready_count_as_missing() {
    let mut rig = Rig::new(&[(1, 0, 4), (1, 1, 1)], |relay| {
        relay.failover.min_healthy_percent = Some(50);
    });
    rig.edit(|f| {
        for backend in &mut f.backends[..3] {
            backend.state = BackendState::NotReady;
            backend.takes_new = TakesNew::No;
        }
    });
    let standby = rig.counts(10_000)["t1:1"];
    assert!((4700..5300).contains(&standby), "{standby}");
    // Those on their way out are replaced by others, and missed by nobody.
    rig.edit(|f| {
        f.backends[..3]
            .iter_mut()
            .for_each(|b| b.state = BackendState::Terminating)
    });
    assert_eq!(rig.counts(100)["t0:4"], 100);
}
