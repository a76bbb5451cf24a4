//! Pure. Operators that are not ours: which of them stand in the way, with clocks passed in.
//!
//! Each install has a Lease, in which it writes what it watches before it looks at the Leases of the others.
//! Of two that overlap, the one whose claim the API server has taken first goes on: whoever claims later
//! sees the earlier claim when it looks. A claim's place is the resourceVersion of the write that made it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::ResourceExt;

use super::Timing;
use crate::watch::Scope;

/// What the Leases of all operators have, so that one list shows them.
pub(crate) const LABEL: (&str, &str) = ("tcpforward.dev/lease", "operator");

/// Namespaces that are watched, separated by commas, or [`ALL`].
pub(crate) const WATCHED: &str = "tcpforward.dev/watched-namespaces";

/// Which write has made the claim; absent: the latest one.
pub(crate) const CLAIM: &str = "tcpforward.dev/claim";

const ALL: &str = "*";

/// For so many durations of standing still, a replica that has seen a Lease live takes it over with its
/// claim; and from so many on, it is in nobody's way. Between them is time for what is under way.
pub(crate) const KEPT: u32 = 2;
const STILL: u32 = 3;

/// When a claim was made: earlier ones are less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The resourceVersion of the write that made it.
    At(String),
    /// Not yet.
    Never,
}

impl Claim {
    fn is_before(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Never, _) => false,
            (Self::At(_), Self::Never) => true,
            // Numbers without a bound on their length.
            (Self::At(a), Self::At(b)) => {
                a.len().cmp(&b.len()).then_with(|| a.cmp(b)) == Ordering::Less
            }
        }
    }
}

/// Why this operator may not serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--watch-namespaces: the operator with the Lease {namespace}/{name} serves {shared} already; give \
     each operator of the cluster namespaces of its own with --watch-namespaces (in the chart: \
     watchNamespaces), or uninstall one of them"
)]
pub struct Overlap {
    /// Of the other's Lease.
    pub namespace: String,
    /// Of the other's Lease.
    pub name: String,
    /// What both watch.
    pub shared: Shared,
}

/// What two operators both watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shared {
    /// The whole cluster.
    All,
    /// These.
    Namespaces(Vec<String>),
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all namespaces"),
            Self::Namespaces(names) if names.len() == 1 => {
                write!(f, "namespace {}", names.join(""))
            }
            Self::Namespaces(names) => write!(f, "namespaces {}", names.join(", ")),
        }
    }
}

/// What a look at the others came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody stands in the way.
    Free,
    /// One does who lives.
    Refused(Overlap),
    /// One does who may be dead.
    Waits(Overlap),
}

/// The other operators' Leases, as they were seen.
#[derive(Debug)]
pub(crate) struct Others {
    known: BTreeMap<(String, String), Seen>,
    still: Duration,
}

#[derive(Debug)]
struct Seen {
    spec: Option<LeaseSpec>,
    since: Instant,
    lives: Lives,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lives {
    Perhaps,
    Yes,
}

impl Others {
    pub(crate) fn new(timing: Timing) -> Self {
        Self {
            known: BTreeMap::new(),
            still: timing.duration * STILL,
        }
    }

    /// Looks at all Leases of operators, for the one with that namespace and name.
    pub(crate) fn look(
        &mut self,
        own: (&str, &str),
        watched: &Scope,
        claim: &Claim,
        leases: Vec<Lease>,
        now: Instant,
    ) -> Verdict {
        let key = |lease: &Lease| (lease.namespace().unwrap_or_default(), lease.name_any());
        let in_the_way = |lease: &Lease| {
            let shared = shared(watched, &scope(lease)?)?;
            let (namespace, name) = key(lease);
            let is_other = own != (namespace.as_str(), name.as_str());
            let is_first = claim_of(lease).is_before(claim);
            let overlap = Overlap {
                namespace,
                name,
                shared,
            };
            (is_other && is_first).then_some(overlap)
        };
        let mut before = std::mem::take(&mut self.known);
        let mut verdict = Verdict::Free;
        for lease in &leases {
            let Some(overlap) = in_the_way(lease) else {
                continue;
            };
            let (key, spec) = (key(lease), lease.spec.clone());
            let seen = match before.remove(&key) {
                Some(seen) if seen.spec == spec => seen,
                seen => Seen {
                    spec,
                    since: now,
                    lives: seen.map_or(Lives::Perhaps, |_| Lives::Yes),
                },
            };
            let is_dead = now >= seen.since + self.still;
            verdict = match (verdict, seen.lives) {
                (Verdict::Refused(first), _) => Verdict::Refused(first),
                (verdict, _) if is_dead => verdict,
                (_, Lives::Yes) => Verdict::Refused(overlap),
                (_, Lives::Perhaps) => Verdict::Waits(overlap),
            };
            self.known.insert(key, seen);
        }
        verdict
    }
}

/// When the claim of a Lease was made.
pub(crate) fn claim_of(lease: &Lease) -> Claim {
    let written = lease.annotations().get(CLAIM);
    let version = written.or(lease.metadata.resource_version.as_ref());
    version.cloned().map_or(Claim::Never, Claim::At)
}

/// The text by which a Lease says what is watched.
pub(crate) fn written(scope: &Scope) -> String {
    match scope {
        Scope::All => ALL.to_owned(),
        Scope::Namespaces(names) => names.join(","),
    }
}

/// Whether all of it is what that Lease says.
pub(crate) fn is_covered(watched: &Scope, lease: &Lease) -> bool {
    match (watched, scope(lease)) {
        (_, Some(Scope::All)) => true,
        (Scope::Namespaces(mine), Some(Scope::Namespaces(its))) => {
            mine.iter().all(|name| its.contains(name))
        }
        (Scope::All, Some(Scope::Namespaces(_))) | (_, None) => false,
    }
}

fn scope(lease: &Lease) -> Option<Scope> {
    let text = lease.annotations().get(WATCHED)?;
    Some(match text.as_str() {
        ALL => Scope::All,
        names => Scope::Namespaces(names.split(',').map(str::to_owned).collect()),
    })
}

fn shared(one: &Scope, other: &Scope) -> Option<Shared> {
    let names = match (one, other) {
        (Scope::All, Scope::All) => return Some(Shared::All),
        (Scope::All, Scope::Namespaces(names)) | (Scope::Namespaces(names), Scope::All) => {
            names.clone()
        }
        (Scope::Namespaces(one), Scope::Namespaces(other)) => {
            let both = one.iter().filter(|name| other.contains(name));
            both.cloned().collect()
        }
    };
    (!names.is_empty()).then_some(Shared::Namespaces(names))
}

#[cfg(test)]
mod tests;
