//! Pure. From the index to what each pool shall serve and what to say of each forward. Only what
//! an event touched is computed again, and the result is that of computing everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tcpforward_protocol::snapshot::{
    Forward, ForwardName, ForwardSpec, LocalTargets, Settings, Snapshot,
};

use crate::config::CLUSTER_DOMAIN;
use crate::forward::{self, Draft, Rejection};
use crate::index::{Index, Known};
use crate::pool::Pool;
use crate::resolve::Resolved;
use crate::status;

mod approach;
mod backends;
mod grants;
mod holding;
mod needed;
mod outcome;
mod pools;
mod ports;
mod quotas;
mod show;
mod users;
mod via;

pub use approach::{Approach, PodPorts, Standing};
pub use backends::target;
use holding::Holding;
pub use outcome::{Changes, Outcome};
pub use pools::Place;
use ports::{Bid, Conflict, Ports, Verdicts};
use quotas::Quotas;

/// What holds for every forward of this operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Where forwards are served.
    pub place: Place,
    /// Ports that no forward may have, and what holds each: "the admin page of this process".
    pub reserved: BTreeMap<u16, String>,
    /// Where pods listen.
    pub pod_ports: PodPorts,
    /// Names below `svc.` and this are Services for clients of a proxy.
    pub cluster_domain: String,
}

impl Rules {
    /// Of an operator in a cluster of that domain.
    #[must_use]
    pub fn of_cluster(cluster_domain: &str) -> Self {
        Self {
            place: Place::Cluster,
            reserved: BTreeMap::new(),
            pod_ports: PodPorts::Allocated,
            cluster_domain: cluster_domain.to_owned(),
        }
    }

    /// Of manifests without a cluster: a laptop's servers are on loopback.
    #[must_use]
    pub fn of_manifests() -> Self {
        Self {
            place: Place::Manifests,
            pod_ports: PodPorts::AsWritten,
            ..Self::of_cluster(CLUSTER_DOMAIN)
        }
    }
}

/// Holds the results, so that the next compilation costs what changed.
#[derive(Clone, Debug)]
pub struct Compiler {
    rules: Rules,
    quotas: Quotas,
    ports: Ports,
    outcomes: BTreeMap<ForwardName, Outcome>,
    snapshots: BTreeMap<String, Arc<Snapshot>>,
    /// What snapshots hold of each forward, by pool: more than one while it moves.
    shown: BTreeMap<ForwardName, BTreeMap<String, Arc<Forward>>>,
    holding: Holding,
}

