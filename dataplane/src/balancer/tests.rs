//! What picks may be expected to do, by example and by property.

use std::collections::HashMap;

use proptest::prelude::*;
use tcpforward_protocol::snapshot::{self, BackendState, ForwardName};
use tcpforward_protocol::testing;

use super::*;

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

fn balancer(targets: &[(u32, u32, u16)]) -> Balancer {
    let mut balancer = Balancer::default();
    balancer.update(&forward(targets), 0);
    balancer
}

fn shares(balancer: &mut Balancer, picks: u32) -> HashMap<String, u32> {
    let mut shares = HashMap::new();
    for _ in 0..picks {
        let (backend, _) = balancer.pick(&[]).unwrap();
        *shares.entry(backend.target.to_string()).or_default() += 1;
    }
    shares
}

#[test]
fn three_backends_take_turns() {
    let mut balancer = balancer(&[(1, 0, 3)]);
    let ports: Vec<u16> = (0..6)
        .map(|_| balancer.pick(&[]).unwrap().0.address.port())
        .collect();
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
    assert!(balancer(&[(0, 0, 3)]).pick(&[]).is_none());
    assert!(balancer(&[(1, 0, 0)]).pick(&[]).is_none());
    assert!(balancer(&[]).pick(&[]).is_none());
}

#[test]
fn the_next_priority_serves_only_when_the_first_is_tried_or_empty() {
    let mut both = balancer(&[(1, 0, 2), (1, 7, 1)]);
    assert_eq!(shares(&mut both, 9), HashMap::from([("t0".to_owned(), 9)]));
    let (first, more) = both.pick(&[]).unwrap();
    assert_eq!(more, Candidates::More);
    let (second, _) = both.pick(&[Arc::clone(&first)]).unwrap();
    let (third, last) = both.pick(&[first.clone(), second.clone()]).unwrap();
    assert_eq!((&*third.target, last), ("t1", Candidates::Last));
    assert!(both.pick(&[first, second, third]).is_none());
    let mut standby = balancer(&[(1, 0, 0), (1, 7, 1)]);
    assert_eq!(
        shares(&mut standby, 2),
        HashMap::from([("t1".to_owned(), 2)])
    );
}

#[test]
fn counts_survive_a_change_of_the_forward() {
    let mut balancer = balancer(&[(1, 0, 2)]);
    let place = balancer.pick(&[]).unwrap().0.occupy();
    let address = place.backend().address;
    balancer.update(&forward(&[(4, 0, 3), (1, 1, 1)]), 0);
    assert_eq!(balancer.find("t0", address).unwrap().open(), 1);
    drop(place);
    let kept = balancer.find("t0", address).unwrap();
    assert_eq!((kept.open(), kept.total()), (0, 1));
}

#[test]
fn a_thousand_backends_each_get_their_turn() {
    let mut balancer = balancer(&[(1, 0, 1000)]);
    let mut seen = HashMap::new();
    for _ in 0..3000 {
        *seen
            .entry(balancer.pick(&[]).unwrap().0.address)
            .or_insert(0) += 1;
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
        balancer.update(&forward(&targets), seed);
        for _ in 0..warm {
            balancer.pick(&[]);
        }
        let usable: usize =
            targets.iter().filter(|t| t.0 > 0).map(|t| usize::from(t.2)).sum();
        let mut tried = Vec::new();
        while let Some((backend, more)) = balancer.pick(&tried) {
            prop_assert!(!is_tried(&backend, &tried));
            tried.push(backend);
            prop_assert_eq!(more == Candidates::More, tried.len() < usable);
        }
        prop_assert_eq!(tried.len(), usable);
    }

    #[test]
    fn picks_survive_any_change(steps in prop::collection::vec((targets(), 0..20), 1..8)) {
        let mut balancer = Balancer::default();
        for (targets, picks) in steps {
            balancer.update(&forward(&targets), 3);
            let usable = targets.iter().any(|t| t.0 > 0 && t.2 > 0);
            for _ in 0..picks {
                prop_assert_eq!(balancer.pick(&[]).is_some(), usable);
            }
        }
    }
}
