//! Pure. What data planes are told, by pool.

use std::collections::BTreeMap;
use std::sync::Arc;

use tcpforward_protocol::snapshot::{Settings, Snapshot};

use super::stream::Wanted;

/// What every data plane shall serve, once it is known.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pools: Arc<BTreeMap<String, Wanted>>,
    empty: Wanted,
    zones: Arc<BTreeMap<String, String>>,
}

impl Published {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            pools: Arc::default(),
            empty: Wanted::new(Arc::new(Snapshot::new(settings))),
            zones: Arc::default(),
        }
    }

    /// The same world but for these pools, of which only those with another version count.
    #[must_use]
    pub(crate) fn with_pools(
        &self,
        snapshots: impl IntoIterator<Item = (String, Arc<Snapshot>)>,
    ) -> Self {
        let mut pools = Arc::clone(&self.pools);
        for (pool, snapshot) in snapshots {
            let old = pools.get(&pool);
            // A first set follows nothing: one that is behind would take it for new.
            let wanted = Wanted::new(snapshot);
            let wanted = match old {
                Some(old) => wanted.after(old),
                None => wanted,
            };
            if old.map(|old| old.version) != Some(wanted.version) {
                Arc::make_mut(&mut pools).insert(pool, wanted);
            }
        }
        Self {
            pools,
            ..self.clone()
        }
    }

    /// The same world without these pools.
    #[must_use]
    pub(crate) fn without_pools<'a>(&self, gone: impl IntoIterator<Item = &'a String>) -> Self {
        let mut pools = Arc::clone(&self.pools);
        for pool in gone {
            if pools.contains_key(pool) {
                Arc::make_mut(&mut pools).remove(pool);
            }
        }
        Self {
            pools,
            ..self.clone()
        }
    }

    #[must_use]
    pub(crate) fn with_zones(&self, zones: Arc<BTreeMap<String, String>>) -> Self {
        Self {
            zones,
            ..self.clone()
        }
    }

    /// Whether nothing has changed.
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pools, &other.pools) && Arc::ptr_eq(&self.zones, &other.zones)
    }

    /// Whether a pool has anything to serve.
    pub(super) fn serves(&self, pool: &str) -> bool {
        self.pools.contains_key(pool)
    }

    /// What a pool shall serve, for tests of who says so.
    #[cfg(test)]
    pub(crate) fn snapshot(&self, pool: &str) -> Arc<Snapshot> {
        Arc::clone(&self.of_pool(pool).snapshot)
    }

    /// A pool that nobody has named yet is an empty one.
    pub(super) fn of_pool(&self, pool: &str) -> &Wanted {
        self.pools.get(pool).unwrap_or(&self.empty)
    }

    pub(super) fn zone_of(&self, node: &str) -> &str {
        self.zones.get(node).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::fixtures::{SETTINGS, snapshot};

    fn pools(of: &[(&str, i64)]) -> [(String, Arc<Snapshot>); 2] {
        [
            ("a".to_owned(), snapshot(of)),
            ("b".to_owned(), snapshot(&[("other", 1)])),
        ]
    }

    #[test]
    fn a_first_set_follows_nothing_and_a_later_one_those_before() {
        let none = Published::new(SETTINGS);
        let first = none.with_pools(pools(&[("one", 1)]));
        assert!(!first.of_pool("a").follows(none.empty.version));
        let later = first.with_pools(pools(&[("one", 2)]));
        assert!(later.of_pool("a").follows(first.of_pool("a").version));
    }

    #[test]
    fn a_pool_that_goes_takes_nothing_of_the_others() {
        let first = Published::new(SETTINGS).with_pools(pools(&[("one", 1)]));
        let later = first.with_pools(pools(&[("one", 2)]));
        let left = later.without_pools([&"b".to_owned()]);
        assert!(!left.serves("b") && left.of_pool("b").version == left.empty.version);
        assert!(left.of_pool("a").follows(first.of_pool("a").version));
    }
}
