use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;

use super::*;
use crate::lease::now;

const OWN: (&str, &str) = ("sys", "op");

fn scope(names: &[&str]) -> Scope {
    match names {
        [] => Scope::All,
        names => Scope::Namespaces(names.iter().map(|name| (*name).to_owned()).collect()),
    }
}

/// Of the operator `namespace`/op, which claimed at that version and was renewed so often.
fn lease(namespace: &str, watched: &[&str], claim: &str, renewals: i64) -> Lease {
    let annotations = [
        (WATCHED.to_owned(), written(&scope(watched))),
        (CLAIM.to_owned(), claim.to_owned()),
    ];
    Lease {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some("op".to_owned()),
            resource_version: Some("5000".to_owned()),
            annotations: Some(annotations.into()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some("x".to_owned()),
            renew_time: Some(MicroTime(Timestamp::from_second(renewals).unwrap())),
            ..LeaseSpec::default()
        }),
    }
}

fn look(others: &mut Others, watched: &[&str], lease: Lease, now: Instant) -> Verdict {
    let claim = Claim::At("100".to_owned());
    others.look(OWN, &scope(watched), &claim, vec![lease], now)
}

/// What is shared with one that lives.
fn shared_with(mine: &[&str], lease: impl Fn(i64) -> Lease) -> Option<String> {
    let mut others = Others::new(Timing::default());
    let first = look(&mut others, mine, lease(1), now());
    let second = look(&mut others, mine, lease(2), now());
    match (first, second) {
        (Verdict::Free, Verdict::Free) => None,
        (Verdict::Waits(_), Verdict::Refused(overlap)) => Some(overlap.shared.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_watched_by_both_stands_in_the_way() {
    let table: [(&[&str], &[&str], Option<&str>); 6] = [
        (&[], &[], Some("all namespaces")),
        (&[], &["a"], Some("namespace a")),
        (&["a", "b"], &[], Some("namespaces a, b")),
        (&["a", "b"], &["b", "c"], Some("namespace b")),
        (&["a"], &["b"], None),
        (&["a"], &["a-b"], None),
    ];
    for (mine, its, expected) in table {
        let shared = shared_with(mine, |n| lease("first", its, "99", n));
        assert_eq!(shared.as_deref(), expected, "{mine:?} {its:?}");
    }
}

#[test]
fn only_earlier_claims_of_other_leases_count() {
    let before = |claim: &str| shared_with(&[], |n| lease("first", &[], claim, n)).is_some();
    assert!(before("99") && !before("101"));
    assert!(before("9") && !before("1000"), "they are numbers");
    assert_eq!(shared_with(&[], |n| lease("sys", &[], "99", n)), None);
    let unmarked = |n| Lease {
        metadata: ObjectMeta {
            annotations: None,
            ..lease("first", &[], "99", n).metadata
        },
        ..lease("first", &[], "99", n)
    };
    assert_eq!(shared_with(&[], unmarked), None, "somebody else's");
    let mut fresh = lease("first", &[], "99", 1);
    fresh.metadata.annotations.as_mut().unwrap().remove(CLAIM);
    assert_eq!(claim_of(&fresh), Claim::At("5000".to_owned()));
    assert!(claim_of(&fresh).is_before(&Claim::Never));
    assert!(!Claim::Never.is_before(&claim_of(&fresh)));
}

#[test]
fn of_two_that_claim_at_once_exactly_one_goes_on() {
    for (mine, its) in [("100", "101"), ("101", "100")] {
        let mut verdicts = Vec::new();
        for (namespace, own, other) in [("a", mine, its), ("b", its, mine)] {
            let elsewhere = if namespace == "a" { "b" } else { "a" };
            let leases = vec![
                lease(namespace, &[], own, 1),
                lease(elsewhere, &[], other, 1),
            ];
            let claim = Claim::At(own.to_owned());
            let own = (namespace, "op");
            let verdict = Others::new(Timing::default());
            let verdict = { verdict }.look(own, &Scope::All, &claim, leases, now());
            verdicts.push(verdict == Verdict::Free);
        }
        assert_ne!(verdicts[0], verdicts[1], "{verdicts:?}");
    }
}

#[test]
fn one_that_stands_still_for_three_durations_is_dead() {
    let start = now();
    let mut others = Others::new(Timing::default());
    let mut at = |seconds| {
        let time = start + Duration::from_secs(seconds);
        look(&mut others, &[], lease("first", &[], "99", 1), time)
    };
    assert!(matches!(at(0), Verdict::Waits(_)));
    assert!(matches!(at(44), Verdict::Waits(_)));
    assert_eq!(at(45), Verdict::Free);
}

#[test]
fn what_a_lease_says_covers_its_parts() {
    let covered = |mine: &[&str], its: &[&str]| is_covered(&scope(mine), &lease("a", its, "1", 1));
    assert!(covered(&[], &[]) && covered(&["a"], &[]) && covered(&["a"], &["a", "b"]));
    assert!(!covered(&[], &["a"]) && !covered(&["a", "b"], &["a"]));
    assert!(!is_covered(&Scope::All, &Lease::default()));
}
