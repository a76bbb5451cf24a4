use super::*;
use crate::pods::{Pod, Readiness};

/// What the API server and the roster say of one pod.
struct Case {
    uid: &'static str,
    readiness: Option<Readiness>,
    connected: Option<Serves>,
    missed: Option<Patience>,
}

#[derive(Clone, Copy)]
enum Serves {
    Nothing,
    Present,
}

const READY: Case = Case {
    uid: "a",
    readiness: Some(Readiness::Ready),
    connected: Some(Serves::Present),
    missed: None,
};

/// The pool by all of them; with `pods`, as if they may be seen.
fn view(cases: &[Case], seen: bool) -> (Outcome, PoolView) {
    let outcome = good();
    let connected = cases.iter().filter_map(|case| {
        let serving = match case.connected? {
            Serves::Nothing => None,
            Serves::Present => Some(&outcome),
        };
        Some((case.uid.to_owned(), member(case.uid, serving)))
    });
    let pods = cases.iter().filter_map(|case| {
        let pod = Pod {
            name: case.uid.to_owned(),
            pool: "default".to_owned(),
            readiness: case.readiness?,
        };
        Some((case.uid, pod))
    });
    let pods: BTreeMap<&str, Pod> = pods.collect();
    let missed = |uid: &str| {
        let case = cases.iter().find(|case| case.uid == uid)?;
        Some((at(-20), case.missed?))
    };
    let known = seen.then(|| pods.iter().map(|(uid, pod)| (*uid, pod)));
    let pool = PoolView::of(connected.collect(), known, missed);
    (outcome, pool)
}

fn programmed(outcome: &Outcome, pool: &PoolView, previous: Option<&TcpForwardStatus>) -> String {
    let status = compute(outcome, pool, Addresses::Omitted, previous, at(0));
    let word = words(&status).swap_remove(2);
    word.trim_start_matches("Programmed=").to_owned()
}

#[test]
fn who_counts_is_ready_or_connected_and_not_known_to_be_unready() {
    let unready = |readiness, connected| Case {
        uid: "b",
        readiness: Some(readiness),
        connected,
        missed: None,
    };
    let missed = |patience| Case {
        uid: "b",
        readiness: Some(Readiness::Ready),
        connected: None,
        missed: Some(patience),
    };
    let one = "True Programmed: 1 of 1 pods serve generation 1";
    let two = "True Programmed: 2 of 2 pods serve generation 1";
    let waits = "False Pending: 1 of 2 pods serve generation 1; waiting for b";
    let absent = "False Pending: 1 of 2 pods serve generation 1; waiting for b, which is Ready and not \
                  connected to this operator";
    let lags = Some(Serves::Nothing);
    let serves = Some(Serves::Present);
    // Of pod b: what is known of it, and what follows at first, and where all was Programmed before.
    let cases = [
        (unready(Readiness::Ready, serves), two, two),
        (unready(Readiness::Ready, lags), waits, waits),
        (unready(Readiness::NotReady, lags), one, one),
        (unready(Readiness::NotReady, serves), one, one),
        (unready(Readiness::NotReady, None), one, one),
        (unready(Readiness::Ending, lags), one, one),
        (unready(Readiness::Ending, None), one, one),
        (unready(Readiness::Ready, None), one, one),
        (missed(Patience::Left), absent, one),
        (missed(Patience::Over), absent, absent),
        (
            Case {
                readiness: None,
                ..unready(Readiness::Ready, serves)
            },
            two,
            two,
        ),
        (
            Case {
                readiness: None,
                ..unready(Readiness::Ready, lags)
            },
            waits,
            waits,
        ),
    ];
    let before = status(&good(), &pool(vec![member("a", Some(&good()))]));
    for (i, (case, first, then)) in cases.into_iter().enumerate() {
        let (outcome, view) = view(&[READY, case], true);
        assert_eq!(programmed(&outcome, &view, None), first, "case {i}");
        assert_eq!(programmed(&outcome, &view, Some(&before)), then, "case {i}");
    }
}

#[test]
fn where_pods_may_not_be_seen_the_connected_ones_count() {
    let lags = Case {
        uid: "b",
        readiness: Some(Readiness::NotReady),
        connected: Some(Serves::Nothing),
        missed: Some(Patience::Over),
    };
    let (outcome, view) = view(&[READY, lags], false);
    let expected = "False Pending: 1 of 2 pods serve generation 1; waiting for b";
    assert_eq!(programmed(&outcome, &view, None), expected);
}

#[test]
fn an_absent_pod_is_listed_with_the_time_since_when() {
    let case = Case {
        uid: "b",
        readiness: Some(Readiness::Ready),
        connected: None,
        missed: Some(Patience::Over),
    };
    let (outcome, view) = view(&[READY, case], true);
    let first = status(&outcome, &view);
    let counts = first.data_planes.as_ref().unwrap();
    assert_eq!((counts.summary.as_str(), counts.ready), ("1/2", 2));
    assert_eq!(counts.pending[0].reason, PENDING);
    let since = at(-20);
    let message = format!(
        "Ready, and not connected to this operator since {since}; does its log say why? Nobody knows what it \
         serves"
    );
    assert_eq!(counts.pending[0].message, message);
    assert_eq!(first.programmed_generation, None);
    let later = compute(&outcome, &view, Addresses::Omitted, Some(&first), at(30));
    assert_eq!(
        difference(Some(&first), &later),
        Difference::Nothing,
        "it grows no older"
    );
}

#[test]
fn connected_pods_of_which_none_is_ready_are_not_nobody() {
    let case = Case {
        readiness: Some(Readiness::NotReady),
        ..READY
    };
    let (outcome, view) = view(&[case], true);
    let expected =
        "False Pending: of 1 connected pods of pool default none is Ready; look why a is not";
    assert_eq!(programmed(&outcome, &view, None), expected);
}

#[test]
fn a_pool_of_which_all_are_missed_is_what_it_was_until_that_is_sure() {
    let before = status(&good(), &pool(vec![member("a", Some(&good()))]));
    let said = |patience, previous| {
        let case = Case {
            connected: None,
            missed: Some(patience),
            ..READY
        };
        let (outcome, view) = view(&[case], true);
        compute(&outcome, &view, Addresses::Omitted, previous, at(0))
    };
    let waiting = said(Patience::Left, Some(&before));
    assert_eq!(difference(Some(&before), &waiting), Difference::Nothing);
    for (patience, previous) in [(Patience::Left, None), (Patience::Over, Some(&before))] {
        let word = words(&said(patience, previous)).swap_remove(2);
        let expected = "Programmed=False Pending: 0 of 1 pods serve generation 1; waiting for a, which is \
                        Ready and not connected to this operator";
        assert_eq!(word, expected);
    }
}
