//! Pure. Which ServiceAccount may be a data plane, of which pool, and where.

use std::collections::{BTreeMap, BTreeSet};

use crate::pool::ServiceAccount;

/// The pool of each ServiceAccount that may be a data plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Before that nobody is known.
    pub(crate) known: bool,
    /// By the name that the API server gives a ServiceAccount as a user.
    pools: BTreeMap<String, String>,
    places: BTreeMap<String, String>,
}

impl Accounts {
    /// Those of all pools. A ServiceAccount belongs to the first that names it: a pod of it could
    /// choose otherwise.
    #[must_use]
    pub fn of<'a>(pools: impl IntoIterator<Item = (&'a str, &'a ServiceAccount)>) -> Self {
        let mut accounts = Self {
            known: true,
            ..Self::default()
        };
        for (pool, ServiceAccount { namespace, name }) in pools {
            let user = format!("system:serviceaccount:{namespace}:{name}");
            let owner = accounts.pools.entry(user);
            owner.or_insert_with(|| pool.to_owned());
            let places = &mut accounts.places;
            places.insert(pool.to_owned(), namespace.clone());
        }
        accounts
    }

    /// The pool of a user of the API server.
    pub(crate) fn pool(&self, user: &str) -> Option<&str> {
        self.pools.get(user).map(String::as_str)
    }

    /// Where data planes run.
    pub(crate) fn namespaces(&self) -> BTreeSet<&str> {
        self.places.values().map(String::as_str).collect()
    }

    /// All pools, each with the namespace of its pods.
    pub(crate) fn places(&self) -> &BTreeMap<String, String> {
        &self.places
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Pools with a ServiceAccount each, as `(pool, namespace, name)`.
    pub(crate) fn accounts(pools: &[(&str, &str, &str)]) -> Accounts {
        let account = |(pool, namespace, name): &(&str, &str, &str)| {
            let (namespace, name) = ((*namespace).to_owned(), (*name).to_owned());
            ((*pool).to_owned(), ServiceAccount { namespace, name })
        };
        let all: Vec<_> = pools.iter().map(account).collect();
        Accounts::of(all.iter().map(|(pool, account)| (pool.as_str(), account)))
    }

    #[test]
    fn a_service_account_has_one_pool_the_first_that_names_it() {
        let all = accounts(&[
            ("default", "a", "tcpforward"),
            ("edge", "b", "tcpforward"),
            ("other", "b", "tcpforward"),
        ]);
        let pool = |user: &str| all.pool(user).map(ToOwned::to_owned);
        let user = |namespace: &str| format!("system:serviceaccount:{namespace}:tcpforward");
        assert_eq!(pool(&user("a")).as_deref(), Some("default"));
        assert_eq!(pool(&user("b")).as_deref(), Some("edge"));
        assert_eq!(pool("system:serviceaccount:b:default"), None);
        assert_eq!(all.namespaces(), BTreeSet::from(["a", "b"]));
        let places = all.places().iter();
        let places: Vec<_> = places.map(|(p, n)| (p.as_str(), n.as_str())).collect();
        assert_eq!(places, [("default", "a"), ("edge", "b"), ("other", "b")]);
    }
}
