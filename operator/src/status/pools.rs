//! Pure. What to say of a DataPlane: whether it makes sense, and who is there of its pool.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::data_planes::not_connected;
use super::pool::{Absent, Census, Patience};
use super::verdict::{Holds, Verdict};
use super::{
    ACCEPTED, Gathering, NO_DATA_PLANE, NOT_CONNECTED, NOT_READY, PENDING, READY,
    SERVICE_ACCOUNT_TAKEN, bounded, whole,
};
use crate::crd::{DataPlaneStatus, LaggingPod, Pods, VersionCount};
use crate::forward;
use crate::index::KnownPool;
use crate::pods::Pod;

/// A pod that is connected, or was a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Its name.
    pub pod: String,
    /// The version of the program that it says.
    pub build: String,
    /// Whether it holds all that it has to serve.
    pub serves: bool,
}

/// A pool's pods, as its status shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolPods {
    census: Census<Present>,
    /// Whether more of them are likely to appear.
    pub gathering: Gathering,
}

/// The status of a DataPlane; `holder` is the older one that has its ServiceAccount.
#[must_use]
pub fn of_pool(
    known: &KnownPool,
    holder: Option<&str>,
    pods: &PoolPods,
    previous: Option<&DataPlaneStatus>,
    now: Timestamp,
) -> DataPlaneStatus {
    let generation = forward::generation(&known.raw);
    let conditions = previous.map_or(&[][..], |previous| &previous.conditions);
    let accepted = accepted(known, holder);
    let mut ready = ready(&accepted, known, pods);
    // Good news of before hold until it is known who is there.
    let before = previous.filter(|previous| {
        pods.may_be_on_their_way()
            && previous.observed_generation == Some(generation)
            && accepted.holds == Holds::True
            && ready.holds != Holds::True
    });
    let former = before.and_then(|_| Verdict::of(READY, conditions));
    let former = former.filter(|former| former.holds == Holds::True);
    let before = before.filter(|_| former.is_some());
    ready = former.unwrap_or(ready);
    let counts = before.and_then(|before| before.pods.clone());
    let versions = before.map(|before| before.versions.clone());
    DataPlaneStatus {
        observed_generation: Some(generation),
        conditions: [accepted, ready]
            .map(|verdict| verdict.into_condition(generation, conditions, now))
            .into(),
        pods: Some(counts.unwrap_or_else(|| pods.counts())),
        versions: versions.unwrap_or_else(|| pods.versions()),
    }
}

fn accepted(known: &KnownPool, holder: Option<&str>) -> Verdict {
    let pool = match &known.pool {
        Ok(pool) => pool,
        Err(invalid) => return Verdict::bad(ACCEPTED, invalid.reason, invalid.message.as_str()),
    };
    let account = &pool.account;
    match holder {
        None => Verdict::good(
            ACCEPTED,
            "the spec is valid and the ServiceAccount is granted",
        ),
        Some(holder) => Verdict::bad(
            ACCEPTED,
            SERVICE_ACCOUNT_TAKEN,
            format!(
                "spec.serviceAccountName is {} of namespace {}, which DataPlane {holder} has, as it is \
                 older; give each pool a ServiceAccount of its own",
                account.name, account.namespace
            ),
        ),
    }
}

fn ready(accepted: &Verdict, known: &KnownPool, pods: &PoolPods) -> Verdict {
    if accepted.holds != Holds::True {
        return Verdict {
            type_: READY,
            ..accepted.clone()
        };
    }
    let (serving, total) = (pods.serving(), pods.total());
    let serve = format!("{serving} of {total} pods serve");
    let absent = &pods.census.absent;
    let missed = absent.iter().find(|one| one.patience == Patience::Over);
    match (missed, absent.first()) {
        _ if total == 0 => none_counts(known, &pods.census),
        (Some(Absent { pod, .. }), _) => {
            let hint = "is Ready and not connected to this operator; does its log say why?";
            Verdict::bad(READY, NOT_CONNECTED, format!("{serve}; {pod} {hint}"))
        }
        _ if serving > 0 => Verdict::good(READY, serve),
        (None, Some(Absent { pod, .. })) => {
            Verdict::bad(READY, PENDING, format!("waiting for {pod} to connect"))
        }
        (None, None) => {
            let message = format!(
                "none of {total} pods has said yet what it serves; see their logs if this lasts"
            );
            Verdict::bad(READY, PENDING, message)
        }
    }
}

/// No pod is Ready, as far as anybody knows.
fn none_counts(known: &KnownPool, census: &Census<Present>) -> Verdict {
    let unready = census.unready.iter().map(|present| &present.pod);
    let all: Vec<_> = unready.chain(&census.starting).collect();
    let Some(first) = all.iter().min() else {
        return Verdict::bad(READY, NO_DATA_PLANE, nobody(known));
    };
    let n = all.len();
    let message = format!("of {n} pods none is Ready; look why {first} is not: {DESCRIBE}");
    Verdict::bad(READY, NOT_READY, message)
}

