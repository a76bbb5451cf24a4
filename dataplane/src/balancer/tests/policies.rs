//! What the policies promise, and limits, slow start and topology, which hold for all of them.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use tcpforward_protocol::answer::LeftOut;
use tcpforward_protocol::snapshot::{BackendLimits, Policy, TakesNew, Topology};

use super::rig::{Rig, name};
use super::*;
use crate::place::Share;

const PICKS: usize = 100_000;
const DRAWN: [Policy; 3] = [
    Policy::ConsistentHash,
    Policy::LeastConnections,
    Policy::LeastLatency,
];
const ALL: [Policy; 4] = [DRAWN[0], DRAWN[1], DRAWN[2], Policy::RoundRobin];

fn is_fair(counts: impl IntoIterator<Item = usize>, share: f64) {
    for count in counts {
        let points = 100.0 * (count as f64 / PICKS as f64 - share);
        assert!(points.abs() <= 2.0, "{points} points off");
    }
}

/// Picks that end at once, answered as fast by everyone.
fn brief(rig: &mut Rig) -> Vec<usize> {
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..PICKS {
        let backend = Arc::clone(rig.pick().unwrap().place.backend());
        rig.now += Duration::from_micros(100);
        let connect = Duration::from_millis(1);
        let _ = rig
            .balancer
            .observe(&backend, Outcome::Reached { connect }, rig.now);
        *counts.entry(name(&backend)).or_default() += 1;
    }
    counts.into_values().collect()
}

#[test]
fn brief_sessions_are_shared_alike() {
    for policy in DRAWN {
        for backends in [2, 3, 10] {
            let mut rig = Rig::of(policy, &[(1, 0, backends)]);
            let counts = brief(&mut rig);
            assert_eq!(counts.len(), usize::from(backends), "{policy:?}");
            is_fair(counts, 1.0 / f64::from(backends));
        }
    }
}

#[test]
fn sessions_that_stay_are_shared_alike() {
    for policy in ALL {
        let mut rig = Rig::of(policy, &[(1, 0, 10)]);
        rig.open = (0..PICKS).map(|_| rig.pick().unwrap()).collect();
        let opens: Vec<_> = rig.balancer.backends().map(|b| b.open()).collect();
        is_fair(opens.into_iter().map(|n| usize::try_from(n).unwrap()), 0.1);
    }
}

#[test]
fn weight_is_the_targets_share_however_many_backends_it_has() {
    for policy in DRAWN {
        let mut rig = Rig::of(policy, &[(1, 0, 6), (3, 0, 2)]);
        let counts = rig.counts(PICKS);
        let of = |target: &str| {
            let own = counts.iter().filter(|(name, _)| name.starts_with(target));
            own.map(|(_, count)| count).sum::<usize>()
        };
        is_fair([of("t0")], 0.25);
        is_fair([of("t1")], 0.75);
    }
}

#[test]
fn fewer_open_sessions_win() {
    let mut rig = Rig::of(Policy::LeastConnections, &[(1, 0, 2)]);
    rig.open = (0..10).map(|_| rig.pick().unwrap()).collect();
    rig.open.retain(|p| name(p.place.backend()) != "t0:2");
    assert_eq!(rig.names(3), ["t0:2"; 3]);
}

#[test]
fn nearer_ones_win_until_they_have_more_to_do() {
    let mut rig = Rig::of(Policy::LeastLatency, &[(1, 0, 2)]);
    let _ = rig.reached("t0:1", 1);
    let _ = rig.reached("t0:2", 4);
    rig.open = (0..4).map(|_| rig.pick().unwrap()).collect();
    let near = rig.find("t0:1").open();
    assert!(near >= 3, "{near} of 4");
    // What is not seen again fades, so the far one gets a chance one day.
    let _ = rig.after(60.0);
    let _ = rig.reached("t0:1", 1);
    rig.open.clear();
    assert_eq!(rig.names(2), ["t0:2"; 2]);
}

#[test]
fn one_that_was_never_reached_gets_no_more_than_its_share() {
    let mut rig = Rig::of(Policy::LeastLatency, &[(1, 0, 2)]);
    let _ = rig.reached("t0:1", 1);
    rig.open = (0..200).map(|_| rig.pick().unwrap()).collect();
    let open = rig.find("t0:2").open();
    assert!((90..=110).contains(&open), "{open} of 200");
}

#[test]
fn one_that_refuses_fast_is_not_near() {
    let mut rig = Rig::of(Policy::LeastLatency, &[(1, 0, 2)]);
    let _ = rig.reached("t0:1", 30);
    rig.fails("t0:2", 1);
    assert_eq!(rig.names(5), ["t0:1"; 5]);
}

