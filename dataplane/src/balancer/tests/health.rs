//! Who is left out, who may be, and who is tried again.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use tcpforward_protocol::answer::LeftOut;
use tcpforward_protocol::snapshot::{
    ActiveCheck, PassiveCheck, Policy, Probe, Relay, TakesNew, TcpProbe, WhenNoneHealthy,
};

use super::rig::{Rig, failure, name};
use super::*;
use crate::balancer::backend::Condition;

/// Three failed dials, half of them, a minute.
pub(super) fn passive() -> PassiveCheck {
    PassiveCheck {
        consecutive_dial_failures: NonZeroU32::new(3),
        consecutive_early_resets: None,
        base_ejection_time: Duration::from_secs(60),
        max_ejection_percent: 50,
    }
}

fn rules(relay: &mut Relay) {
    relay.health_check.passive = passive();
    relay.health_check.when_none_healthy = WhenNoneHealthy::Refuse;
    relay.health_check.active = Some(active());
}

/// Two checks either way.
pub(super) fn active() -> ActiveCheck {
    ActiveCheck {
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(1),
        unhealthy_threshold: NonZeroU32::new(2).unwrap(),
        healthy_threshold: NonZeroU32::new(2).unwrap(),
        probe: Probe::Tcp(TcpProbe::default()),
    }
}

/// Names of those left out.
fn left_out(rig: &Rig) -> Vec<String> {
    let all = rig.balancer.backends();
    let out = all.filter(|b| b.left_out() != LeftOut::No);
    out.map(|b| name(b)).collect()
}

#[test]
fn an_ejected_one_comes_back_by_one_session() {
    let mut rig = Rig::new(&[(1, 0, 2)], rules);
    rig.fails("t0:1", 3);
    assert_eq!(rig.names(3), ["t0:2"; 3]);
    assert_eq!(rig.after(50.0), Observed::Same);
    assert_eq!(rig.names(3), ["t0:2"; 3]);
    assert_eq!(rig.after(17.0), Observed::Changed);
    // One session tries it, and while it does nobody else.
    let trial = rig.pick().unwrap();
    assert_eq!(name(trial.place.backend()), "t0:1");
    assert!(trial.trial.is_some());
    assert_eq!(rig.names(3), ["t0:2"; 3]);
    // It ends and tells nothing: the next one tries.
    drop(trial);
    let trial = rig.pick().unwrap();
    assert!(trial.trial.is_some());
    assert_eq!(rig.reached("t0:1", 1), Observed::Changed);
    let names = rig.names(4);
    assert_eq!(names.iter().filter(|n| *n == "t0:1").count(), 2);
    assert_eq!(rig.find("t0:1").counts().ejections, 1);
}

#[test]
fn a_trial_that_fails_ejects_at_once() {
    let mut rig = Rig::new(&[(1, 0, 2)], rules);
    rig.fails("t0:1", 3);
    let _ = rig.after(67.0);
    rig.fails("t0:1", 1);
    assert_eq!(left_out(&rig), ["t0:1"]);
    let _ = rig.after(107.0);
    assert_eq!(left_out(&rig), ["t0:1"], "the second time lasts longer");
    let _ = rig.after(26.0);
    assert!(left_out(&rig).is_empty());
}

#[test]
fn a_trial_for_early_resets_lasts_until_the_answer() {
    let mut rig = Rig::new(&[(1, 0, 2)], |relay| {
        rules(relay);
        relay.health_check.passive.consecutive_early_resets = NonZeroU32::new(1);
    });
    let _ = rig.observe("t0:1", Outcome::EarlyReset(failure()));
    let _ = rig.after(67.0);
    let trial = rig.pick().unwrap();
    assert_eq!(name(trial.place.backend()), "t0:1");
    let _ = rig.reached("t0:1", 1);
    drop(trial.trial);
    assert_eq!(rig.names(3), ["t0:2"; 3], "reached is not enough");
    let _ = rig.observe("t0:1", Outcome::Answered);
    assert_eq!(rig.counts(4).len(), 2);
}

#[test]
fn a_hedge_is_no_trial() {
    let mut rig = Rig::new(&[(1, 0, 2)], rules);
    rig.fails("t0:1", 3);
    let _ = rig.after(67.0);
    let client = rig.anyone();
    let hedged = rig.pick_but(&["t0:2"], client, Some(0));
    assert_eq!(hedged.unwrap_err(), NoPick::AllTried);
}

#[test]
fn the_last_one_is_never_ejected() {
    let mut alone = Rig::new(&[(1, 0, 1)], rules);
    alone.fails("t0:1", 9);
    assert!(left_out(&alone).is_empty());
    let mut two = Rig::new(&[(1, 0, 2)], rules);
    two.fails("t0:1", 3);
    two.fails("t0:2", 3);
    assert_eq!(left_out(&two), ["t0:1"]);
    // Another one is back: now it may go.
    let _ = two.after(67.0);
    let _ = two.reached("t0:1", 1);
    two.fails("t0:2", 1);
    assert_eq!(left_out(&two), ["t0:2"]);
}

