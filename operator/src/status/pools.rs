//! Pure. What to say of a DataPlane: whether it makes sense, and who is there of its pool.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::verdict::{Holds, Verdict};
use super::{ACCEPTED, Gathering, NO_DATA_PLANE, PENDING, READY, SERVICE_ACCOUNT_TAKEN, whole};
use crate::crd::{DataPlaneStatus, Pods, VersionCount};
use crate::forward;
use crate::index::KnownPool;

/// Who is there of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crowd {
    /// Pods by the version of the program that they say.
    pub builds: BTreeMap<String, usize>,
    /// Those of all that hold all they have to serve.
    pub serving: usize,
}

/// A pool's pods, as its status shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolPods {
    /// Those that are there.
    pub crowd: Crowd,
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
    let mut ready = ready(&accepted, known, &pods.crowd);
    // A new writer does not know yet who is there: good news of before hold until it does.
    let before = previous.filter(|previous| {
        pods.gathering == Gathering::Waiting
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
        pods: Some(counts.unwrap_or_else(|| pods.crowd.counts())),
        versions: versions.unwrap_or_else(|| pods.crowd.versions()),
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

fn ready(accepted: &Verdict, known: &KnownPool, crowd: &Crowd) -> Verdict {
    if accepted.holds != Holds::True {
        return Verdict {
            type_: READY,
            ..accepted.clone()
        };
    }
    let connected = crowd.connected();
    match (connected, crowd.serving) {
        (0, _) => Verdict::bad(READY, NO_DATA_PLANE, nobody(known)),
        (_, 0) => Verdict::bad(
            READY,
            PENDING,
            format!(
                "none of {connected} pods has said yet what it serves; see their logs if this lasts"
            ),
        ),
        (_, serving) => Verdict::good(READY, format!("{serving} of {connected} pods serve")),
    }
}

fn nobody(known: &KnownPool) -> String {
    let account = known.pool.as_ref().map(|pool| pool.account.clone());
    let (namespace, name) = account.map_or_else(
        |_| (String::new(), String::new()),
        |account| (account.namespace, account.name),
    );
    format!(
        "no pod is connected; run data planes in namespace {namespace} with ServiceAccount {name}, or see \
         their logs for why the operator refuses them"
    )
}

impl Crowd {
    fn connected(&self) -> usize {
        self.builds.values().sum()
    }

    fn counts(&self) -> Pods {
        let (serving, connected) = (self.serving, self.connected());
        Pods {
            connected: whole(connected),
            serving: whole(serving),
            summary: format!("{serving}/{connected}"),
        }
    }

    fn versions(&self) -> Vec<VersionCount> {
        let mut builds: Vec<_> = self.builds.iter().collect();
        builds.sort_by_key(|(build, pods)| (Reverse(**pods), *build));
        let shown = builds.into_iter().take(VERSIONS);
        let shown = shown.map(|(build, pods)| VersionCount {
            version: build.chars().take(VERSION_CHARS).collect(),
            pods: whole(*pods),
        });
        shown.collect()
    }
}

/// Entries of `status.versions` at most.
const VERSIONS: usize = 16;

/// Characters of each.
const VERSION_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::index::{Event, Index, Object};
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

    fn crowd(builds: &[(&str, usize)], serving: usize) -> PoolPods {
        let builds = builds
            .iter()
            .map(|(build, pods)| ((*build).to_owned(), *pods));
        PoolPods {
            crowd: Crowd {
                builds: builds.collect(),
                serving,
            },
            gathering: Gathering::Done,
        }
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
