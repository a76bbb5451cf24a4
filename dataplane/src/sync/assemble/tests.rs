use tcpforward_protocol::delta::Delta;
use tcpforward_protocol::snapshot::{Grant, Origin, Permission, Snapshot};
use tcpforward_protocol::testing;

use super::*;
use crate::sync::samples::{self, forward, snapshot};

fn whole(delta: Delta, wanted: &Snapshot) -> proto::Update {
    let mut assembler = Assembler::default();
    let parts = delta.into_parts(1, 5, wanted);
    let [change] = parts
        .into_iter()
        .filter_map(|part| assembler.add(part).unwrap())
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    change
}

fn names(held: &Held) -> Vec<&str> {
    held.forwards.keys().map(ForwardName::name).collect()
}

#[test]
fn a_full_set_then_a_change() {
    let first = snapshot([forward("a", 1, &[]), forward("b", 1, &[])]);
    let held = Held::apply(None, whole(Delta::full(&first), &first)).unwrap();
    assert_eq!((names(&held), held.epoch), (vec!["a", "b"], 5));
    let second = snapshot([forward("b", 2, &[]), forward("c", 1, &[])]);
    let held = Held::apply(Some(&held), whole(Delta::between(&first, &second), &second)).unwrap();
    assert_eq!(names(&held), ["b", "c"]);
    assert_eq!(held.version, second.version());
}

#[test]
fn a_full_set_replaces_whatever_was_held() {
    let first = snapshot([forward("a", 1, &[])]);
    let held = Held::apply(None, whole(Delta::full(&first), &first)).unwrap();
    let second = snapshot([forward("b", 1, &[])]);
    let held = Held::apply(Some(&held), whole(Delta::full(&second), &second)).unwrap();
    assert_eq!(names(&held), ["b"]);
}

#[test]
fn what_it_cannot_do_is_refused_alone_and_the_former_state_stays() {
    let first = snapshot([forward("a", 1, &[]), forward("b", 1, &[])]);
    let held = Held::apply(None, whole(Delta::full(&first), &first)).unwrap();
    let second = snapshot([forward("a", 2, &["teleport"]), forward("b", 2, &[])]);
    let held = Held::apply(Some(&held), whole(Delta::between(&first, &second), &second)).unwrap();
    let generations: Vec<_> = held.forwards.values().map(|f| f.spec.generation).collect();
    assert_eq!(generations, [1, 2]);
    let refused: Vec<_> = held
        .refused
        .values()
        .map(|r| (r.forward.name(), r.code))
        .collect();
    assert_eq!(refused, [("a", RefusalCode::Unsupported)]);
    let third = snapshot([forward("b", 2, &[])]);
    let held = Held::apply(Some(&held), whole(Delta::between(&second, &third), &third)).unwrap();
    assert!(held.refused.is_empty());
}

#[test]
fn a_refused_forward_keeps_its_former_state_over_a_full_set() {
    let first = snapshot([forward("a", 1, &[])]);
    let held = Held::apply(None, whole(Delta::full(&first), &first)).unwrap();
    let second = snapshot([forward("a", 2, &["teleport"])]);
    let held = Held::apply(Some(&held), whole(Delta::full(&second), &second)).unwrap();
    assert_eq!(held.forwards.values().next().unwrap().spec.generation, 1);
}

#[test]
fn a_refused_forward_gets_the_backends_of_its_former_targets() {
    let with_backends = |generation, requires: &[&str], backends: &[(&str, &str)]| {
        let mut forward = forward("a", generation, requires);
        let names = ["t", "new"]
            .into_iter()
            .take(forward.spec.requires.len() + 1);
        let target = forward.spec.relay.targets[0].clone();
        let named = |name: &str| tcpforward_protocol::snapshot::Target {
            name: name.to_owned(),
            ..target.clone()
        };
        forward.spec.relay.targets = names.map(named).collect();
        let backends = backends
            .iter()
            .map(|(target, address)| samples::backend(target, address));
        Forward::new(forward.name, forward.spec, backends.collect())
    };
    let first = snapshot([with_backends(1, &[], &[("t", "10.0.0.1:80")])]);
    let held = Held::apply(None, whole(Delta::full(&first), &first)).unwrap();
    let backends = [("t", "10.0.0.2:80"), ("new", "10.0.0.3:80")];
    let second = snapshot([with_backends(2, &["teleport"], &backends)]);
    for delta in [Delta::full(&second), Delta::between(&first, &second)] {
        let held = Held::apply(Some(&held), whole(delta, &second)).unwrap();
        let kept = held.forwards.values().next().unwrap();
        assert_eq!(kept.spec, first.forwards().next().unwrap().spec);
        assert_eq!(kept.backends, [samples::backend("t", "10.0.0.2:80")]);
        assert_ne!(
            held.hashes[&kept.name], kept.hash,
            "it is not what was sent"
        );
    }
}

