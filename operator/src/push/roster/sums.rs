//! Edge. The roster in sums and lists: for shares, metrics and pages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use prometheus::IntGaugeVec;
use tcpforward_protocol::proto;
use tcpforward_protocol::snapshot::ForwardName;

use super::{Card, Pool, Roster, Seat, Standing};
use crate::status::Present;

impl Roster {
    /// The part of pool-wide limits of one data plane.
    pub(crate) fn share(&self, seat: &Seat) -> proto::Share {
        let state = self.lock();
        let order = state
            .pools
            .get(&seat.pool)
            .map_or([].as_slice(), |pool| pool.order.as_slice());
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        proto::Share {
            index: number(order.binary_search(&seat.uid).unwrap_or_default()),
            of: number(order.len()).max(1),
        }
    }

    /// Open sessions and all since their start, of one forward over the pool.
    pub(crate) fn sessions(&self, pool: &str, forward: &ForwardName) -> (u64, u64) {
        let state = self.lock();
        let members = state
            .pools
            .get(pool)
            .into_iter()
            .flat_map(|p| p.members.values());
        members
            .filter_map(|member| member.knowledge.sessions.get(forward))
            .fold((0_u64, 0_u64), |sum, count| {
                (sum.0.saturating_add(count.0), sum.1.saturating_add(count.1))
            })
    }

    /// Connected data planes of each pool.
    pub(crate) fn sizes(&self) -> BTreeMap<String, usize> {
        let state = self.lock();
        let size = |(name, pool): (&String, &Pool)| (name.clone(), pool.members.len());
        let sizes = state.pools.iter().map(size);
        sizes.filter(|(_, size)| *size > 0).collect()
    }

    /// Uids of those that are connected to this replica.
    pub(crate) fn connected(&self, pool: &str) -> BTreeSet<String> {
        let state = self.lock();
        let pool = state.pools.get(pool);
        let members = pool.into_iter().flat_map(|pool| pool.members.keys());
        members.cloned().collect()
    }

    /// Who is there of a pool, or was a moment ago, by uid.
    pub(crate) fn present(&self, pool: &str) -> Vec<(String, Present)> {
        let state = self.lock();
        let Some(pool) = state.pools.get(pool) else {
            return Vec::new();
        };
        let here = pool.members.iter();
        let here = here.map(|(uid, m)| (uid, &m.pod, &m.build, &m.knowledge));
        let gone = pool.departed.iter();
        let gone = gone.map(|(uid, d)| (uid, &d.pod, &d.build, &d.knowledge));
        let present = here.chain(gone).map(|(uid, pod, build, knowledge)| {
            let present = Present {
                pod: pod.clone(),
                build: build.clone(),
                serves: knowledge.standing == Standing::Member,
            };
            (uid.clone(), present)
        });
        present.collect()
    }

    /// Shows the sizes in a metric; all under one lock, so that the last word is the latest.
    pub(crate) fn count(&self, connected: &IntGaugeVec) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let sizes = self.sizes();
        for (pool, size) in &sizes {
            let size = i64::try_from(*size).unwrap_or(i64::MAX);
            connected.with_label_values(&[pool]).set(size);
        }
        for pool in counted.iter().filter(|pool| !sizes.contains_key(*pool)) {
            // It was shown, so there is nothing to fail.
            let _ = connected.remove_label_values(&[pool]);
        }
        *counted = sizes.into_keys().collect();
    }

    pub(crate) fn cards(&self) -> Vec<Card> {
        let state = self.lock();
        let pools = state.pools.iter();
        pools
            .flat_map(|(name, pool)| {
                pool.members.values().map(|member| Card {
                    pool: name.clone(),
                    pod: member.pod.clone(),
                    node: member.node.clone(),
                    build: member.build.clone(),
                    served: member.knowledge.serving.len(),
                    refused: member.knowledge.refused.len(),
                })
            })
            .collect()
    }
}