#[test]
fn a_part_of_a_priority_may_be_ejected_but_one_at_least() {
    let fail_all = |targets: &[_], percent| {
        let mut rig = Rig::new(targets, rules);
        rig.edit(|f| f.spec.relay.health_check.passive.max_ejection_percent = percent);
        let names: Vec<_> = rig.balancer.backends().map(|b| name(b)).collect();
        names.iter().for_each(|name| rig.fails(name, 3));
        left_out(&rig).len()
    };
    let expected = [(50, 2), (40, 2), (39, 1), (10, 1), (0, 0), (100, 4)];
    for (percent, count) in expected {
        assert_eq!(fail_all(&[(1, 0, 5)], percent), count, "{percent} %");
    }
    // Alone in its priority, but the standby is there.
    assert_eq!(fail_all(&[(1, 0, 1), (1, 1, 1)], 50), 1);
}

#[test]
fn when_the_others_leave_an_ejection_ends() {
    let mut rig = Rig::new(&[(1, 0, 2)], rules);
    rig.fails("t0:1", 3);
    rig.edit(|f| f.backends.truncate(1));
    // Anybody may try, not one at a time: nobody else is there.
    let first = rig.pick().unwrap();
    assert!(first.trial.is_some());
    let second = rig.pick().unwrap();
    assert_eq!(
        (
            name(second.place.backend()).as_str(),
            second.trial.is_none()
        ),
        ("t0:1", true)
    );
}

#[test]
fn health_is_kept_when_the_forward_changes() {
    let mut rig = Rig::new(&[(1, 0, 3)], rules);
    rig.fails("t0:1", 3);
    rig.fails("t0:2", 2);
    rig.edit(|f| {
        f.spec.relay.targets[0].weight = 5;
        f.backends.remove(2);
        f.spec.timeouts.idle = Some(Duration::from_secs(5));
    });
    assert_eq!(left_out(&rig), ["t0:1"]);
    assert_eq!(rig.names(2), ["t0:2"; 2]);
    let _ = rig.after(67.0);
    assert!(left_out(&rig).is_empty());
}

#[test]
fn checks_leave_out_and_bring_back() {
    let mut rig = Rig::new(&[(1, 0, 2)], rules);
    assert_eq!(
        rig.observe("t0:1", Outcome::CheckFailed(failure())),
        Observed::Changed
    );
    assert_eq!(rig.names(2), ["t0:2"; 2]);
    assert_eq!(rig.condition("t0:1"), Condition::Unhealthy);
    let _ = rig.observe("t0:1", Outcome::CheckPassed);
    assert_eq!(rig.observe("t0:1", Outcome::CheckPassed), Observed::Changed);
    assert_eq!(rig.counts(4).len(), 2);
    assert_eq!(rig.condition("t0:1"), Condition::Usable);
}

#[test]
fn when_none_is_healthy_they_refuse_or_try_all() {
    let mut rig = Rig::new(&[(1, 0, 2)], rules);
    for name in ["t0:1", "t0:2"] {
        let _ = rig.observe(name, Outcome::CheckFailed(failure()));
    }
    assert_eq!(rig.names(1), ["NoneHealthy"]);
    rig.edit(|f| f.spec.relay.health_check.when_none_healthy = WhenNoneHealthy::TryAll);
    assert_eq!(
        rig.counts(4).into_keys().collect::<Vec<_>>(),
        ["t0:1", "t0:2"]
    );
    assert_eq!(
        rig.condition("t0:1"),
        Condition::Usable,
        "used, so not left out"
    );
    // Never those that take no new sessions.
    rig.edit(|f| f.backends[0].takes_new = TakesNew::No);
    assert_eq!(rig.names(2), ["t0:2"; 2]);
    rig.edit(|f| f.backends[1].takes_new = TakesNew::No);
    assert_eq!(rig.names(1), ["NoBackend"]);
}

#[test]
fn conditions_tell_what_became_of_a_backend() {
    let mut rig = Rig::new(&[(1, 0, 4)], rules);
    let gone = rig.find("t0:4");
    rig.now += Duration::from_secs(3);
    let since = rig.now;
    rig.edit(|f| {
        f.backends[0].state = BackendState::Terminating;
        for (i, state) in [(1, BackendState::NotReady), (2, BackendState::Terminating)] {
            f.backends[i].state = state;
            f.backends[i].takes_new = TakesNew::No;
        }
        f.backends.remove(3);
    });
    rig.now += Duration::from_secs(3);
    rig.edit(|f| f.spec.generation += 1);
    assert_eq!(
        rig.condition("t0:1"),
        Condition::Usable,
        "it still takes sessions"
    );
    assert_eq!(rig.find("t0:2").condition(), (Condition::NotReady, since));
    assert_eq!(
        rig.find("t0:3").condition(),
        (Condition::Terminating, since)
    );
    assert_eq!(gone.condition(), (Condition::Removed, since));
}

