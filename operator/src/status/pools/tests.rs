use serde_json::json;

use super::*;
use crate::index::{Event, Index, Object};
use crate::pods::Readiness;
use crate::status::{Difference, difference_of_pools};

fn known(change: impl FnOnce(&mut serde_json::Value)) -> KnownPool {
    let mut raw = json!({
        "apiVersion": "tcpforward.dev/v1alpha1",
        "kind": "DataPlane",
        "metadata": {"name": "edge", "generation": 3},
        "spec": {"podNamespace": "proxies", "serviceAccountName": "dp"},
    });
    change(&mut raw);
    let mut index = Index::new();
    index.apply(Event::Applied(Object::DataPlane(raw)));
    index.pools().get("edge").unwrap().clone()
}

/// Connected pods by version; of all of them so many serve.
fn crowd(builds: &[(&str, usize)], serving: usize) -> PoolPods {
    let all = builds
        .iter()
        .flat_map(|(build, pods)| std::iter::repeat_n(*build, *pods));
    let all = all.enumerate().map(|(n, build)| {
        let present = present(&n.to_string(), build, n < serving);
        (n.to_string(), present)
    });
    PoolPods::of(all.collect(), UNSEEN, |_| None, Gathering::Done)
}

fn present(pod: &str, build: &str, serves: bool) -> Present {
    Present {
        pod: pod.to_owned(),
        build: build.to_owned(),
        serves,
    }
}

const UNSEEN: Option<std::iter::Empty<(&str, &Pod)>> = None;

/// Pods, and what is known of each.
struct Case {
    pod: &'static str,
    readiness: Readiness,
    /// Whether it is connected, and serves.
    serves: Option<bool>,
    missed: Option<Patience>,
}

const FINE: Case = Case {
    pod: "a",
    readiness: Readiness::Ready,
    serves: Some(true),
    missed: None,
};

fn pods_of(cases: &[Case]) -> PoolPods {
    let seen = cases.iter().map(|case| Pod {
        name: case.pod.to_owned(),
        pool: "edge".to_owned(),
        readiness: case.readiness,
    });
    let seen: Vec<Pod> = seen.collect();
    let connected = cases.iter().filter_map(|case| {
        let present = present(case.pod, "1", case.serves?);
        Some((case.pod.to_owned(), present))
    });
    let seen = seen.iter().map(|pod| (pod.name.as_str(), pod));
    let missed = |uid: &str| {
        let case = cases.iter().find(|case| case.pod == uid)?;
        Some((Timestamp::UNIX_EPOCH, case.missed?))
    };
    PoolPods::of(connected.collect(), Some(seen), missed, Gathering::Done)
}

fn said(status: &DataPlaneStatus) -> Vec<String> {
    let conditions = status.conditions.iter();
    let words = conditions.map(|c| format!("{}={} {}", c.type_, c.status, c.reason));
    words.collect()
}

fn status(known: &KnownPool, holder: Option<&str>, pods: &PoolPods) -> DataPlaneStatus {
    let status = of_pool(known, holder, pods, None, Timestamp::UNIX_EPOCH);
    for condition in &status.conditions {
        assert!(condition.message.chars().count() <= 256);
        assert_eq!(condition.observed_generation, Some(3));
    }
    status
}

#[test]
fn a_pool_is_ready_once_a_pod_serves() {
    let fine = known(|_| {});
    let table = [
        (crowd(&[], 0), "Ready=False NoDataPlane", "0/0"),
        (crowd(&[("1", 2)], 0), "Ready=False Pending", "0/2"),
        (crowd(&[("1", 2), ("2", 1)], 1), "Ready=True Ready", "1/3"),
    ];
    for (pods, ready, summary) in table {
        let status = status(&fine, None, &pods);
        assert_eq!(said(&status), ["Accepted=True Accepted", ready]);
        assert_eq!(status.pods.unwrap().summary, summary);
    }
}

type Beside = (Case, &'static str, (i32, i32, i32), Option<&'static str>);

