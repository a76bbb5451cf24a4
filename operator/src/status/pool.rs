//! Pure. Who of a pool counts for a forward, and what each says of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use k8s_openapi::jiff::Timestamp;
use tcpforward_protocol::answer::{FailingBackend, Refusal, ResolvedHost, ServedSpec};

use super::Ways;
use crate::pods::{Pod, Readiness};

/// A forward's pool, as far as that forward is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolView {
    /// Data planes that hold a set; those that never got one are no members yet, and neither are pods
    /// that are known not to be Ready: scaling out and in flips nothing.
    pub members: Vec<Member>,
    /// Pods that are Ready and not connected.
    pub absent: Vec<Absent>,
    /// Pods that are connected and no members, because they are not Ready.
    pub unready: Vec<String>,
    /// Whether more of them are likely to appear.
    pub gathering: Gathering,
    /// Where they dial from and to.
    pub ways: Ways,
    /// Why the Service by which clients come can't be what it should be.
    pub trouble: Option<String>,
}

/// Whether a new lease holder still waits for data planes to connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gathering {
    /// Those that are there are all.
    #[default]
    Done,
    /// They may be on their way: what was said before holds until they are here.
    Waiting,
}

/// A pod that is Ready, so that clients reach it, and not connected, so that nobody knows what it
/// serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// Its name.
    pub pod: String,
    /// When this operator has first missed it.
    pub since: Timestamp,
    /// Whether it had time to connect.
    pub patience: Patience,
}

/// How long a pod may be missed before that turns a condition: one that dials again is back by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It may be on its way: what is True stays so.
    Left,
    /// It counts.
    Over,
}

/// A data plane, as far as one forward is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name of the pod.
    pub pod: String,
    /// What it serves.
    pub serving: Option<ServedSpec>,
    /// What it refuses.
    pub refused: Option<Refusal>,
    /// Backends that it doesn't reach.
    pub failing: Vec<FailingBackend>,
    /// What the targets by DNS name lead to there.
    pub hosts: Vec<ResolvedHost>,
    /// What it listens on.
    pub listeners: Vec<SocketAddr>,
}

/// Pods of a pool, by whether they count. `T` is what the connected ones say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Census<T> {
    /// Connected, and not known to be unready.
    pub(crate) members: Vec<T>,
    /// Connected, and not Ready.
    pub(crate) unready: Vec<T>,
    /// Connected, and about to end.
    pub(crate) ending: Vec<T>,
    /// Ready, and not connected.
    pub(crate) absent: Vec<Absent>,
    /// Neither Ready nor connected: their names.
    pub(crate) starting: Vec<String>,
}

impl<T> Default for Census<T> {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            unready: Vec::new(),
            ending: Vec::new(),
            absent: Vec::new(),
            starting: Vec::new(),
        }
    }
}

impl<T> Census<T> {
    /// Who counts: pods that are Ready, and those that are connected unless they are known not to be
    /// Ready. `connected` and `pods` are by uid; no `pods`: nobody may see them. `missed` says since
    /// when one is not connected.
    #[must_use]
    pub(crate) fn take<'a>(
        connected: Vec<(String, T)>,
        pods: Option<impl Iterator<Item = (&'a str, &'a Pod)>>,
        missed: impl Fn(&str) -> Option<(Timestamp, Patience)>,
    ) -> Self {
        let mut census = Self::default();
        let mut pods: BTreeMap<&str, &Pod> = pods.into_iter().flatten().collect();
        for (uid, said) in connected {
            let readiness = pods.remove(uid.as_str()).map(|pod| pod.readiness);
            let whose = match readiness {
                None | Some(Readiness::Ready) => &mut census.members,
                Some(Readiness::NotReady) => &mut census.unready,
                Some(Readiness::Ending) => &mut census.ending,
            };
            whose.push(said);
        }
        for (uid, pod) in pods {
            let name = pod.name.clone();
            match (pod.readiness, missed(uid)) {
                (Readiness::Ready, Some((since, patience))) => census.absent.push(Absent {
                    pod: name,
                    since,
                    patience,
                }),
                (Readiness::NotReady, _) => census.starting.push(name),
                (Readiness::Ready, None) | (Readiness::Ending, _) => {}
            }
        }
        census
    }
}

impl PoolView {
    /// The members among those that are connected, and who is missed of the others; as
    /// [`Census::take`] has it.
    #[must_use]
    pub fn of<'a>(
        connected: Vec<(String, Member)>,
        pods: Option<impl Iterator<Item = (&'a str, &'a Pod)>>,
        missed: impl Fn(&str) -> Option<(Timestamp, Patience)>,
    ) -> Self {
        let census = Census::take(connected, pods, missed);
        let unready = census.unready.into_iter().chain(census.ending);
        Self {
            members: census.members,
            unready: unready.map(|member| member.pod).collect(),
            absent: census.absent,
            ..Self::default()
        }
    }
}
