//! Pure. Which ServiceAccount may be a data plane, and of which pool.

use std::collections::{BTreeMap, BTreeSet};

use crate::validate::metadata::{is_label, is_word};

/// The pool of each ServiceAccount that may be a data plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// By the name that the API server gives a ServiceAccount as a user.
    pools: BTreeMap<String, String>,
    namespaces: BTreeSet<String>,
}

/// One entry, as in `edge=proxies/tcpforward`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pool: String,
    namespace: String,
    name: String,
}

impl Entry {
    /// Reads `[POOL=]NAMESPACE/NAME`; without a pool it is `default`.
    ///
    /// # Errors
    /// What is expected.
    pub fn read(text: &str) -> Result<Self, String> {
        let (pool, account) = text.split_once('=').unwrap_or(("default", text));
        let (namespace, name) = account.split_once('/').unwrap_or_default();
        let is_name = name.len() <= 253 && name.split('.').all(is_word);
        if is_label(pool) && is_label(namespace) && is_name {
            return Ok(Self {
                pool: pool.to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            });
        }
        Err("expected NAMESPACE/NAME of a ServiceAccount, or POOL=NAMESPACE/NAME".to_owned())
    }
}

impl Accounts {
    /// All entries together.
    ///
    /// # Errors
    /// The ServiceAccount that has two pools: a pod of it could choose.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Result<Self, String> {
        let mut accounts = Self::default();
        for Entry {
            pool,
            namespace,
            name,
        } in entries
        {
            let user = format!("system:serviceaccount:{namespace}:{name}");
            let other = accounts.pools.insert(user, pool.clone());
            if other.is_some_and(|other| other != pool) {
                return Err(format!("{namespace}/{name}"));
            }
            accounts.namespaces.insert(namespace);
        }
        Ok(accounts)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    /// The pool of a user of the API server.
    pub(crate) fn pool(&self, user: &str) -> Option<&str> {
        self.pools.get(user).map(String::as_str)
    }

    /// Where data planes run.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.namespaces.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(texts: &[&str]) -> Result<Accounts, String> {
        Accounts::new(texts.iter().map(|text| Entry::read(text).unwrap()))
    }

    #[test]
    fn a_service_account_has_one_pool() {
        let both = accounts(&["a/tcpforward", "edge=b/tcpforward", "edge=b/tcpforward"]).unwrap();
        assert_eq!(
            both.pool("system:serviceaccount:a:tcpforward"),
            Some("default")
        );
        assert_eq!(
            both.pool("system:serviceaccount:b:tcpforward"),
            Some("edge")
        );
        assert_eq!(both.pool("system:serviceaccount:b:default"), None);
        assert_eq!(both.namespaces().collect::<Vec<_>>(), ["a", "b"]);
        let twice = accounts(&["a/x", "edge=a/x"]).unwrap_err();
        assert_eq!(twice, "a/x");
    }

    #[test]
    fn what_is_no_service_account_is_refused() {
        for text in [
            "", "x", "a/", "/x", "a/b/c", "=a/b", "P=a/b", "a/b:c", "p=a=b/c",
        ] {
            assert!(Entry::read(text).is_err(), "{text}");
        }
    }
}