/// What is known of pod b beside a, which serves: Ready, counts, and the reason for which b is listed.
fn beside_one_that_serves() -> [Beside; 8] {
    let b = |readiness, serves, missed| Case {
        pod: "b",
        readiness,
        serves,
        missed,
    };
    let (left, over) = (Some(Patience::Left), Some(Patience::Over));
    let (ready, unready, ending) = (Readiness::Ready, Readiness::NotReady, Readiness::Ending);
    let both = "True Ready: 2 of 2 pods serve";
    let good = "True Ready: 1 of 1 pods serve";
    let partly = "True Ready: 1 of 2 pods serve";
    let missed = "False NotConnected: 1 of 2 pods serve; b is Ready and not connected to this \
                  operator; does its log say why?";
    let (behind, absent) = (Some(PENDING), Some(NOT_CONNECTED));
    [
        (b(ready, Some(true), None), both, (2, 2, 2), None),
        (b(ready, Some(false), None), partly, (2, 2, 1), behind),
        (b(ready, None, left), partly, (2, 1, 1), absent),
        (b(ready, None, over), missed, (2, 1, 1), absent),
        (
            b(unready, Some(true), None),
            good,
            (1, 2, 1),
            Some(NOT_READY),
        ),
        (b(unready, None, None), good, (1, 1, 1), Some(NOT_READY)),
        (b(ending, Some(true), None), good, (1, 2, 1), None),
        (b(ending, None, None), good, (1, 1, 1), None),
    ]
}

#[test]
fn pods_count_that_are_ready_whether_or_not_they_are_connected() {
    for (i, (case, expected, counts, listed)) in beside_one_that_serves().into_iter().enumerate() {
        let status = status(&known(|_| {}), None, &pods_of(&[FINE, case]));
        let ready = &status.conditions[1];
        let word = format!("{} {}: {}", ready.status, ready.reason, ready.message);
        assert_eq!(word, expected, "case {i}");
        let pods = status.pods.unwrap();
        let counted = (pods.ready, pods.connected, pods.serving);
        assert_eq!(counted, counts, "case {i}");
        let pending = pods.pending.iter().map(|p| (&*p.pod, &*p.reason));
        let pending: Vec<_> = pending.collect();
        let listed: Vec<_> = listed.iter().map(|reason| ("b", *reason)).collect();
        assert_eq!(pending, listed, "case {i}");
    }
}

#[test]
fn where_none_serves_it_says_whom_to_look_at() {
    let one = |readiness, serves, missed| {
        let case = Case {
            pod: "a",
            readiness,
            serves,
            missed,
        };
        let status = status(&known(|_| {}), None, &pods_of(&[case]));
        let ready = &status.conditions[1];
        format!("{} {}: {}", ready.status, ready.reason, ready.message)
    };
    let unready = "False NotReady: of 1 pods none is Ready; look why a is not: `kubectl describe pod` \
                   and its log say why";
    assert_eq!(one(Readiness::NotReady, Some(true), None), unready);
    assert_eq!(one(Readiness::NotReady, None, None), unready);
    assert_eq!(
        one(Readiness::Ready, None, Some(Patience::Left)),
        "False Pending: waiting for a to connect"
    );
    assert_eq!(
        one(Readiness::Ready, None, Some(Patience::Over)),
        "False NotConnected: 0 of 1 pods serve; a is Ready and not connected to this operator; does its \
         log say why?"
    );
    assert!(one(Readiness::Ending, Some(true), None).starts_with("False NoDataPlane: no pod"));
}

#[test]
fn a_pool_of_which_all_are_missed_is_what_it_was_until_that_is_sure() {
    let fine = known(|_| {});
    let before = status(&fine, None, &pods_of(&[FINE]));
    for (patience, expected) in [
        (Patience::Left, Difference::Nothing),
        (Patience::Over, Difference::Transition),
    ] {
        let missed = Case {
            serves: None,
            missed: Some(patience),
            ..FINE
        };
        let now = Timestamp::from_second(9).unwrap();
        let next = of_pool(&fine, None, &pods_of(&[missed]), Some(&before), now);
        assert_eq!(difference_of_pools(Some(&before), &next), expected);
    }
}

