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
mod tests;
