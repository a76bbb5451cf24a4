//! Pure. Who wants which ports of which pool, and who gets them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tcpforward_protocol::snapshot::ForwardName;

use crate::forward::Draft;
use crate::index::Index;

/// A pool and a port of its pods.
pub(crate) type Port = (String, u16);

/// For each forward that was judged: whom it has to give way to, if anyone.
pub(crate) type Verdicts = BTreeMap<ForwardName, Option<Conflict>>;

/// Why a forward can't have its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// Who has it.
    pub(crate) winner: ForwardName,
    /// The first of the ports that both want.
    pub(crate) port: u16,
}

/// Every valid forward by the ports that it wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    wanted: BTreeMap<ForwardName, Wanted>,
    claimants: BTreeMap<Port, BTreeSet<ForwardName>>,
}

#[derive(Clone, Debug)]
struct Wanted {
    ports: Vec<Port>,
    address: Option<IpAddr>,
}

impl Ports {
    /// Notes what a forward wants now; names the ports whose claimants changed.
    pub(crate) fn note(&mut self, name: &ForwardName, draft: Option<&Draft>) -> BTreeSet<Port> {
        let mut touched = BTreeSet::new();
        let former = self.wanted.remove(name);
        for port in former.into_iter().flat_map(|wanted| wanted.ports) {
            if let Some(claimants) = self.claimants.get_mut(&port) {
                claimants.remove(name);
                if claimants.is_empty() {
                    self.claimants.remove(&port);
                }
            }
            touched.insert(port);
        }
        let Some(draft) = draft else {
            return touched;
        };
        let listener = &draft.spec.listener;
        let ports = listener.ports();
        let ports: Vec<Port> = ports.map(|p| (draft.pool.clone(), p.get())).collect();
        for port in &ports {
            let claimants = self.claimants.entry(port.clone()).or_default();
            claimants.insert(name.clone());
        }
        touched.extend(ports.iter().cloned());
        let address = listener.address;
        self.wanted.insert(name.clone(), Wanted { ports, address });
        touched
    }

    /// Judges everyone who wants one of these ports, or shares a port with one who is judged: a
    /// range that loses one port wants none of the others any more.
    pub(crate) fn judge(&self, touched: &BTreeSet<Port>, index: &Index) -> Verdicts {
        let mut queue: Vec<&ForwardName> = self.rivals(touched).into_iter().collect();
        queue.sort_by_key(|name| (index.known(name).map(|known| &known.claim), *name));
        let mut taken: BTreeMap<&Port, Vec<(&ForwardName, Option<IpAddr>)>> = BTreeMap::new();
        let mut verdicts = Verdicts::new();
        for name in queue {
            let Some(Wanted { ports, address }) = self.wanted.get(name) else {
                continue;
            };
            let conflict = ports.iter().find_map(|port| {
                let mut holders = taken.get(port)?.iter();
                let (winner, _) = holders.find(|(_, theirs)| overlap(*theirs, *address))?;
                Some(Conflict {
                    winner: (*winner).clone(),
                    port: port.1,
                })
            });
            if conflict.is_none() {
                for port in ports {
                    taken.entry(port).or_default().push((name, *address));
                }
            }
            verdicts.insert(name.clone(), conflict);
        }
        verdicts
    }

    fn rivals<'a>(&'a self, touched: &'a BTreeSet<Port>) -> BTreeSet<&'a ForwardName> {
        let mut rivals = BTreeSet::new();
        let mut seen: BTreeSet<&Port> = touched.iter().collect();
        let mut open: Vec<&Port> = touched.iter().collect();
        while let Some(port) = open.pop() {
            for name in self.claimants.get(port).into_iter().flatten() {
                if rivals.insert(name) {
                    let wanted = self.wanted.get(name).into_iter();
                    open.extend(
                        wanted
                            .flat_map(|w| &w.ports)
                            .filter(|port| seen.insert(port)),
                    );
                }
            }
        }
        rivals
    }
}

/// Whether two listeners of one port can't be bound side by side.
fn overlap(one: Option<IpAddr>, two: Option<IpAddr>) -> bool {
    let everything = |address: Option<IpAddr>| address.is_none_or(|ip| ip.is_unspecified());
    everything(one) || everything(two) || one == two
}
