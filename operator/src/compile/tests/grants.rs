//! Services of other namespaces, which have to permit it.

use tcpforward_protocol::feature;
use tcpforward_protocol::snapshot::Permission;

use super::*;
use crate::index::{ReferenceGrant, Sight};

/// What namespace shop says.
pub(super) fn grant(name: &str, from: &[&str], to: &[Option<&str>]) -> Event {
    let owned = |text: &&str| (*text).to_owned();
    Event::Applied(Object::ReferenceGrant(ReferenceGrant {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        from: from.iter().map(owned).collect(),
        to: to.iter().map(|name| name.as_ref().map(owned)).collect(),
    }))
}

/// A forward of that namespace to a Service of namespace shop, with one to its own as well.
pub(super) fn beyond(namespace: &str, port: u16, service: &str) -> Event {
    let targets = json!([
        {"name": "far", "service": {"namespace": "shop", "name": service, "port": "http"}},
        {"name": "near", "address": {"host": "192.0.2.1", "port": 80}},
    ]);
    let mut raw = raw("one", port, targets);
    raw["metadata"]["namespace"] = json!(namespace);
    applied(raw)
}

fn outcome<'a>(world: &'a World, namespace: &str) -> &'a Outcome {
    let name = ForwardName::new(namespace, "one");
    world.compiler.outcome(&name).unwrap()
}

fn addresses(world: &World, namespace: &str) -> Vec<String> {
    let forward = outcome(world, namespace).forward.as_ref().unwrap();
    let addresses = forward.backends.iter().map(|b| b.address.to_string());
    addresses.collect()
}

fn world(more: impl IntoIterator<Item = Event>) -> World {
    let namespaces = ["shop", "team", "aux"].iter().zip(1..);
    let forwards = namespaces.map(|(namespace, port)| beyond(namespace, port, "web"));
    let shop = [service("web"), slice("web-1", "web", &["10.0.0.1"])];
    World::of(shop.into_iter().chain(forwards).chain(more))
}

const NEAR: [&str; 1] = ["192.0.2.1:80"];
const BOTH: [&str; 2] = ["10.0.0.1:8080", "192.0.2.1:80"];

/// These namespaces get there, the others don't and are told so.
fn check(world: &World, what: &str, let_in: &[&str]) {
    for namespace in ["shop", "team", "aux"] {
        let expected: (&[&str], _) = match let_in.contains(&namespace) {
            true => (&BOTH, None),
            false => (&NEAR, Some("RefNotPermitted")),
        };
        assert_eq!(
            addresses(world, namespace),
            expected.0,
            "{what}: {namespace}"
        );
        let outcome = outcome(world, namespace);
        let reason = outcome.unresolved.as_ref().map(|u| u.reason);
        assert_eq!(
            (reason, outcome.accepted.is_ok()),
            (expected.1, true),
            "{what}"
        );
    }
}

/// T1: of three namespaces only those get there that are let in, and no longer than they are.
#[test]
fn nothing_crosses_without_a_grant() {
    let mut world = world([]);
    check(&world, "no grant", &["shop"]);
    let web = Some("web");
    let steps = [
        (
            "for one",
            grant("g", &["team"], &[web]),
            &["shop", "team"][..],
        ),
        (
            "for another Service",
            grant("g", &["team"], &[Some("db")]),
            &["shop"],
        ),
        (
            "for all of them",
            grant("g", &["team"], &[None]),
            &["shop", "team"],
        ),
        (
            "narrowed to the other",
            grant("g", &["aux"], &[web]),
            &["shop", "aux"],
        ),
        (
            "for both, by two",
            grant("h", &["team"], &[web]),
            &["shop", "team", "aux"],
        ),
        (
            "one of two is gone",
            gone(Kind::ReferenceGrant, "g"),
            &["shop", "team"],
        ),
        (
            "the last is gone",
            gone(Kind::ReferenceGrant, "h"),
            &["shop"],
        ),
        ("back", grant("g", &["team"], &[None]), &["shop", "team"]),
        (
            "none is left",
            Event::Replaced(Kind::ReferenceGrant, Vec::new()),
            &["shop"],
        ),
    ];
    for (what, event, let_in) in steps {
        world.apply(event);
        check(&world, what, let_in);
    }
}