#[test]
fn a_client_comes_back_to_its_backend() {
    let mut rig = Rig::of(Policy::ConsistentHash, &[(1, 0, 7)]);
    let mut other = Rig::of(Policy::ConsistentHash, &[(1, 0, 7)]);
    for _ in 0..100 {
        let client = rig.anyone();
        let IpAddr::V4(v4) = client else { panic!() };
        let by_v6 = IpAddr::V6(v4.to_ipv6_mapped());
        let at = |rig: &mut Rig, client| {
            let picked = rig.pick_but(&[], client, None).unwrap();
            name(picked.place.backend())
        };
        let first = at(&mut rig, client);
        assert_eq!([at(&mut rig, client), at(&mut rig, by_v6)], [&*first; 2]);
        assert_eq!(at(&mut other, client), first, "another data plane agrees");
    }
}

#[test]
fn when_one_of_n_leaves_hardly_any_client_moves() {
    for count in [2, 5, 10, 50] {
        let mut rig = Rig::of(Policy::ConsistentHash, &[(1, 0, count)]);
        let clients: Vec<_> = (0..20_000).map(|_| rig.anyone()).collect();
        let mut homes = || -> Vec<String> {
            let mut home = |c: &IpAddr| rig.pick_but(&[], *c, None).unwrap();
            let homes: Vec<_> = clients
                .iter()
                .map(|c| name(home(c).place.backend()))
                .collect();
            rig.edit(|f| drop(f.backends.pop()));
            homes
        };
        let (before, after) = (homes(), homes());
        let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        let most = 1.0 / f64::from(count) + 0.015;
        // A client more or less is chance: there are 20,000 of them.
        assert!(
            moved as f64 / 20_000.0 <= most + 0.005,
            "{moved} of {count}"
        );
    }
}

#[test]
fn a_client_with_too_many_sessions_goes_elsewhere() {
    let mut rig = Rig::of(Policy::ConsistentHash, &[(1, 0, 4)]);
    let client = rig.anyone();
    rig.open = (0..400)
        .map(|_| rig.pick_but(&[], client, None).unwrap())
        .collect();
    let mut opens: Vec<_> = rig.balancer.backends().map(|b| b.open()).collect();
    opens.sort_unstable();
    assert_eq!(opens[3], 125, "{opens:?}");
    assert!(opens[0] > 0, "{opens:?}");
}

#[test]
fn few_sessions_of_a_client_stay_together() {
    let mut rig = Rig::of(Policy::ConsistentHash, &[(1, 0, 4)]);
    let client = rig.anyone();
    rig.open = (0..16)
        .map(|_| rig.pick_but(&[], client, None).unwrap())
        .collect();
    let first = Arc::clone(rig.open[0].place.backend());
    assert_eq!(first.open(), 16);
}

#[test]
fn a_restart_of_one_grows_from_a_tenth() {
    for policy in ALL {
        let mut rig = Rig::new(&[(1, 0, 1), (1, 0, 1)], |relay| {
            relay.load_balancer.policy = policy;
            relay.load_balancer.slow_start = Some(Duration::from_secs(30));
        });
        let second = |rig: &mut Rig| rig.counts(20_000)["t1:1"] as f64 / 20_000.0;
        assert!(
            (second(&mut rig) - 0.5).abs() < 0.03,
            "whole from the beginning"
        );
        rig.edit(|f| f.backends[1].takes_new = TakesNew::No);
        rig.edit(|f| f.backends[1].takes_new = TakesNew::Yes);
        // A tenth of a share against a whole one, then as much as 55 % of one.
        for (after, at_most) in [(0.0, 0.12), (15.0, 0.40)] {
            let _ = rig.after(after);
            let share = second(&mut rig);
            assert!(
                share > 0.02 && share <= at_most,
                "{policy:?} {after} {share}"
            );
        }
        let _ = rig.after(15.0);
        assert!((second(&mut rig) - 0.5).abs() < 0.03, "{policy:?}");
    }
}

