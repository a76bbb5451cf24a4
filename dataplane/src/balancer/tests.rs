//! What picks may be expected to do, by example and by property.

use std::collections::HashMap;
use std::net::SocketAddr;

use proptest::prelude::*;
use tcpforward_protocol::snapshot::{self, BackendState, ForwardName, TakesNew, Target};
use tcpforward_protocol::testing;

use super::*;
use crate::balancer::request::{Candidates, NoPick, Picked, Request};

mod ejection;
mod health;
mod policies;
mod priorities;
mod rig;
mod room;
mod topology;

/// (weight, priority, backends)
fn forward(targets: &[(u32, u32, u16)]) -> Forward {
    let name = |i: usize| format!("t{i}");
    let targets_of = targets.iter().enumerate();
    let spec = testing::spec(
        targets_of
            .map(|(i, &(weight, priority, _))| Target {
                weight,
                priority,
                ..testing::target(&name(i))
            })
            .collect(),
    );
    let backends = targets.iter().enumerate().flat_map(|(i, &(_, _, count))| {
        (0..count).map(move |b| snapshot::Backend {
            target: name(i),
            address: SocketAddr::from(([10, 0, u8::try_from(i).unwrap(), 1], b + 1)),
            state: BackendState::Ready,
            takes_new: TakesNew::Yes,
            nodes: Vec::new(),
            zones: Vec::new(),
        })
    });
    Forward::new(ForwardName::new("n", "f"), spec, backends.collect())
}

fn updated(balancer: &mut Balancer, targets: &[(u32, u32, u16)], seed: u64) {
    balancer.update(&forward(targets), &Place::default(), now(), seed);
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn balancer(targets: &[(u32, u32, u16)]) -> Balancer {
    let mut balancer = Balancer::default();
    updated(&mut balancer, targets, 0);
    balancer
}

fn pick(balancer: &mut Balancer, tried: &[Arc<Backend>]) -> Result<Picked, NoPick> {
    let request = Request {
        tried,
        source: "192.0.2.1".parse().unwrap(),
        now: now(),
        priority: None,
    };
    balancer.pick(&request, &mut fastrand::Rng::with_seed(1))
}

fn one(balancer: &mut Balancer) -> Arc<Backend> {
    Arc::clone(pick(balancer, &[]).unwrap().place.backend())
}

fn shares(balancer: &mut Balancer, picks: u32) -> HashMap<String, u32> {
    let mut shares = HashMap::new();
    for _ in 0..picks {
        let backend = one(balancer);
        *shares.entry(backend.target.to_string()).or_default() += 1;
    }
    shares
}

#[test]
fn three_backends_take_turns() {
    let mut balancer = balancer(&[(1, 0, 3)]);
    let ports: Vec<u16> = (0..6).map(|_| one(&mut balancer).address.port()).collect();
    assert_eq!(ports, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn a_target_without_backends_spills_its_share() {
    let mut balancer = balancer(&[(1, 0, 1), (5, 0, 0), (3, 0, 2)]);
    let shares = shares(&mut balancer, 8);
    assert_eq!(
        shares,
        HashMap::from([("t0".to_owned(), 2), ("t2".to_owned(), 6)])
    );
}

#[test]
fn weight_zero_and_nothing_at_all_give_nobody() {
    for targets in [&[(0, 0, 3)][..], &[(1, 0, 0)], &[]] {
        let nobody = pick(&mut balancer(targets), &[]).unwrap_err();
        assert_eq!(nobody, NoPick::NoBackend);
    }
}

#[test]
fn the_next_priority_serves_only_when_the_first_is_tried_or_empty() {
    let mut both = balancer(&[(1, 0, 2), (1, 7, 1)]);
    assert_eq!(shares(&mut both, 9), HashMap::from([("t0".to_owned(), 9)]));
    let mut tried = Vec::new();
    for (priority, left) in [
        (0, Candidates::More),
        (0, Candidates::More),
        (7, Candidates::Last),
    ] {
        let picked = pick(&mut both, &tried).unwrap();
        assert_eq!((picked.priority, picked.candidates), (priority, left));
        tried.push(Arc::clone(picked.place.backend()));
    }
    assert_eq!(pick(&mut both, &tried).unwrap_err(), NoPick::AllTried);
    let mut standby = balancer(&[(1, 0, 0), (1, 7, 1)]);
    assert_eq!(
        shares(&mut standby, 2),
        HashMap::from([("t1".to_owned(), 2)])
    );
}

#[test]
fn counts_survive_a_change_of_the_forward() {
    let mut balancer = balancer(&[(1, 0, 2)]);
    let place = pick(&mut balancer, &[]).unwrap().place;
    let address = place.backend().address;
    updated(&mut balancer, &[(4, 0, 3), (1, 1, 1)], 0);
    let find = || balancer.backends().find(|b| b.address == address);
    assert_eq!(find().unwrap().open(), 1);
    drop(place);
    let kept = find().unwrap();
    assert_eq!((kept.open(), kept.total()), (0, 1));
}

#[test]
fn a_thousand_backends_each_get_their_turn() {
    let mut balancer = balancer(&[(1, 0, 1000)]);
    let mut seen = HashMap::new();
    for _ in 0..3000 {
        *seen.entry(one(&mut balancer).address).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 1000);
    assert!(seen.values().all(|count| *count == 3));
}

fn targets() -> impl Strategy<Value = Vec<(u32, u32, u16)>> {
    prop::collection::vec((0..20_u32, 0..3_u32, 0..5_u16), 0..6)
}

proptest! {
    #[test]
    fn shares_are_exact_over_whole_cycles(
        weights in prop::collection::vec((1..50_u32, 1..5_u16), 1..8), cycles in 1..4_u32,
    ) {
        let targets: Vec<_> = weights.iter().map(|&(weight, n)| (weight, 0, n)).collect();
        let cycle: u32 = weights.iter().map(|(weight, _)| weight).sum();
        let shares = shares(&mut balancer(&targets), cycle * cycles);
        for (i, (weight, _)) in weights.iter().enumerate() {
            prop_assert_eq!(shares[&format!("t{i}")], weight * cycles);
        }
    }

    #[test]
    fn a_session_never_tries_one_twice(targets in targets(), warm in 0..50, seed: u64) {
        let mut balancer = Balancer::default();
        updated(&mut balancer, &targets, seed);
        for _ in 0..warm {
            let _ = pick(&mut balancer, &[]);
        }
        let usable: usize =
            targets.iter().filter(|t| t.0 > 0).map(|t| usize::from(t.2)).sum();
        let mut tried = Vec::new();
        while let Ok(picked) = pick(&mut balancer, &tried) {
            let backend = Arc::clone(picked.place.backend());
            let more = picked.candidates;
            prop_assert!(!tried.iter().any(|t| Arc::ptr_eq(t, &backend)));
            tried.push(backend);
            prop_assert_eq!(more == Candidates::More, tried.len() < usable);
        }
        prop_assert_eq!(tried.len(), usable);
    }

    #[test]
    fn picks_survive_any_change(steps in prop::collection::vec((targets(), 0..20), 1..8)) {
        let mut balancer = Balancer::default();
        for (targets, picks) in steps {
            updated(&mut balancer, &targets, 3);
            let usable = targets.iter().any(|t| t.0 > 0 && t.2 > 0);
            for _ in 0..picks {
                prop_assert_eq!(pick(&mut balancer, &[]).is_ok(), usable);
            }
        }
    }
}