#[test]
fn a_grant_touches_only_those_whom_it_concerns() {
    let mut world = world([beyond("other", 9, "db")]);
    let touched = |world: &mut World, event| -> Vec<String> {
        let touched = world.index.apply(event).into_iter();
        touched.map(|name| name.namespace().to_owned()).collect()
    };
    let for_team = || grant("g", &["team", "nobody"], &[None]);
    assert_eq!(touched(&mut world, for_team()), ["team"]);
    assert_eq!(touched(&mut world, for_team()), [""; 0]);
    let for_aux = grant("g", &["aux"], &[None]);
    assert_eq!(touched(&mut world, for_aux), ["aux", "team"]);
    let elsewhere = ReferenceGrant {
        namespace: "data".to_owned(),
        from: ["aux".to_owned()].into(),
        ..ReferenceGrant::default()
    };
    let elsewhere = Event::Applied(Object::ReferenceGrant(elsewhere));
    assert_eq!(touched(&mut world, elsewhere), [""; 0]);
    let blind = touched(&mut world, Event::Sight(Sight::Absent));
    assert_eq!(blind, ["aux", "other", "team"]);
    assert_eq!(touched(&mut world, Event::Sight(Sight::Absent)), [""; 0]);
}

#[test]
fn data_planes_are_told_what_is_given_and_what_is_missing() {
    let mut world = world([grant("g", &["team"], &[None])]);
    let told = |world: &World, namespace: &str| {
        let forward = outcome(world, namespace).forward.clone().unwrap();
        let grant = forward.grants.first();
        let told = grant.map(|grant| {
            assert_eq!(grant.target, "far");
            assert_eq!(grant.service.target(80), "shop/web:80");
            grant.permission
        });
        let needs = forward.spec.requires.contains(&feature::GRANTS.to_owned());
        assert!(forward.spec.requires.is_sorted());
        (told, needs)
    };
    let spec_hash = outcome(&world, "team").forward.as_ref().unwrap().spec_hash;
    assert_eq!(told(&world, "shop"), (None, false));
    assert_eq!(told(&world, "team"), (Some(Permission::Given), true));
    assert_eq!(told(&world, "aux"), (Some(Permission::Missing), true));
    world.apply(gone(Kind::ReferenceGrant, "g"));
    assert_eq!(told(&world, "team"), (Some(Permission::Missing), true));
    let after = outcome(&world, "team").forward.as_ref().unwrap();
    assert_eq!(after.spec_hash, spec_hash, "Programmed is not about this");
    // A Service that is gone is no lost right.
    world.apply(grant("g", &["team"], &[None]));
    world.apply(gone(Kind::Service, "web"));
    assert_eq!(told(&world, "team"), (Some(Permission::Given), true));
    assert_eq!(addresses(&world, "team"), NEAR);
    let unresolved = outcome(&world, "team").unresolved.as_ref().unwrap();
    assert_eq!(unresolved.reason, "BackendNotFound");
}

/// T1, CVE-2021-25740: an alias would go round every grant, and so would a slice by hand to the host.
#[test]
fn a_pool_that_lowers_a_limit_asks_for_grants_all_the_same() {
    let limits = json!({"limits": {"connectionsPerForward": 100}});
    let world = world([pool("default", limits)]);
    let needs = |namespace| {
        let forward = outcome(&world, namespace).forward.as_ref();
        forward.unwrap().spec.requires.clone()
    };
    let own = vec![feature::BALANCING, feature::HEALTH, feature::LIMITS];
    assert_eq!(needs("shop"), own);
    let mut beyond = [own, vec![feature::GRANTS]].concat();
    beyond.sort_unstable();
    assert_eq!(needs("team"), beyond);
}