/// Picks of data plane `index` of `of` until all are full, with so many sessions for each of
/// the three backends; how many each one has.
fn filled(policy: Policy, limit: u32, share: Share) -> Vec<u64> {
    let mut rig = Rig::new(&[(1, 0, 2), (1, 1, 1)], |relay| {
        relay.load_balancer.policy = policy;
        relay.backend_limits = Some(BackendLimits {
            connections: NonZeroU32::new(limit).unwrap(),
            queue_timeout: Duration::ZERO,
        });
    });
    rig.place.share = Some(share);
    rig.edit(|_| {});
    while let Ok(picked) = rig.pick() {
        rig.open.push(picked);
    }
    assert_eq!(rig.pick().unwrap_err(), NoPick::AllFull);
    let opens = rig.balancer.backends().map(|b| b.open()).collect();
    if rig.open.pop().is_some() {
        assert!(rig.pick().is_ok());
    }
    opens
}

#[test]
fn nobody_gets_more_than_its_limit() {
    for (policy, limit) in ALL.into_iter().zip([7, 1, 2, 10]) {
        let part = |index| filled(policy, limit, Share { index, of: 3 });
        let parts = [part(0), part(1), part(2)];
        for backend in 0..3 {
            let open: u64 = parts.iter().map(|opens| opens[backend]).sum();
            assert_eq!(open, u64::from(limit), "{policy:?}: {parts:?}");
        }
    }
}

#[test]
fn a_limit_below_the_data_planes_leaves_none_without_a_backend() {
    let room = |index| {
        let limit = Limit {
            pool: 1,
            share: Share { index, of: 4 },
        };
        (0..100)
            .map(|name: u32| limit.of(maglev::hash(&name.to_be_bytes())))
            .sum::<u64>()
    };
    let rooms: Vec<_> = (0..4).map(room).collect();
    assert_eq!(rooms.iter().sum::<u64>(), 100);
    assert!(rooms.iter().all(|room| *room > 10), "{rooms:?}");
}

#[test]
fn near_ones_first_and_all_when_none_of_them_is_left() {
    let mut rig = Rig::new(&[(1, 0, 3), (1, 0, 1)], |relay| {
        relay.load_balancer.topology = Topology::Auto;
        relay.health_check.passive = super::health::passive();
    });
    rig.place.zone = "west".to_owned();
    rig.edit(|f| {
        for (backend, zone) in f.backends.iter_mut().zip(["west", "east", "east"]) {
            backend.zones = vec![zone.to_owned()];
        }
    });
    let names = |rig: &mut Rig| rig.counts(600).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&mut rig), ["t0:1", "t1:1"]);
    rig.fails("t0:1", 3);
    assert_eq!(names(&mut rig), ["t0:2", "t0:3", "t1:1"]);
    let _ = rig.after(67.0);
    assert_eq!(rig.find("t0:1").left_out(), LeftOut::No);
    let _ = rig.reached("t0:1", 1);
    assert_eq!(names(&mut rig), ["t0:1", "t1:1"]);
}

/// Candidates looked at by each of many picks, at most, after some have failed.
fn looks(policy: Policy, backends: u16) -> usize {
    let mut rig = Rig::new(
        &[(3, 0, backends), (2, 0, backends), (1, 1, backends)],
        |r| {
            r.load_balancer.policy = policy;
            r.health_check.passive = super::health::passive();
        },
    );
    for port in 1..=backends.min(30) / 3 {
        rig.fails(&format!("t0:{port}"), 3);
    }
    let tried = [rig.find("t0:9"), rig.find("t1:4")];
    let request = Request {
        tried: &tried,
        source: "192.0.2.7".parse().unwrap(),
        now: rig.now,
        priority: None,
    };
    let most = (0..20_000).map(|_| {
        let picked = rig.balancer.pick(&request, &mut rig.rng);
        rig.open.extend(picked.ok());
        rig.balancer.looks
    });
    most.max().unwrap()
}

#[test]
fn a_pick_looks_at_few_however_many_there_are() {
    for policy in ALL {
        let (few, many) = (looks(policy, 10), looks(policy, 1000));
        assert!(few <= 80 && many <= 80, "{policy:?}: {few}, {many}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn round_robin_is_exact_over_whole_cycles_with_any_targets(
        targets in prop::collection::vec((1..9_u32, 1..5_u16), 1..5), cycles in 1..3_usize,
    ) {
        let of: Vec<_> = targets.iter().map(|&(weight, count)| (weight, 0, count)).collect();
        let mut rig = Rig::of(Policy::RoundRobin, &of);
        let weights: usize = targets.iter().map(|t| t.0 as usize).sum();
        // So many that each backend has a whole number of turns.
        let counts = rig.counts(weights * 12 * cycles);
        for (name, count) in counts {
            let (weight, of) = targets[name[1..2].parse::<usize>().unwrap()];
            prop_assert_eq!(count * usize::from(of), weight as usize * 12 * cycles);
        }
    }
}