fn nobody(known: &KnownPool) -> String {
    let account = known.pool.as_ref().map(|pool| pool.account.clone());
    let (namespace, name) = account.map_or_else(
        |_| (String::new(), String::new()),
        |account| (account.namespace, account.name),
    );
    format!(
        "no pod counts: none is connected, or all are ending; run data planes in namespace {namespace} with ServiceAccount {name}, or see \
         their logs for why the operator refuses them"
    )
}

impl PoolPods {
    /// By uid those that are connected, and all of the pool if they may be seen; `missed` says since when
    /// one is not connected.
    #[must_use]
    pub fn of<'a>(
        connected: Vec<(String, Present)>,
        pods: Option<impl Iterator<Item = (&'a str, &'a Pod)>>,
        missed: impl Fn(&str) -> Option<(Timestamp, Patience)>,
        gathering: Gathering,
    ) -> Self {
        Self {
            census: Census::take(connected, pods, missed),
            gathering,
        }
    }

    fn total(&self) -> usize {
        self.census.members.len() + self.census.absent.len()
    }

    fn serving(&self) -> usize {
        let members = self.census.members.iter();
        members.filter(|member| member.serves).count()
    }

    fn connected(&self) -> impl Iterator<Item = &Present> {
        let Census {
            members,
            unready,
            ending,
            ..
        } = &self.census;
        members.iter().chain(unready).chain(ending)
    }

    /// A new writer does not know yet who is there; and whoever is missed may only be dialling again.
    fn may_be_on_their_way(&self) -> bool {
        let Census {
            members, absent, ..
        } = &self.census;
        let may_come = |absent: &Absent| absent.patience == Patience::Left;
        let all_missed = members.is_empty() && !absent.is_empty() && absent.iter().all(may_come);
        self.gathering == Gathering::Waiting || all_missed
    }

    fn counts(&self) -> Pods {
        let (serving, ready) = (self.serving(), self.total());
        Pods {
            ready: whole(ready),
            connected: whole(self.connected().count()),
            serving: whole(serving),
            summary: format!("{serving}/{ready}"),
            pending: self.pending(),
        }
    }

    /// Those that end are none: they are not expected to serve.
    fn pending(&self) -> Vec<LaggingPod> {
        let Census {
            members,
            unready,
            absent,
            starting,
            ..
        } = &self.census;
        let lagging = |pod: &String, reason: &str, message: String| LaggingPod {
            pod: pod.clone(),
            reason: reason.to_owned(),
            message: bounded(message),
        };
        let absent = absent
            .iter()
            .map(|one| lagging(&one.pod, NOT_CONNECTED, not_connected(one.since)));
        let unready = unready.iter().map(|one| {
            let message = format!("connected, and not Ready; {DESCRIBE}");
            lagging(&one.pod, NOT_READY, message)
        });
        let starting = starting.iter().map(|pod| {
            let message = format!("neither Ready nor connected; {DESCRIBE}");
            lagging(pod, NOT_READY, message)
        });
        let silent = members.iter().filter(|member| !member.serves).map(|one| {
            let message = "has not said yet what it serves; see its log if this lasts";
            lagging(&one.pod, PENDING, message.to_owned())
        });
        let all = absent.chain(unready).chain(starting).chain(silent);
        let mut all: Vec<_> = all.collect();
        all.sort_by(|a, b| a.pod.cmp(&b.pod));
        all.truncate(PENDING_PODS);
        all
    }

    fn versions(&self) -> Vec<VersionCount> {
        let mut builds = BTreeMap::<&str, usize>::new();
        for present in self.connected() {
            *builds.entry(&present.build).or_default() += 1;
        }
        let mut builds: Vec<_> = builds.into_iter().collect();
        builds.sort_by_key(|(build, pods)| (Reverse(*pods), *build));
        let shown = builds.into_iter().take(VERSIONS);
        let shown = shown.map(|(build, pods)| VersionCount {
            version: build.chars().take(VERSION_CHARS).collect(),
            pods: whole(pods),
        });
        shown.collect()
    }
}

const DESCRIBE: &str = "`kubectl describe pod` and its log say why";

/// Entries of `status.pods.pending` at most.
const PENDING_PODS: usize = 16;

/// Entries of `status.versions` at most.
const VERSIONS: usize = 16;

/// Characters of each.
const VERSION_CHARS: usize = 64;

#[cfg(test)]
mod tests {
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
        for (i, (case, expected, counts, listed)) in
            beside_one_that_serves().into_iter().enumerate()
        {
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
}