impl Compiler {
    /// Nothing compiled yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            quotas: Quotas::default(),
            ports: Ports::default(),
            outcomes: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            shown: BTreeMap::new(),
            holding: Holding::default(),
        }
    }

    /// Compiles the forwards that an event touched, and those that share a port or a limit with them.
    pub fn compile(&mut self, index: &Index, touched: &BTreeSet<ForwardName>) -> Changes {
        let mut changes = Changes {
            forwards: touched.clone(),
            pools: self.settle(index),
        };
        changes.forwards.extend(self.count(index, touched));
        let mut ports = BTreeSet::new();
        for name in &changes.forwards {
            // Who isn't served anyway takes no port from others.
            let draft = self.candidate(index, name);
            let draft = draft.filter(|_| !self.quotas.is_beyond(name));
            let listener = draft.and_then(|draft| self.pod_listener(index, name, draft));
            let bid = draft
                .zip(listener.as_ref())
                .map(|(draft, (listener, by))| Bid {
                    pool: &draft.pool,
                    listener,
                    by: *by,
                });
            ports.extend(self.ports.note(name, bid));
        }
        let verdicts = self.ports.judge(&ports, index);
        changes.forwards.extend(verdicts.keys().cloned());
        for name in &changes.forwards {
            let outcome = index
                .known(name)
                .map(|known| self.outcome_of(index, &verdicts, name, known));
            changes.pools.extend(self.publish(index, name, outcome));
        }
        changes
    }

    /// Whether a forward stands on another namespace's leave that was taken back: that waits for
    /// nothing.
    #[must_use]
    pub fn loses_a_grant(&self, index: &Index, name: &ForwardName) -> bool {
        let outcome = self.outcomes.get(name);
        let forward = outcome.and_then(|outcome| outcome.forward.as_ref());
        forward.is_some_and(|forward| grants::lost(index, name, &forward.grants))
    }

    /// What became of a forward.
    #[must_use]
    pub fn outcome(&self, name: &ForwardName) -> Option<&Outcome> {
        self.outcomes.get(name)
    }

    /// What became of every forward.
    #[must_use]
    pub fn outcomes(&self) -> &BTreeMap<ForwardName, Outcome> {
        &self.outcomes
    }

    /// What holds where there is nothing to serve.
    #[must_use]
    pub fn bare(place: Place) -> Settings {
        Settings::new(match place {
            Place::Cluster => LocalTargets::Refuse,
            Place::Manifests => LocalTargets::Allow,
        })
    }

    /// What a pool shall serve; nothing, if no forward names it.
    #[must_use]
    pub fn snapshot(&self, pool: &str) -> Arc<Snapshot> {
        self.snapshots.get(pool).map_or_else(
            || Arc::new(Snapshot::new(Self::bare(self.rules.place))),
            Arc::clone,
        )
    }

    /// What each pool that has forwards shall serve.
    #[must_use]
    pub fn snapshots(&self) -> &BTreeMap<String, Arc<Snapshot>> {
        &self.snapshots
    }

    fn outcome_of(
        &self,
        index: &Index,
        verdicts: &Verdicts,
        name: &ForwardName,
        known: &Known,
    ) -> Outcome {
        let mut outcome = Outcome {
            generation: forward::generation(&known.raw),
            pool: forward::pool(&known.raw).to_owned(),
            accepted: Ok(()),
            unresolved: None,
            left_out: 0,
            capped: None,
            approach: None,
            forward: None,
        };
        let draft = match &known.draft {
            Ok(draft) => draft,
            Err(rejection) => {
                outcome.accepted = Err(rejection.clone());
                return outcome;
            }
        };
        outcome.approach = self.approach(index, name, draft);
        outcome.accepted = self.granted(index, verdicts, name, draft);
        if outcome.accepted.is_ok() {
            let settings = self.rules.place.settings(index, &draft.pool);
            let Resolved {
                mut backends,
                unresolved,
            } = backends::all_of(index, name, draft, &settings);
            outcome.left_out = backends::cut(&mut backends);
            let mut spec = self.spec(draft);
            outcome.capped = pools::cap(
                &mut spec,
                pools::connections_per_forward(index, &draft.pool),
            );
            let no_users = users::sign_up(index, name, draft, &mut spec);
            let no_parent = via::equip(index, name, draft, &mut spec);
            outcome.unresolved = no_users.or(no_parent).or(unresolved);
            if let Some((listener, _)) = self.pod_listener(index, name, draft) {
                spec.listener.port = listener.port;
                spec.listener.end_port = listener.end_port;
                let grants = grants::of(index, name, draft);
                let forward = Forward::granted(name.clone(), spec, backends, grants);
                outcome.forward = Some(Arc::new(forward));
            }
        }
        outcome
    }

    /// Whether a forward is served, and may have its ports.
    fn granted(
        &self,
        index: &Index,
        verdicts: &Verdicts,
        name: &ForwardName,
        draft: &Draft,
    ) -> Result<(), Rejection> {
        if let Some(rejection) = self.refusal(index, name, draft) {
            return Err(rejection);
        }
        if self.quotas.is_beyond(name) {
            let limit = pools::forwards_per_namespace(index, &draft.pool).unwrap_or_default();
            return Err(Pool::too_many(&draft.pool, name.namespace(), limit));
        }
        // Without a verdict nobody else was touched: what was granted stays granted.
        match verdicts.get(name).and_then(Option::as_ref) {
            Some(Conflict { winner, port }) => {
                let holder = format!("TcpForward {winner} of pool {}", draft.pool);
                Err(unavailable(*port, &holder))
            }
            None => Ok(()),
        }
    }

    /// Why it is served in no case, whatever the other forwards want.
    fn refusal(&self, index: &Index, name: &ForwardName, draft: &Draft) -> Option<Rejection> {
        let by_pool = self.rules.place.refusal(index, name, draft);
        by_pool.or_else(|| {
            let mut ports = draft.spec.listener.ports().map(std::num::NonZeroU16::get);
            let reserved = &self.rules.reserved;
            ports.find_map(|port| Some(unavailable(port, reserved.get(&port)?)))
        })
    }

    /// What data planes get: what the author wrote, and what this operator knows.
    fn spec(&self, draft: &Draft) -> ForwardSpec {
        let mut spec = draft.spec.clone();
        if let Some(connect) = &mut spec.connect {
            connect
                .cluster_domain
                .clone_from(&self.rules.cluster_domain);
        }
        spec
    }
}

fn unavailable(port: u16, holder: &str) -> Rejection {
    Rejection {
        reason: status::PORT_UNAVAILABLE,
        field: "spec.listener.port".to_owned(),
        message: format!("port {port} is taken by {holder}; choose another port"),
    }
}

#[cfg(test)]
mod tests;
