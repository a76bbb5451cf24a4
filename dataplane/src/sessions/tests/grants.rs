//! Who stands on another namespace's leave, and what becomes of them without it.

use tcpforward_protocol::snapshot::{Grant, Permission};

use super::case::Case;
use super::*;

/// A forward whose targets lead to these Services of namespace data, each with a backend of its own.
fn forward(targets: &[(&str, &str, Permission)], own: &[&str]) -> Forward {
    let names = targets
        .iter()
        .map(|(target, ..)| *target)
        .chain(own.iter().copied());
    let mut spec = testing::spec(names.map(testing::target).collect());
    let established = &mut spec.relay.established_connections;
    *established = EstablishedConnections {
        on_removed: Fate::Keep,
        closes_per_second: NonZeroU32::MIN,
        ..*established
    };
    let permitted = targets
        .iter()
        .filter(|(.., permission)| *permission == Permission::Given);
    let names = permitted
        .map(|(target, ..)| *target)
        .chain(own.iter().copied());
    let backends = names.map(|target| testing::backend(target, "10.1.0.1:80"));
    let grants = targets.iter().map(|(target, service, permission)| Grant {
        target: (*target).to_owned(),
        service: testing::service("data", service),
        permission: *permission,
    });
    let name = "n/f".parse().unwrap();
    Forward::granted(name, spec, backends.collect(), grants.collect())
}

use Permission::{Given, Missing};

#[test]
fn what_another_namespace_takes_back_is_cut_in_time_and_nothing_else() {
    let mut case = Case::of(forward(
        &[("a", "db", Given), ("b", "web", Given)],
        &["own"],
    ));
    let [a, b, own] = ["a", "b", "own"].map(|target| case.sessions(target, 100));
    case.turn(forward(
        &[("a", "db", Missing), ("b", "web", Given)],
        &["own"],
    ));
    case.pass(Duration::from_secs(1));
    let early = endings(&a).iter().flatten().count();
    assert!((15..60).contains(&early), "not all in one instant: {early}");
    let doomed = case.served.doomed(case.now);
    assert_eq!(doomed[&Ending::GrantLost].due, 100 - early as u64);
    case.pass(Duration::from_millis(2_500));
    assert_eq!(endings(&a), vec![Some(Ending::GrantLost); 100]);
    case.pass(Duration::from_secs(60));
    assert_eq!(endings(&b), vec![None; 100]);
    assert_eq!(endings(&own), vec![None; 100]);
}

#[test]
fn a_target_without_backends_is_no_lost_right() {
    let given = [("a", "db", Given)];
    let mut case = Case::of(forward(&given, &[]));
    let tickets = case.sessions("a", 3);
    let mut empty = forward(&given, &[]);
    empty.backends.clear();
    case.turn(empty);
    case.pass(Duration::from_secs(3600));
    assert_eq!(endings(&tickets), [None; 3], "onRemoved is Keep");
}

/// Nobody could take back later what no forward names any more.
#[test]
fn a_session_does_not_outlive_what_its_right_is_known_by() {
    let cases = [
        ("taken out", Some(forward(&[], &["own"]))),
        ("elsewhere", Some(forward(&[("a", "web", Given)], &[]))),
        ("home", Some(forward(&[], &["a"]))),
        ("renamed", Some(forward(&[("b", "db", Given)], &[]))),
        ("deleted", None),
    ];
    for (what, change) in cases {
        let mut case = Case::of(forward(&[("a", "db", Given)], &[]));
        let tickets = case.sessions("a", 3);
        match change {
            Some(forward) => case.turn(forward),
            None => case.served.sessions().forward_gone(Some(case.now)),
        }
        case.pass(Duration::from_millis(3_500));
        assert_eq!(endings(&tickets), [Some(Ending::GrantLost); 3], "{what}");
    }
}

#[test]
fn who_comes_to_the_same_address_by_another_right_stays() {
    let mut case = Case::of(forward(&[("a", "db", Given)], &[]));
    let (before, former) = (case.sessions("a", 1), case.backend("a"));
    case.turn(forward(&[], &["a"]));
    let after = case.sessions("a", 1);
    assert_eq!(former.address, case.backend("a").address);
    case.turn(forward(&[], &["a", "own"]));
    case.pass(Duration::from_secs(60));
    assert_eq!(endings(&before), [Some(Ending::GrantLost)]);
    assert_eq!(endings(&after), [None]);
}

#[test]
fn a_grant_that_is_lost_during_a_dial_cuts_as_well() {
    let given = || forward(&[("a", "db", Given)], &[]);
    let lost: [&dyn Fn(&mut Case); 2] = [
        &|case| case.turn(forward(&[("a", "db", Missing)], &[])),
        &|case| case.served.sessions().forward_gone(Some(case.now)),
    ];
    for lose in lost {
        let mut case = Case::of(given());
        let backend = case.backend("a");
        let ticket = case.served.sessions().enter(0, IpAddr::from([10, 0, 0, 1]));
        lose(&mut case);
        case.pass(Duration::from_secs(1));
        ticket.on(&backend, case.now);
        case.pass(Duration::from_millis(3_500));
        let ending = ending(&ticket);
        assert!(
            [Some(Ending::GrantLost), Some(Ending::Removed)].contains(&ending),
            "{ending:?}"
        );
    }
}

#[test]
fn a_grant_that_comes_back_in_time_saves_who_waits() {
    let mut case = Case::of(forward(&[("a", "db", Given)], &[]));
    let tickets = case.sessions("a", 100);
    case.turn(forward(&[("a", "db", Missing)], &[]));
    case.pass(Duration::from_secs(1));
    case.turn(forward(&[("a", "db", Given)], &[]));
    let cut = endings(&tickets).iter().flatten().count();
    case.pass(Duration::from_secs(9));
    assert_eq!(endings(&tickets).iter().flatten().count(), cut);
    assert!(cut < 60, "{cut}");
}