#[test]
fn a_grant_opens_no_way_around() {
    let alias = json!({"type": "ExternalName", "externalName": "db.prod.svc.cluster.local"});
    let mut world = world([service_with("web", alias), grant("g", &["team"], &[None])]);
    let unresolved = outcome(&world, "team").unresolved.as_ref().unwrap();
    assert_eq!(unresolved.reason, "UnsupportedService");
    assert_eq!(addresses(&world, "team"), NEAR);
    world.apply(service("web"));
    let host = json!([{"addresses": ["127.0.0.1"]}, {"addresses": ["169.254.169.254"]}]);
    world.apply(slice_with("web-1", "web", host));
    let unresolved = outcome(&world, "team").unresolved.as_ref().unwrap();
    assert_eq!(unresolved.reason, "RefNotPermitted");
    assert_eq!(addresses(&world, "team"), NEAR);
}

/// Whoever may not go there learns nothing of what is there.
#[test]
fn a_refusal_does_not_say_what_exists() {
    let there = world([]);
    let not_there = World::of([beyond("team", 1, "web")]);
    let of = |world: &World| outcome(world, "team").unresolved.clone();
    assert_eq!(of(&there), of(&not_there));
}

#[test]
fn a_refusal_says_what_to_do() {
    let mut world = world([]);
    let message = |world: &World| {
        let unresolved = outcome(world, "team").unresolved.clone().unwrap();
        assert_eq!(unresolved.field, "spec.relay.targets[0].service.namespace");
        unresolved.message
    };
    assert_eq!(
        message(&world),
        "target far: Service web is in namespace shop, which does not permit it: apply there a \
         ReferenceGrant from {group: tcpforward.dev, kind: TcpForward, namespace: team} to \
         {group: \"\", kind: Service, name: web}"
    );
    world.apply(Event::Sight(Sight::Absent));
    let absent = message(&world);
    assert!(
        absent.contains("install the CRDs of Gateway API"),
        "{absent}"
    );
    world.apply(Event::Sight(Sight::Unread));
    let unread = message(&world);
    assert!(unread.contains("can't read ReferenceGrants"), "{unread}");
    world.apply(Event::Sight(Sight::Seen));
    assert!(message(&world).contains("apply there"));
}

#[test]
fn a_proxy_needs_a_grant_for_each_service() {
    let services = json!([
        {"namespace": "shop", "name": "web"}, {"namespace": "shop", "name": "db"}, {"name": "own"},
    ]);
    let mut raw = raw("one", 3128, json!([]));
    raw["metadata"]["namespace"] = json!("team");
    raw["spec"] = json!({
        "listener": {"port": 3128, "sourceRanges": ["10.0.0.0/8"]},
        "httpConnect": {"rules": [
            {"name": "a", "action": "Allow", "services": services, "ports": [80]},
            {"name": "b", "action": "Deny", "services": [{"namespace": "data", "name": "x"}]},
        ]},
    });
    let world = World::of([
        service("web"),
        slice("web-1", "web", &["10.0.0.1"]),
        applied(raw),
        grant("g", &["team"], &[Some("web")]),
    ]);
    let outcome = outcome(&world, "team");
    let forward = outcome.forward.as_ref().unwrap();
    let grants = forward.grants.iter();
    let grants: Vec<_> = grants.map(|g| (g.target.as_str(), g.permission)).collect();
    let expected = [
        ("shop/db:80", Permission::Missing),
        ("shop/web:80", Permission::Given),
    ];
    assert_eq!(grants, expected, "a rule that denies needs none");
    assert_eq!(addresses(&world, "team"), ["10.0.0.1:8080"]);
    let unresolved = outcome.unresolved.as_ref().unwrap();
    let field = "spec.httpConnect.rules[0].services[1].namespace";
    assert_eq!(
        (unresolved.reason, unresolved.field.as_str()),
        ("RefNotPermitted", field)
    );
}

#[test]
fn what_was_taken_back_waits_for_nothing() {
    let mut world = world([grant("g", &["team"], &[None])]);
    let team = ForwardName::new("team", "one");
    let loses = |world: &World| world.compiler.loses_a_grant(&world.index, &team);
    assert!(!loses(&world));
    world.index.apply(gone(Kind::ReferenceGrant, "g"));
    assert!(loses(&world));
    world.compiler.compile(&world.index, &[team.clone()].into());
    assert!(!loses(&world), "it has lost it");
}
