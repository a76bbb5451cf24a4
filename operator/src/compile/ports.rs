//! Pure. Who wants which ports of which pool, and who gets them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;

use tcpforward_protocol::snapshot::{ForwardName, Listener};

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
    by: By,
}

/// How a forward comes by its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum By {
    /// They were given to it, which is a fact.
    Allocation,
    /// It names them.
    Name,
}

/// What a forward wants of the pods of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bid<'a> {
    pub(crate) pool: &'a str,
    pub(crate) listener: &'a Listener,
    pub(crate) by: By,
}

impl Ports {
    /// Notes what a forward wants now; names the ports whose claimants changed.
    pub(crate) fn note(&mut self, name: &ForwardName, bid: Option<Bid<'_>>) -> BTreeSet<Port> {
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
        let Some(Bid { pool, listener, by }) = bid else {
            return touched;
        };
        let ports = listener.ports().map(NonZeroU16::get);
        let ports: Vec<Port> = ports.map(|port| (pool.to_owned(), port)).collect();
        for port in &ports {
            let claimants = self.claimants.entry(port.clone()).or_default();
            claimants.insert(name.clone());
        }
        touched.extend(ports.iter().cloned());
        let address = listener.address;
        let wanted = Wanted { ports, address, by };
        self.wanted.insert(name.clone(), wanted);
        touched
    }

    /// Judges everyone who wants one of these ports, or shares a port with one who is judged: a
    /// range that loses one port wants none of the others any more.
    pub(crate) fn judge(&self, touched: &BTreeSet<Port>, index: &Index) -> Verdicts {
        let mut queue: Vec<&ForwardName> = self.rivals(touched).into_iter().collect();
        queue.sort_by_key(|name| {
            let by = self.wanted.get(*name).map(|wanted| wanted.by);
            (by, index.known(name).map(|known| &known.claim), *name)
        });
        let mut taken: BTreeMap<&Port, Vec<(&ForwardName, Option<IpAddr>)>> = BTreeMap::new();
        let mut verdicts = Verdicts::new();
        for name in queue {
            let Some(Wanted { ports, address, .. }) = self.wanted.get(name) else {
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

    /// Ports of a pool's pods that forwards name, whether or not they get them.
    pub(crate) fn named<'a>(&'a self, pool: &'a str) -> impl Iterator<Item = u16> + 'a {
        let first = (pool.to_owned(), 0);
        let ports = self.claimants.range(first..);
        let ports = ports.take_while(move |((its, _), _)| its == pool);
        let ports = ports.filter(|(_, names)| {
            let mut wanted = names.iter().filter_map(|name| self.wanted.get(name));
            wanted.any(|wanted| wanted.by == By::Name)
        });
        ports.map(|((_, port), _)| *port)
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
