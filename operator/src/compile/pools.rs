//! Pure. What a pool lets a forward have, and what holds for all forwards of it.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use tcpforward_protocol::feature;
use tcpforward_protocol::snapshot::{ForwardName, ForwardSpec, LocalTargets, Settings};

use super::Compiler;
use super::quotas::Candidate;
use crate::crd::AddressTargets;
use crate::forward::{Draft, Rejection};
use crate::index::{Index, KnownPool};
use crate::pool::{Labels, Pool};
use crate::status;

/// Where forwards are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a cluster: by pools that have a DataPlane.
    Cluster,
    /// By this machine, from manifests. A pool needs no DataPlane; one that is among them is obeyed,
    /// but for its addressTargets: there is no cluster to protect, and servers are on loopback.
    Manifests,
}

impl Place {
    /// What holds for all forwards of a pool.
    #[must_use]
    pub fn settings(self, index: &Index, pool: &str) -> Settings {
        let targets = valid(index, pool).map(|pool| pool.address_targets);
        match (self, targets) {
            (Self::Manifests, _) | (Self::Cluster, Some(AddressTargets::Any)) => {
                Settings::new(LocalTargets::Allow)
            }
            (Self::Cluster, Some(AddressTargets::External) | None) => Settings {
                local_targets: LocalTargets::Refuse,
                protected: index.protected().clone(),
            },
        }
    }

    /// Why a pool doesn't serve a forward, whatever else it serves.
    pub(super) fn refusal(
        self,
        index: &Index,
        name: &ForwardName,
        draft: &Draft,
    ) -> Option<Rejection> {
        let pool = match (index.pools().get(&draft.pool).map(pool_of), self) {
            (Some(Ok(pool)), _) => pool,
            (Some(Err(invalid)), _) => return Some(unreadable(&draft.pool, invalid)),
            (None, Self::Cluster) => return Some(unknown(&draft.pool)),
            (None, Self::Manifests) => return None,
        };
        let namespace = name.namespace();
        let known = index.pools().labels(namespace).cloned();
        // Every namespace of a cluster has this label; manifests may be silent about theirs.
        let labels = known.or_else(|| match self {
            Self::Cluster => None,
            Self::Manifests => Some(Labels::from([(
                "kubernetes.io/metadata.name".to_owned(),
                namespace.to_owned(),
            )])),
        });
        let refusal = pool.refusal(&draft.pool, namespace, labels.as_ref(), draft);
        refusal.or_else(|| match self {
            Self::Cluster => {
                let no_address = pool.no_address(&draft.pool, draft);
                no_address.or_else(|| pool.no_sources(draft))
            }
            // There are no Services.
            Self::Manifests => None,
        })
    }
}

impl Compiler {
    /// Puts every pool under the settings that hold now; names those that changed.
    pub(super) fn settle(&mut self, index: &Index) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        for (pool, snapshot) in &mut self.snapshots {
            let settings = self.rules.place.settings(index, pool);
            if *snapshot.settings() != settings {
                Arc::make_mut(snapshot).set_settings(settings);
                changed.insert(pool.clone());
            }
        }
        changed
    }

    /// Notes who of these counts for the limits of their pool; names those who are within now, or
    /// beyond, and weren't.
    pub(super) fn count(
        &mut self,
        index: &Index,
        touched: &BTreeSet<ForwardName>,
    ) -> BTreeSet<ForwardName> {
        let mut groups = BTreeSet::new();
        for name in touched {
            let draft = self.candidate(index, name);
            let candidate = draft.map(|draft| Candidate {
                pool: &draft.pool,
                created: index
                    .known(name)
                    .and_then(|known| known.claim.created.as_ref()),
            });
            groups.extend(self.quotas.note(name, candidate));
        }
        let limit = |pool: &str| forwards_per_namespace(index, pool);
        self.quotas.judge(&groups, limit)
    }

    /// What a forward asks for, if nothing speaks against it but others.
    pub(super) fn candidate<'a>(&self, index: &'a Index, name: &ForwardName) -> Option<&'a Draft> {
        let draft = index.known(name)?.draft.as_ref().ok()?;
        self.refusal(index, name, draft).is_none().then_some(draft)
    }
}

/// How many forwards of one namespace a pool serves.
pub(super) fn forwards_per_namespace(index: &Index, pool: &str) -> Option<usize> {
    valid(index, pool)?.forwards_per_namespace
}

/// How many connections one forward of a pool has at most.
pub(super) fn connections_per_forward(index: &Index, pool: &str) -> Option<NonZeroU32> {
    valid(index, pool)?.connections_per_forward
}

/// Lowers the limit of connections to what the pool allows; that, if it did.
pub(super) fn cap(spec: &mut ForwardSpec, allowed: Option<NonZeroU32>) -> Option<NonZeroU32> {
    let connections = &mut spec.listener.limits.connections;
    let capped = allowed.filter(|allowed| connections.is_none_or(|asked| asked > *allowed))?;
    *connections = Some(capped);
    // The author may have asked for nothing of the kind. What else is required may be by another
    // reason than the spec.
    spec.requires.extend(feature::required(spec));
    spec.requires.sort();
    spec.requires.dedup();
    Some(capped)
}

pub(super) fn valid<'a>(index: &'a Index, pool: &str) -> Option<&'a Pool> {
    index.pools().get(pool)?.pool.as_ref().ok()
}

fn pool_of(known: &KnownPool) -> Result<&Pool, &Rejection> {
    known.pool.as_ref()
}

fn unknown(pool: &str) -> Rejection {
    unknown_because(format!(
        "spec.dataPlaneName is {pool}: there is no DataPlane {pool}; create it, or name one that \
         `kubectl get dataplanes` lists"
    ))
}

fn unreadable(pool: &str, invalid: &Rejection) -> Rejection {
    unknown_because(format!(
        "spec.dataPlaneName is {pool}: that DataPlane is not valid; correct it: {}",
        invalid.message
    ))
}

fn unknown_because(message: String) -> Rejection {
    Rejection {
        reason: status::UNKNOWN_DATA_PLANE,
        field: "spec.dataPlaneName".to_owned(),
        message,
    }
}
