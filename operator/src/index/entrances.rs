//! Pure. Services in the namespaces of pools: those by which clients come, and what is in their way.

use std::collections::{BTreeMap, BTreeSet};

use tcpforward_protocol::snapshot::ForwardName;

use super::{Index, Key};
use crate::entrance::{self, Gate, Live, Owned};

/// What was seen of the Services of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntranceNews {
    /// These are all of a namespace.
    Listed {
        /// Which.
        namespace: String,
        /// All of them.
        services: Vec<Live>,
    },
    /// One is there, new or other than before.
    Seen(Live),
    /// One is gone.
    Gone {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// They are not looked at.
    Unseen {
        /// Of which namespace.
        namespace: String,
        /// Why not.
        why: Unseen,
    },
    /// Nobody looks there any more.
    Forgotten {
        /// At which namespace.
        namespace: String,
    },
}

/// Why Services of a namespace are not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// They may not be read.
    Forbidden,
    /// Pools are in more namespaces than are watched.
    TooMany,
}

/// What is known of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// There is no Service of that name.
    Absent,
    /// There is.
    Live(&'a Live),
    /// Nobody has looked yet.
    Unread,
    /// Nobody looks.
    Unseen(Unseen),
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Entrances {
    /// Absent: not read yet.
    namespaces: BTreeMap<String, Result<BTreeMap<String, Live>, Unseen>>,
    of_forwards: BTreeMap<ForwardName, BTreeSet<Key>>,
    /// Who has a port of a pool's pods: the first one, should there be several.
    ports: BTreeMap<(String, u16), BTreeSet<Claimant>>,
}

/// When it was made, and which it is.
type Claimant = (Option<String>, Key);

impl Entrances {
    /// What is known of a Service.
    #[must_use]
    pub fn find(&self, namespace: &str, name: &str) -> Found<'_> {
        match self.namespaces.get(namespace) {
            None => Found::Unread,
            Some(Err(why)) => Found::Unseen(*why),
            Some(Ok(services)) => services.get(name).map_or(Found::Absent, Found::Live),
        }
    }

    /// Whether a namespace was looked at, or nobody will.
    #[must_use]
    pub fn is_read(&self, namespace: &str) -> bool {
        self.namespaces.contains_key(namespace)
    }

    /// Those of a forward, whether or not it wants them.
    pub fn of(&self, forward: &ForwardName) -> impl Iterator<Item = (&Live, &Owned)> {
        let keys = self.of_forwards.get(forward).into_iter().flatten();
        keys.filter_map(|(namespace, name)| match self.find(namespace, name) {
            Found::Live(live) => Some((live, live.owned.as_deref()?)),
            _ => None,
        })
    }

    /// Forwards that have any, whether or not they are there.
    pub fn forwards(&self) -> impl Iterator<Item = &ForwardName> {
        self.of_forwards.keys()
    }

    /// Namespaces that have any of ours.
    pub fn inhabited(&self) -> impl Iterator<Item = String> {
        let keys = self.of_forwards.values().flatten();
        keys.map(|(namespace, _)| namespace.clone())
    }

    /// Ports of a pool's pods that are given to anyone.
    pub fn taken<'a>(&'a self, pool: &'a str) -> impl Iterator<Item = u16> + 'a {
        let first = (pool.to_owned(), 0);
        let ports = self.ports.range(first..).map(|(key, _)| key);
        let ports = ports.take_while(move |(its, _)| its == pool);
        ports.map(|(_, port)| *port)
    }

    /// Whether nobody was there first on any of its ports.
    #[must_use]
    pub fn is_first(&self, live: &Live, owned: &Owned) -> bool {
        let me = (owned.created.clone(), key(live));
        owned.pod_ports().all(|port| {
            let claimants = self.ports.get(&(owned.pool.clone(), port));
            claimants.and_then(BTreeSet::first) == Some(&me)
        })
    }

    /// Whether clients of a forward may still come to these ports of a pool's pods.
    #[must_use]
    pub fn is_open(&self, pool: &str, forward: &ForwardName, first: u16) -> bool {
        self.of(forward).any(|(_, owned)| {
            owned.pool == pool
                && owned.gate != Some(Gate::Closed)
                && owned.pod_ports().any(|port| port == first)
        })
    }

    fn put(&mut self, live: Live, touched: &mut BTreeSet<ForwardName>) {
        self.remove(&live.namespace, &live.name, touched);
        if let Some(owned) = &live.owned {
            let of_forward = self.of_forwards.entry(owned.forward.clone());
            of_forward.or_default().insert(key(&live));
            touched.insert(owned.forward.clone());
            for port in owned.pod_ports() {
                let claimants = self.ports.entry((owned.pool.clone(), port)).or_default();
                claimants.insert((owned.created.clone(), key(&live)));
            }
        }
        if let Some(Ok(services)) = self.namespaces.get_mut(&live.namespace) {
            services.insert(live.name.clone(), live);
        }
    }

    fn remove(&mut self, namespace: &str, name: &str, touched: &mut BTreeSet<ForwardName>) {
        let Some(Ok(services)) = self.namespaces.get_mut(namespace) else {
            return;
        };
        let Some(live) = services.remove(name) else {
            return;
        };
        let Some(owned) = &live.owned else { return };
        let me = key(&live);
        if let Some(keys) = self.of_forwards.get_mut(&owned.forward) {
            keys.remove(&me);
            if keys.is_empty() {
                self.of_forwards.remove(&owned.forward);
            }
        }
        touched.insert(owned.forward.clone());
        for port in owned.pod_ports() {
            let place = (owned.pool.clone(), port);
            let Some(claimants) = self.ports.get_mut(&place) else {
                continue;
            };
            claimants.remove(&(owned.created.clone(), me.clone()));
            // Who was second may be first now.
            let next: Vec<Key> = claimants.iter().map(|(_, key)| key.clone()).collect();
            if next.is_empty() {
                self.ports.remove(&place);
            }
            for (namespace, name) in next {
                if let Found::Live(Live {
                    owned: Some(owned), ..
                }) = self.find(&namespace, &name)
                {
                    touched.insert(owned.forward.clone());
                }
            }
        }
    }

    /// Nothing is known of a namespace any more.
    fn forget(&mut self, namespace: &str, touched: &mut BTreeSet<ForwardName>) {
        let known = self.namespaces.get(namespace);
        let known = known.and_then(|services| services.as_ref().ok());
        let names: Vec<String> = known
            .into_iter()
            .flat_map(BTreeMap::keys)
            .cloned()
            .collect();
        for name in names {
            self.remove(namespace, &name, touched);
        }
        self.namespaces.remove(namespace);
    }
}

