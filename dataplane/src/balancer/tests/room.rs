//! Backends that are full, and forwards so large that what is learned is gathered.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use tcpforward_protocol::answer::LeftOut;
use tcpforward_protocol::snapshot::{BackendLimits, Policy, WhenNoneHealthy};

use super::rig::{Rig, failure, name};
use super::*;
use crate::balancer::backend::Condition;

const ALL: [Policy; 4] = [
    Policy::ConsistentHash,
    Policy::LeastConnections,
    Policy::LeastLatency,
    Policy::RoundRobin,
];

/// So many sessions on each of the backends.
fn limited(policy: Policy, targets: &[(u32, u32, u16)], limit: u32) -> Rig {
    Rig::new(targets, |relay| {
        relay.load_balancer.policy = policy;
        relay.backend_limits = Some(BackendLimits {
            connections: NonZeroU32::new(limit).unwrap(),
            queue_timeout: Duration::ZERO,
        });
    })
}

#[test]
fn a_pick_looks_at_few_when_nearly_all_are_full() {
    for policy in ALL {
        let mut rig = limited(policy, &[(3, 0, 1000), (1, 0, 500), (1, 1, 500)], 1);
        let mut most = 0;
        for _ in 0..2000 {
            let picked = rig.pick().unwrap();
            rig.open.push(picked);
            most = most.max(rig.balancer.looks);
        }
        for _ in 0..100 {
            assert_eq!(rig.pick().unwrap_err(), NoPick::AllFull);
            most = most.max(rig.balancer.looks);
            let left = name(rig.open.swap_remove(77).place.backend());
            let picked = rig.pick().unwrap();
            most = most.max(rig.balancer.looks);
            assert_eq!(name(picked.place.backend()), left, "the only one with room");
            rig.open.push(picked);
        }
        assert!(most <= 80, "{policy:?}: {most}");
    }
}

#[test]
fn a_full_one_that_is_ejected_and_emptied_comes_back_by_itself() {
    let mut rig = limited(Policy::RoundRobin, &[(1, 0, 2)], 1);
    rig.edit(|f| f.spec.relay.health_check.passive = super::health::passive());
    rig.open = (0..2).map(|_| rig.pick().unwrap()).collect();
    assert_eq!(rig.pick().unwrap_err(), NoPick::AllFull);
    rig.fails("t0:1", 3);
    rig.open.clear();
    assert_eq!(rig.names(3), ["t0:2"; 3]);
    let _ = rig.after(67.0);
    let _ = rig.reached("t0:1", 1);
    assert_eq!(rig.counts(10)["t0:1"], 5);
}

#[test]
fn many_changes_in_a_large_forward_are_put_into_force_together() {
    for policy in ALL {
        let mut rig = Rig::new(&[(1, 0, 600), (1, 1, 2)], |relay| {
            relay.load_balancer.policy = policy;
            relay.health_check.passive = super::health::passive();
        });
        let before = rig.balancer.arrangements;
        for port in 1..=250 {
            rig.fails(&format!("t0:{port}"), 3);
        }
        assert_eq!(rig.find("t0:250").left_out(), LeftOut::Ejected);
        // Those that are left out get nothing from then on.
        let mut most = 0;
        for _ in 0..3000 {
            let picked = rig.pick().unwrap();
            let backend = picked.place.backend();
            assert_eq!(backend.left_out(), LeftOut::No, "{policy:?}");
            assert_eq!(&*backend.target, "t0");
            most = most.max(rig.balancer.looks);
        }
        assert!(most <= 80 + 250, "{policy:?}: {most}");
        assert_eq!(rig.balancer.arrangements, before);
        assert_eq!(rig.after(0.0), Observed::Changed);
        assert_eq!(rig.balancer.arrangements, before + 1);
        assert_eq!(rig.condition("t0:1"), Condition::Unhealthy);
        assert_eq!(rig.after(0.0), Observed::Same);
    }
}

#[test]
fn a_large_forward_ejects_no_more_than_it_may() {
    let mut rig = Rig::new(&[(1, 0, 400)], |relay| {
        relay.health_check.passive = super::health::passive();
        relay.health_check.passive.max_ejection_percent = 25;
    });
    for port in 1..=400 {
        rig.fails(&format!("t0:{port}"), 3);
    }
    let ejected = |rig: &Rig| {
        let all = rig.balancer.backends();
        all.filter(|b| b.left_out() == LeftOut::Ejected).count()
    };
    assert_eq!(ejected(&rig), 100);
    let _ = rig.after(0.0);
    assert_eq!(ejected(&rig), 100);
}

#[test]
fn when_all_of_a_large_priority_fail_their_checks_the_next_one_serves_at_once() {
    let mut rig = Rig::new(&[(1, 0, 300), (1, 1, 1)], |relay| {
        relay.health_check.active = Some(super::health::active());
        relay.health_check.when_none_healthy = WhenNoneHealthy::Refuse;
    });
    for port in 1..=300 {
        let _ = rig.observe(&format!("t0:{port}"), Outcome::CheckFailed(failure()));
    }
    assert_eq!(rig.names(3), ["t1:1"; 3]);
    let _ = rig.observe("t1:1", Outcome::CheckFailed(failure()));
    assert_eq!(rig.pick().unwrap_err(), NoPick::NoneHealthy);
}

proptest! {
    #[test]
    fn whoever_has_room_is_found(
        steps in prop::collection::vec((any::<bool>(), 0..64_usize, 0..4_u16), 1..200),
        targets in prop::collection::vec((1..4_u32, 0..2_u32, 1..4_u16), 1..4),
        limit in 1..4_u32,
        policy in prop::sample::select(ALL.to_vec()),
    ) {
        let mut rig = limited(policy, &targets, limit);
        let backends: u32 = targets.iter().map(|t| u32::from(t.2)).sum();
        for (opens, which, edits) in steps {
            if edits == 0 {
                rig.edit(|_| {});
            }
            if opens {
                let has_room = rig.open.len() < (backends * limit) as usize;
                let picked = rig.pick();
                prop_assert_eq!(picked.is_ok(), has_room);
                rig.open.extend(picked.ok());
                prop_assert!(rig.balancer.backends().all(|b| b.open() <= u64::from(limit)));
            } else if !rig.open.is_empty() {
                let at = which % rig.open.len();
                drop(rig.open.swap_remove(at));
            }
        }
        // Whatever happened: all of it can be had, and no more.
        let left = (backends * limit) as usize - rig.open.len();
        for _ in 0..left {
            let picked = rig.pick();
            prop_assert!(picked.is_ok());
            rig.open.extend(picked.ok());
        }
        prop_assert_eq!(rig.pick().unwrap_err(), NoPick::AllFull);
    }
}
