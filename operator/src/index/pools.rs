//! Pure. What is known of pools, and of the namespaces whose forwards they serve.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tcpforward_protocol::snapshot::ForwardName;

use super::same;
use crate::crd::DataPlaneStatus;
use crate::forward::Rejection;
use crate::pool::{self, Labels, Namespaces, Pool};

/// A DataPlane as it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownPool {
    /// As it was written.
    pub raw: Value,
    /// What it says.
    pub pool: Result<Pool, Rejection>,
    /// `metadata.creationTimestamp`, whose text sorts like its time; none for a manifest on disk.
    pub created: Option<String>,
}

/// All pools, and the labels of namespaces.
#[derive(Clone, Debug, Default)]
pub struct Pools {
    known: BTreeMap<String, KnownPool>,
    namespaces: BTreeMap<String, Labels>,
    /// Forwards by the pool that they name, whether or not it exists.
    users: BTreeMap<String, BTreeSet<ForwardName>>,
}

impl Pools {
    /// A DataPlane.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&KnownPool> {
        self.known.get(name)
    }

    /// All DataPlanes by name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &KnownPool)> {
        self.known.iter()
    }

    /// Labels of a namespace.
    #[must_use]
    pub fn labels(&self, namespace: &str) -> Option<&Labels> {
        self.namespaces.get(namespace)
    }

    /// Valid pools, the one first that was there first.
    pub fn oldest_first(&self) -> impl Iterator<Item = (&str, &Pool)> {
        let valid = self.known.iter().filter_map(|(name, known)| {
            let pool = known.pool.as_ref().ok()?;
            Some((&known.created, name, pool))
        });
        let mut valid: Vec<_> = valid.collect();
        valid.sort_by_key(|(created, name, _)| (*created, *name));
        valid
            .into_iter()
            .map(|(_, name, pool)| (name.as_str(), pool))
    }

    /// The older pool that has the ServiceAccount of this one, if another one has.
    #[must_use]
    pub fn account_holder(&self, name: &str) -> Option<&str> {
        let account = &self.known.get(name)?.pool.as_ref().ok()?.account;
        let mut holders = self.oldest_first();
        let (holder, _) = holders.find(|(_, pool)| pool.account == *account)?;
        (holder != name).then_some(holder)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.known.keys()
    }

    pub(super) fn namespaces(&self) -> impl Iterator<Item = &String> {
        self.namespaces.keys()
    }

    /// A status alone touches no forward.
    pub(super) fn put(&mut self, raw: Value, touched: &mut BTreeSet<ForwardName>) {
        let name = pool::name(&raw).to_owned();
        let created = raw.pointer("/metadata/creationTimestamp");
        let created = created.and_then(Value::as_str).map(str::to_owned);
        if let Some(known) = self.known.get_mut(&name)
            && known.created == created
            && same::but_for_status(&known.raw, &raw)
        {
            known.raw = raw;
            return;
        }
        let pool = pool::parse(&raw);
        self.touch_users(&name, touched);
        let known = KnownPool { raw, pool, created };
        self.known.insert(name, known);
    }

    pub(super) fn remove(&mut self, name: &str, touched: &mut BTreeSet<ForwardName>) {
        if self.known.remove(name).is_some() {
            self.touch_users(name, touched);
        }
    }

    /// `None`: it is gone.
    pub(super) fn put_namespace(
        &mut self,
        name: &str,
        labels: Option<Labels>,
        touched: &mut BTreeSet<ForwardName>,
    ) {
        let former = match labels.clone() {
            Some(labels) => self.namespaces.insert(name.to_owned(), labels),
            None => self.namespaces.remove(name),
        };
        if former == labels {
            return;
        }
        let selecting = self.known.iter().filter(|(_, known)| {
            let pool = known.pool.as_ref().ok();
            pool.is_some_and(|pool| pool.namespaces != Namespaces::All)
        });
        for users in selecting.filter_map(|(pool, _)| self.users.get(pool)) {
            let there = users.iter().filter(|user| user.namespace() == name);
            touched.extend(there.cloned());
        }
    }

    pub(super) fn add_user(&mut self, pool: &str, forward: &ForwardName) {
        let users = self.users.entry(pool.to_owned()).or_default();
        users.insert(forward.clone());
    }

    pub(super) fn remove_user(&mut self, pool: &str, forward: &ForwardName) {
        if let Some(users) = self.users.get_mut(pool) {
            users.remove(forward);
            if users.is_empty() {
                self.users.remove(pool);
            }
        }
    }

    /// The namespaces of pools' pods.
    #[must_use]
    pub fn pod_namespaces(&self) -> BTreeSet<String> {
        let pools = self.oldest_first();
        pools
            .map(|(_, pool)| pool.account.namespace.clone())
            .collect()
    }

    /// Forwards of the pools whose pods are in a namespace, each with its pool.
    pub(super) fn users_of(&self, namespace: &str) -> impl Iterator<Item = (&str, &ForwardName)> {
        let there = self.known.iter().filter(move |(_, known)| {
            let pool = known.pool.as_ref().ok();
            pool.is_some_and(|pool| pool.account.namespace == namespace)
        });
        there.flat_map(|(pool, _)| {
            let users = self.users.get(pool).into_iter().flatten();
            users.map(move |user| (pool.as_str(), user))
        })
    }

    pub(super) fn touch_users_of(&self, namespace: &str, touched: &mut BTreeSet<ForwardName>) {
        touched.extend(self.users_of(namespace).map(|(_, user)| user.clone()));
    }

    fn touch_users(&self, pool: &str, touched: &mut BTreeSet<ForwardName>) {
        touched.extend(self.users.get(pool).into_iter().flatten().cloned());
    }
}

impl KnownPool {
    /// The status that it has at present, if it can be read.
    #[must_use]
    pub fn status(&self) -> Option<DataPlaneStatus> {
        use serde::Deserialize;
        DataPlaneStatus::deserialize(self.raw.get("status")?).ok()
    }
}
