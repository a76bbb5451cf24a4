//! Near ones first, and far ones for whoever finds no near one.

use std::num::NonZeroU32;
use std::time::Duration;

use tcpforward_protocol::snapshot::{BackendLimits, Policy, Relay, Topology};

use super::rig::{Rig, name};
use super::*;

const ALL: [Policy; 4] = [
    Policy::ConsistentHash,
    Policy::LeastConnections,
    Policy::LeastLatency,
    Policy::RoundRobin,
];

/// t0:1 is near, t0:2 and t0:3 are far; t1:1 is a standby.
fn rig(edit: impl FnOnce(&mut Relay)) -> Rig {
    let mut rig = Rig::new(&[(1, 0, 3), (1, 1, 1)], |relay| {
        relay.load_balancer.topology = Topology::Auto;
        relay.health_check.passive = super::health::passive();
        edit(relay);
    });
    rig.place.zone = "west".to_owned();
    rig.edit(|f| {
        for (backend, zone) in f.backends.iter_mut().zip(["west", "east", "east"]) {
            backend.zones = vec![zone.to_owned()];
        }
    });
    rig
}

#[test]
fn a_session_that_fails_near_goes_on_to_far_ones() {
    for policy in ALL {
        let mut rig = rig(|relay| relay.load_balancer.policy = policy);
        let client = rig.anyone();
        let shares = rig.balancer.accounts(rig.now).into_iter().map(|a| a.share);
        assert_eq!(shares.collect::<Vec<_>>(), [1.0, 0.0, 0.0, 0.0]);
        let first = rig.pick().unwrap();
        assert_eq!(name(first.place.backend()), "t0:1", "{policy:?}");
        assert_eq!(first.candidates, Candidates::More, "{policy:?}");
        let mut tried = vec!["t0:1"];
        for (far, left) in [("t0:2", Candidates::More), ("t0:3", Candidates::More)] {
            let picked = rig.pick_but(&tried, client, None).unwrap();
            assert_eq!(
                (picked.priority, picked.candidates),
                (0, left),
                "{policy:?}"
            );
            tried.push(far);
        }
        let last = rig.pick_but(&tried, client, None).unwrap();
        assert_eq!((last.priority, last.candidates), (1, Candidates::Last));
    }
}

#[test]
fn a_far_one_may_race_a_slow_near_one() {
    let mut rig = rig(|_| {});
    let client = rig.anyone();
    let rival = rig.pick_but(&["t0:1"], client, Some(0)).unwrap();
    assert_ne!(name(rival.place.backend()), "t0:1");
}

#[test]
fn what_near_ones_have_no_room_for_goes_to_far_ones() {
    for policy in ALL {
        let mut rig = rig(|relay| {
            relay.load_balancer.policy = policy;
            relay.backend_limits = Some(BackendLimits {
                connections: NonZeroU32::new(2).unwrap(),
                queue_timeout: Duration::ZERO,
            });
        });
        rig.open = (0..6).map(|_| rig.pick().unwrap()).collect();
        assert_eq!(rig.names(1), ["t1:1"], "{policy:?}: the next priority");
        rig.open.retain(|p| name(p.place.backend()) != "t0:1");
        assert_eq!(rig.names(3), ["t0:1"; 3], "{policy:?}: near again");
    }
}
