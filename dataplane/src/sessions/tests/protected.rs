//! Who is where only Services lead, when those networks become known.

use tcpforward_protocol::snapshot::{Origin, Protected};

use super::case::Case;
use super::*;
use crate::place::Terms;

const ADDRESS: &str = "10.1.0.1:80";

/// A forward whose targets have the same address, each by the word of another one.
fn forward(targets: &[(&str, Origin)]) -> Forward {
    let target = |(name, origin): &(&str, Origin)| snapshot::Target {
        origin: *origin,
        ..testing::target(name)
    };
    let mut spec = testing::spec(targets.iter().map(target).collect());
    spec.relay.established_connections.on_removed = Fate::Keep;
    let backends = targets
        .iter()
        .map(|(name, _)| testing::backend(name, ADDRESS));
    Forward::new("n/f".parse().unwrap(), spec, backends.collect())
}

/// By which that address is of the cluster itself.
fn strict() -> Terms {
    let mut terms = samples::terms();
    terms.settings.protected = Protected::new(["10.1.0.0/24".parse().unwrap()]);
    terms
}

use Origin::{Author, Service};

#[test]
fn who_is_where_only_services_lead_loses_the_right_to_be() {
    let both = || forward(&[("t", Author), ("s", Service)]);
    let mut case = Case::of(both());
    let [direct, by_service] = ["t", "s"].map(|target| case.sessions(target, 3));
    case.come_to(both(), strict());
    case.pass(Duration::from_secs(5));
    assert_eq!(endings(&direct), [Some(Ending::RightLost); 3]);
    assert_eq!(endings(&by_service), [None; 3]);
}

#[test]
fn the_sessions_of_a_service_whose_target_is_gone_are_no_less_its_own() {
    let mut case = Case::of(forward(&[("t", Author), ("s", Service)]));
    let [direct, by_service] = ["t", "s"].map(|target| case.sessions(target, 3));
    let without = || forward(&[("other", Service)]);
    case.turn(without());
    case.pass(Duration::from_secs(5));
    assert_eq!(endings(&direct), [None; 3], "onRemoved is Keep");
    case.come_to(without(), strict());
    case.pass(Duration::from_secs(5));
    assert_eq!(endings(&direct), [Some(Ending::RightLost); 3]);
    assert_eq!(endings(&by_service), [None; 3]);
}

#[test]
fn an_address_that_another_one_names_is_another_backend() {
    let mut case = Case::of(forward(&[("t", Author)]));
    let before = case.sessions("t", 3);
    case.come_to(forward(&[("t", Service)]), strict());
    let after = case.sessions("t", 3);
    case.pass(Duration::from_secs(5));
    assert_eq!(endings(&before), [Some(Ending::RightLost); 3]);
    assert_eq!(endings(&after), [None; 3]);
}

#[test]
fn what_becomes_known_during_a_dial_cuts_as_well() {
    let given = || forward(&[("t", Author), ("s", Service)]);
    let mut case = Case::of(given());
    let dials = ["t", "s"].map(|target| {
        let ticket = case.served.sessions().enter(0, IpAddr::from([10, 0, 0, 1]));
        (ticket, case.backend(target), case.now)
    });
    case.come_to(given(), strict());
    case.pass(Duration::from_secs(1));
    for (ticket, backend, picked) in &dials {
        case.served.reached(ticket, backend, *picked);
    }
    case.pass(Duration::from_secs(5));
    let endings = dials.each_ref().map(|(ticket, ..)| ending(ticket));
    assert_eq!(endings, [Some(Ending::RightLost), None]);
}