#[test]
fn one_that_comes_back_while_it_has_sessions_goes_on_with_its_counts() {
    let mut rig = Rig::new(&[(1, 0, 1)], rules);
    let session = rig.pick().unwrap();
    let backend = rig.forward.backends.clone();
    rig.edit(|f| f.backends.clear());
    rig.edit(|f| f.backends = backend.clone());
    assert_eq!(rig.find("t0:1").open(), 1);
    assert_eq!(session.place.backend().condition().0, Condition::Usable);
    drop(session);
    rig.edit(|f| f.backends.clear());
    rig.edit(|f| f.backends = backend.clone());
    assert_eq!(rig.find("t0:1").total(), 0, "nobody remembered it");
}

#[test]
fn one_that_comes_back_while_it_has_sessions_is_as_well_as_it_was() {
    let mut rig = Rig::new(&[(1, 0, 3)], rules);
    rig.open = (0..3).map(|_| rig.pick().unwrap()).collect();
    let backends = rig.forward.backends.clone();
    rig.fails("t0:1", 3);
    let _ = rig.observe("t0:2", Outcome::CheckFailed(failure()));
    assert_eq!(left_out(&rig), ["t0:1", "t0:2"]);
    let flap = |rig: &mut Rig| {
        rig.edit(|f| f.backends.clear());
        rig.edit(|f| f.backends = backends.clone());
    };
    flap(&mut rig);
    assert_eq!(left_out(&rig), ["t0:1", "t0:2"]);
    // The next check decides alone: nobody knows what happened meanwhile.
    let _ = rig.observe("t0:2", Outcome::CheckPassed);
    assert_eq!(left_out(&rig), ["t0:1"]);
    // The time of an ejection goes on.
    rig.edit(|f| f.backends.clear());
    let _ = rig.after(67.0);
    rig.edit(|f| f.backends = backends.clone());
    let _ = rig.after(0.0);
    assert_eq!(left_out(&rig), [""; 0]);
    // What the rules say nothing of any more is forgotten, wherever it was.
    rig.fails("t0:1", 3);
    rig.edit(|f| f.backends.clear());
    rig.edit(|f| f.spec.relay.health_check.passive.consecutive_dial_failures = None);
    rig.edit(|f| f.backends = backends.clone());
    assert_eq!(left_out(&rig), [""; 0]);
}

#[test]
fn who_is_no_backend_any_more_tells_nothing() {
    let mut rig = Rig::new(&[(1, 0, 2)], rules);
    let gone = rig.find("t0:2");
    rig.edit(|f| f.backends.truncate(1));
    let outcome = Outcome::DialFailed(failure());
    assert_eq!(
        rig.balancer.observe(&gone, outcome, rig.now),
        Observed::Same
    );
    assert_eq!(gone.counts().failed.iter().sum::<u64>(), 1);
}

/// One thing that happens: to which backend, and what.
fn events() -> impl Strategy<Value = Vec<(u16, u8)>> {
    prop::collection::vec((1..7_u16, 0..7_u8), 1..40)
}

proptest! {
    // A hash table is filled after each event, which takes its time without optimization.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_ejected_are_never_picked_while_one_is_usable(
        events in events(), policy in 0..4_usize, percent in 0..=100_u8, seed: u64,
    ) {
        let policies = [
            Policy::ConsistentHash,
            Policy::LeastConnections,
            Policy::LeastLatency,
            Policy::RoundRobin,
        ];
        let mut rig = Rig::new(&[(3, 0, 4), (1, 0, 2), (1, 2, 6)], |relay| {
            rules(relay);
            relay.load_balancer.policy = policies[policy];
            relay.health_check.passive.max_ejection_percent = percent;
        });
        rig.rng = fastrand::Rng::with_seed(seed);
        for (port, event) in events {
            let target = if port > 4 { "t0" } else { ["t0", "t2"][usize::from(event) % 2] };
            let name = format!("{target}:{}", port.min(4));
            match event {
                0 | 1 => rig.fails(&name, 3),
                2 => drop(rig.reached(&name, 1)),
                3 => drop(rig.observe(&name, Outcome::CheckFailed(failure()))),
                4 => drop(rig.observe(&name, Outcome::CheckPassed)),
                5 => drop(rig.after(25.0)),
                _ => rig.edit(|f| f.spec.generation += 1),
            }
            let is_left = |b: &&Arc<Backend>| b.left_out() == LeftOut::No;
            let has_good = rig.balancer.backends().any(|b| is_left(&b));
            match rig.pick() {
                Ok(picked) => prop_assert_eq!(picked.place.backend().left_out(), LeftOut::No),
                Err(reason) => prop_assert!(!has_good, "{:?}", reason),
            }
        }
    }
}