/// Else a spec that no data plane takes would be a way to lead into the cluster.
#[test]
fn who_names_the_backends_of_a_former_target_is_what_is_said_today() {
    let by = |generation, requires: &[&str], origin, address| {
        let mut forward = forward("a", generation, requires);
        forward.spec.relay.targets[0].origin = origin;
        let backends = vec![samples::backend("t", address)];
        Forward::new(forward.name, forward.spec, backends)
    };
    for (before, today) in [
        (Origin::Service, Origin::Author),
        (Origin::Author, Origin::Service),
    ] {
        let first = snapshot([by(1, &[], before, "10.0.0.1:80")]);
        let held = Held::apply(None, whole(Delta::full(&first), &first)).unwrap();
        let second = snapshot([by(2, &["teleport"], today, "10.0.0.2:80")]);
        let held = Held::apply(Some(&held), whole(Delta::full(&second), &second)).unwrap();
        let kept = held.forwards.values().next().unwrap();
        let bound_elsewhere = with_backends(
            first.forwards().next().unwrap(),
            second.forwards().next().unwrap(),
        );
        for forward in [&**kept, &bound_elsewhere] {
            assert_eq!(forward.spec.generation, 1);
            assert_eq!(forward.spec.relay.targets[0].origin, today);
            assert_eq!(forward.backends, [samples::backend("t", "10.0.0.2:80")]);
        }
    }
}

/// Else a spec that no data plane takes would be a way to keep what was taken back.
#[test]
fn a_refused_forward_loses_what_is_taken_back() {
    let granted = |generation, requires: &[&str], permission| {
        let plain = forward("a", generation, requires);
        let backends = match permission {
            Permission::Given => vec![samples::backend("t", "10.0.0.1:80")],
            Permission::Missing => Vec::new(),
        };
        let grant = Grant {
            target: "t".to_owned(),
            service: testing::service("data", "db"),
            permission,
        };
        Forward::granted(plain.name, plain.spec, backends, vec![grant])
    };
    let first = snapshot([granted(1, &["grants"], Permission::Given)]);
    let held = Held::apply(None, whole(Delta::full(&first), &first)).unwrap();
    let second = snapshot([granted(2, &["grants", "teleport"], Permission::Missing)]);
    let held = Held::apply(Some(&held), whole(Delta::between(&first, &second), &second)).unwrap();
    let kept = held.forwards.values().next().unwrap();
    assert_eq!((kept.spec.generation, kept.backends.len()), (1, 0));
    assert_eq!(kept.grants[0].permission, Permission::Missing);
    let bound_elsewhere = with_backends(
        first.forwards().next().unwrap(),
        second.forwards().next().unwrap(),
    );
    assert_eq!(bound_elsewhere.grants, kept.grants);
    assert_eq!(bound_elsewhere.backends, []);
}

#[test]
fn a_forward_that_makes_no_sense_is_refused_alone() {
    let wanted = snapshot([forward("a", 1, &[]), forward("b", 1, &[])]);
    let mut change = whole(Delta::full(&wanted), &wanted);
    change
        .upserts
        .iter_mut()
        .filter(|f| f.name == "n/a")
        .for_each(|f| f.spec = None);
    let held = Held::apply(None, change).unwrap();
    assert_eq!(names(&held), ["b"]);
    assert_eq!(
        held.refused.values().next().unwrap().code,
        RefusalCode::Invalid
    );
}

#[test]
fn a_set_that_adds_up_to_another_version_is_not_believed() {
    let wanted = snapshot([forward("a", 1, &[])]);
    let mut change = whole(Delta::full(&wanted), &wanted);
    change.upserts.clear();
    assert!(matches!(
        Held::apply(None, change),
        Err(Error::OtherVersion { .. })
    ));
}

#[test]
fn a_change_needs_something_to_change() {
    let wanted = snapshot([]);
    let change = whole(Delta::between(&wanted, &wanted), &wanted);
    assert!(matches!(Held::apply(None, change), Err(Error::NothingHeld)));
}

#[test]
fn parts_of_two_changes_do_not_mix() {
    let mut assembler = Assembler::default();
    assert!(
        assembler
            .add(proto::Update {
                nonce: 1,
                ..Default::default()
            })
            .unwrap()
            .is_none()
    );
    let mixed = assembler.add(proto::Update {
        nonce: 2,
        ..Default::default()
    });
    assert!(matches!(mixed, Err(Error::Mixed { open: 1, got: 2 })));
}

#[test]
fn parts_without_end_are_not_gathered() {
    let mut assembler = Assembler::default();
    let part = || proto::Update {
        removals: vec!["x".repeat(1 << 20)],
        ..Default::default()
    };
    let refused = (0..300).find_map(|_| assembler.add(part()).err());
    assert!(matches!(refused, Some(Error::TooLarge)));
}