impl Index {
    /// The Services by which clients come.
    #[must_use]
    pub fn entrances(&self) -> &Entrances {
        &self.entrances
    }

    pub(super) fn put_entrances(
        &mut self,
        news: EntranceNews,
        touched: &mut BTreeSet<ForwardName>,
    ) {
        match news {
            EntranceNews::Listed {
                namespace,
                services,
            } => {
                let was_read = matches!(self.entrances.namespaces.get(&namespace), Some(Ok(_)));
                if !was_read {
                    self.entrances.forget(&namespace, touched);
                    let none = Ok(BTreeMap::new());
                    self.entrances.namespaces.insert(namespace.clone(), none);
                    self.pools.touch_users_of(&namespace, touched);
                }
                let kept: BTreeSet<&str> = services.iter().map(|live| live.name.as_str()).collect();
                let known = self.entrances.namespaces.get(&namespace);
                let known = known.into_iter().flatten().flat_map(BTreeMap::keys);
                let gone = known.filter(|name| !kept.contains(name.as_str()));
                let gone: Vec<String> = gone.cloned().collect();
                for name in gone {
                    self.remove_entrance(&namespace, &name, touched);
                }
                for live in services {
                    self.put_entrance(live, touched);
                }
            }
            EntranceNews::Seen(live) => self.put_entrance(live, touched),
            EntranceNews::Gone { namespace, name } => {
                self.remove_entrance(&namespace, &name, touched);
            }
            // What was seen before holds: a right that is lost must not take a listener away.
            EntranceNews::Unseen { namespace, why } => {
                let known = self.entrances.namespaces.get(&namespace);
                if known.is_none_or(|known| known.as_ref().is_err_and(|former| *former != why)) {
                    self.pools.touch_users_of(&namespace, touched);
                    self.entrances.namespaces.insert(namespace, Err(why));
                }
            }
            EntranceNews::Forgotten { namespace } => {
                self.entrances.forget(&namespace, touched);
                self.pools.touch_users_of(&namespace, touched);
            }
        }
    }

    fn put_entrance(&mut self, live: Live, touched: &mut BTreeSet<ForwardName>) {
        let known = self.entrances.find(&live.namespace, &live.name);
        if known != Found::Live(&live) {
            if live.owned.is_none() {
                self.touch_wanting(&live.namespace, &live.name, touched);
            }
            self.entrances.put(live, touched);
        }
    }

    fn remove_entrance(
        &mut self,
        namespace: &str,
        name: &str,
        touched: &mut BTreeSet<ForwardName>,
    ) {
        if let Found::Live(Live { owned: None, .. }) = self.entrances.find(namespace, name) {
            self.touch_wanting(namespace, name, touched);
        }
        self.entrances.remove(namespace, name, touched);
    }

    /// Those that want a Service of that name, which is somebody else's, or was.
    fn touch_wanting(&self, namespace: &str, name: &str, touched: &mut BTreeSet<ForwardName>) {
        let users = self.pools.users_of(namespace);
        let wanting = users.filter(|(pool, forward)| entrance::name(pool, forward) == name);
        touched.extend(wanting.map(|(_, forward)| forward.clone()));
    }
}

fn key(live: &Live) -> Key {
    (live.namespace.clone(), live.name.clone())
}