#[test]
fn the_list_of_pods_and_their_texts_are_bounded() {
    let names: Vec<String> = (10..60)
        .map(|n| format!("{n}-{}", "x".repeat(240)))
        .collect();
    let pods: Vec<Pod> = names
        .iter()
        .map(|name| Pod {
            name: name.clone(),
            pool: "edge".to_owned(),
            readiness: Readiness::Ready,
        })
        .collect();
    let seen = pods.iter().map(|pod| (pod.name.as_str(), pod));
    let missed = |_: &str| Some((Timestamp::UNIX_EPOCH, Patience::Over));
    let all = PoolPods::of(Vec::new(), Some(seen), missed, Gathering::Done);
    let status = status(&known(|_| {}), None, &all);
    let pods = status.pods.unwrap();
    assert_eq!((pods.ready, pods.pending.len()), (50, PENDING_PODS));
    assert!(pods.pending[0].pod.starts_with("10-"));
    assert!(
        pods.pending
            .iter()
            .all(|pod| pod.message.chars().count() <= 256)
    );
}

#[test]
fn what_is_wrong_with_it_comes_first() {
    let serving = crowd(&[("1", 1)], 1);
    let taken = status(&known(|_| {}), Some("default"), &serving);
    let words = "False ServiceAccountTaken";
    assert_eq!(
        said(&taken),
        [format!("Accepted={words}"), format!("Ready={words}")]
    );
    assert!(
        taken.conditions[0]
            .message
            .contains("DataPlane default has")
    );
    let invalid = known(|raw| raw["spec"]["colour"] = json!("red"));
    let words = "False UnsupportedValue";
    let invalid = status(&invalid, None, &serving);
    assert_eq!(
        said(&invalid),
        [format!("Accepted={words}"), format!("Ready={words}")]
    );
}

#[test]
fn versions_are_few_and_those_of_most_pods_come_first() {
    let many: Vec<String> = (10..60).map(|n| format!("0.{n}")).collect();
    let mut all: Vec<_> = many.iter().map(|build| (build.as_str(), 1)).collect();
    all.push(("1.0", 7));
    let status = status(&known(|_| {}), None, &crowd(&all, 57));
    assert_eq!(status.versions.len(), VERSIONS);
    let first: Vec<_> = status.versions[..2]
        .iter()
        .map(|v| v.version.as_str())
        .collect();
    assert_eq!(first, ["1.0", "0.10"]);
    assert_eq!(status.versions[0].pods, 7);
}

#[test]
fn a_new_writer_keeps_what_was_said_until_pods_are_here() {
    let fine = known(|_| {});
    let before = status(&fine, None, &crowd(&[("1", 3)], 3));
    let nobody = PoolPods {
        gathering: Gathering::Waiting,
        ..PoolPods::default()
    };
    let now = Timestamp::from_second(9).unwrap();
    let next = of_pool(&fine, None, &nobody, Some(&before), now);
    assert_eq!(next, before);
    assert_eq!(
        difference_of_pools(Some(&before), &next),
        Difference::Nothing
    );
    let next = of_pool(&fine, None, &PoolPods::default(), Some(&before), now);
    assert_eq!(said(&next)[1], "Ready=False NoDataPlane");
    assert_eq!(
        difference_of_pools(Some(&before), &next),
        Difference::Transition
    );
    let mut mixed = before.clone();
    mixed.conditions.reverse();
    assert_eq!(
        difference_of_pools(Some(&mixed), &before),
        Difference::Nothing,
        "their order says nothing"
    );
    let counted = status(&fine, None, &crowd(&[("1", 4)], 4));
    assert_eq!(
        difference_of_pools(Some(&before), &counted),
        Difference::Counts
    );
}
