//! Pure. Who wants which port of which pool, and who gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tcpforward_protocol::snapshot::ForwardName;

use crate::forward::Draft;
use crate::index::Index;

/// A pool and a port of its pods.
pub(crate) type Port = (String, u16);

/// Every valid forward by the port that it wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    wanted: BTreeMap<ForwardName, Port>,
    claimants: BTreeMap<Port, BTreeMap<ForwardName, Option<IpAddr>>>,
}

impl Ports {
    /// Notes what a forward wants now; names the ports whose claimants changed.
    pub(crate) fn note(&mut self, name: &ForwardName, draft: Option<&Draft>) -> BTreeSet<Port> {
        let mut touched = BTreeSet::new();
        if let Some(port) = self.wanted.remove(name) {
            if let Some(claimants) = self.claimants.get_mut(&port) {
                claimants.remove(name);
                if claimants.is_empty() {
                    self.claimants.remove(&port);
                }
            }
            touched.insert(port);
        }
        if let Some(draft) = draft {
            let listener = &draft.spec.listener;
            let port = (draft.pool.clone(), listener.port.get());
            let claimants = self.claimants.entry(port.clone()).or_default();
            claimants.insert(name.clone(), listener.address);
            self.wanted.insert(name.clone(), port.clone());
            touched.insert(port);
        }
        touched
    }

    /// All claimants of a port, each with the one that it has to give way to, if any.
    pub(crate) fn judge(
        &self,
        port: &Port,
        index: &Index,
    ) -> BTreeMap<ForwardName, Option<ForwardName>> {
        let mut queue: Vec<_> = self.claimants.get(port).into_iter().flatten().collect();
        queue.sort_by_key(|(name, _)| (index.known(name).map(|known| &known.claim), *name));
        let mut winners: Vec<(&ForwardName, Option<IpAddr>)> = Vec::new();
        let mut verdict = BTreeMap::new();
        for (name, address) in queue {
            let winner = winners.iter().find(|(_, taken)| overlap(*taken, *address));
            verdict.insert(name.clone(), winner.map(|(winner, _)| (*winner).clone()));
            if winner.is_none() {
                winners.push((name, *address));
            }
        }
        verdict
    }
}

/// Whether two listeners of one port can't be bound side by side.
fn overlap(one: Option<IpAddr>, two: Option<IpAddr>) -> bool {
    let everything = |address: Option<IpAddr>| address.is_none_or(|ip| ip.is_unspecified());
    everything(one) || everything(two) || one == two
}
