//! Edge. Which pods of pools should be connected, and which are.

use std::collections::BTreeSet;
use std::time::Instant;

use k8s_openapi::jiff::Timestamp;
use tcpforward_protocol::snapshot::ForwardName;
use tokio::sync::watch;

use super::Controller;
use super::missing::Missing;
use crate::pods::{Pod, Pods, Readiness};
use crate::push::Roster;
use crate::status::{Gathering, Member, Patience, PoolView, Ways};

/// What was seen when it was looked at last.
#[derive(Debug, Default)]
pub(super) struct Roll {
    pods: Pods,
    missing: Missing,
}

impl Roll {
    /// A pool's pods by uid; none: nobody may see them.
    pub(super) fn of<'a>(
        &'a self,
        pool: &'a str,
    ) -> Option<impl Iterator<Item = (&'a str, &'a Pod)>> {
        self.pods.of(pool)
    }

    /// Leaves out those that were connected a moment ago and whose pods are gone as well: they do not come back.
    /// One that is connected and not seen yet stays.
    pub(super) fn strike_off<T>(&self, heard: &mut Vec<(String, T)>, roster: &Roster, pool: &str) {
        if heard.iter().any(|(uid, _)| self.pods.lack(pool, uid)) {
            let connected = roster.connected(pool);
            heard.retain(|(uid, _)| connected.contains(uid) || !self.pods.lack(pool, uid));
        }
    }

    /// Since when a pod is missed, if it is.
    pub(super) fn missed(&self, pool: &str, uid: &str) -> Option<(Timestamp, Patience)> {
        self.missing.of(pool, uid)
    }
}

impl Controller {
    /// The same, with what is seen of pods.
    pub(crate) fn with_pods(self, pods: watch::Receiver<Pods>) -> Self {
        Self {
            pods: Some(pods),
            ..self
        }
    }

    /// Looks at who is there; marks the forwards of pools where that changes who counts. Whether any is.
    pub(super) fn call_the_roll(&mut self, now: Instant) -> bool {
        let turned = self.turned(now);
        let outcomes = self.compiler.outcomes().iter();
        let theirs = outcomes.filter(|(_, outcome)| turned.contains(&outcome.pool));
        let theirs: Vec<_> = theirs.map(|(name, _)| name.clone()).collect();
        self.touched.extend(theirs);
        !turned.is_empty()
    }

    fn turned(&mut self, now: Instant) -> BTreeSet<String> {
        let Some(seen) = &self.pods else {
            return BTreeSet::new();
        };
        let seen = seen.borrow().clone();
        let pods_of = |pods: &Pods, pool: &str| {
            let found = pods.of(pool)?;
            Some(
                found
                    .map(|(uid, pod)| (uid.to_owned(), pod.clone()))
                    .collect::<Vec<_>>(),
            )
        };
        let mut missed = BTreeSet::new();
        let all: BTreeSet<&String> = seen.pools().chain(self.roll.pods.pools()).collect();
        let mut turned = BTreeSet::new();
        for pool in all {
            let pods = pods_of(&seen, pool);
            if pods != pods_of(&self.roll.pods, pool) {
                turned.insert(pool.clone());
            }
            let connected = self.roster.connected(pool);
            let ready = pods.into_iter().flatten();
            let ready = ready.filter(|(_, pod)| pod.readiness == Readiness::Ready);
            let absent = ready.filter(|(uid, _)| !connected.contains(uid));
            missed.extend(absent.map(|(uid, _)| (pool.clone(), uid)));
        }
        turned.extend(self.roll.missing.look(missed, now, Timestamp::now()));
        self.roll.pods = seen;
        turned
    }

    /// The forwards about which data planes say something new.
    pub(super) fn roster_news(&self) -> BTreeSet<ForwardName> {
        let dirty = self.roster.take_dirty();
        let outcomes = self.compiler.outcomes().iter();
        let of_pools = outcomes.filter(|(_, outcome)| dirty.pools.contains(&outcome.pool));
        let mut names: BTreeSet<_> = of_pools.map(|(name, _)| name.clone()).collect();
        names.extend(dirty.forwards);
        names
    }

    /// Who counts of a pool, and what each says of a forward.
    pub(super) fn pool_view(&self, pool: &str, name: &ForwardName) -> PoolView {
        let missed = |uid: &str| self.roll.missed(pool, uid);
        let mut members = members(&self.roster, pool, name);
        self.roll.strike_off(&mut members, &self.roster, pool);
        let view = PoolView::of(members, self.roll.of(pool), missed);
        PoolView {
            gathering: match self.grace {
                Some(_) => Gathering::Waiting,
                None => Gathering::Done,
            },
            trouble: self.trouble_of(name),
            ways: Ways {
                from: self.roll.pods.namespace(pool).map(ToOwned::to_owned),
                to: self.services_of(name),
            },
            ..view
        }
    }
}

/// Waits until something else is seen; for ever where nobody looks.
pub(super) async fn changed(seen: &mut Option<watch::Receiver<Pods>>) {
    let gone = match seen {
        Some(seen) => seen.changed().await.is_err(),
        None => true,
    };
    if gone {
        std::future::pending().await
    }
}

fn members(roster: &Roster, pool: &str, name: &ForwardName) -> Vec<(String, Member)> {
    let accounts = roster.accounts(pool, name).into_iter();
    let member = accounts.map(|account| {
        let member = Member {
            pod: account.pod,
            serving: account.serving,
            refused: account.refused,
            failing: account.failing,
            hosts: account.hosts,
            listeners: account.listeners,
        };
        (account.uid, member)
    });
    member.collect()
}
