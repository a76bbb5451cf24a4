//! Pure. All forwards of a pool, cheap to clone and to compare.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Forward, ForwardName, Settings};
use crate::version::{self, Hash, Version};

const BUCKETS: usize = 256;

/// All that the data planes of a pool shall serve. Cheap to clone, and two of them are compared
/// at the cost of what differs: forwards lie in 256 shared buckets by hash of their name.
#[derive(Clone, Debug)]
pub struct Snapshot {
    settings: Settings,
    buckets: Vec<Arc<Bucket>>,
}

type Forwards = BTreeMap<ForwardName, Arc<Forward>>;

#[derive(Clone, Debug)]
struct Bucket {
    forwards: Forwards,
    hash: Hash,
}

impl Snapshot {
    /// A set without forwards.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let hash = version::bucket(std::iter::empty());
        let empty = Arc::new(Bucket {
            forwards: BTreeMap::new(),
            hash,
        });
        Self {
            settings,
            buckets: std::iter::repeat_n(empty, BUCKETS).collect(),
        }
    }

    /// What is the same for all forwards.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The same forwards under other settings.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// The forward of that name.
    #[must_use]
    pub fn find(&self, name: &ForwardName) -> Option<&Arc<Forward>> {
        self.buckets
            .get(version::bucket_of(name))?
            .forwards
            .get(name)
    }

    /// All forwards, in an order that depends on their names only.
    pub fn forwards(&self) -> impl Iterator<Item = &Arc<Forward>> {
        self.buckets
            .iter()
            .flat_map(|bucket| bucket.forwards.values())
    }

    /// Adds a forward or replaces the one of its name.
    pub fn upsert(&mut self, forward: Arc<Forward>) {
        self.change(&forward.name.clone(), |forwards| {
            forwards.insert(forward.name.clone(), forward);
        });
    }

    /// Takes a forward out, if it is there.
    pub fn remove(&mut self, name: &ForwardName) {
        if self.find(name).is_some() {
            self.change(name, |forwards| {
                forwards.remove(name);
            });
        }
    }

    fn change(&mut self, name: &ForwardName, edit: impl FnOnce(&mut Forwards)) {
        if let Some(shared) = self.buckets.get_mut(version::bucket_of(name)) {
            let bucket = Arc::make_mut(shared);
            edit(&mut bucket.forwards);
            bucket.hash = version::bucket(bucket.forwards.values().map(|f| (&f.name, f.hash)));
        }
    }

    /// The name of this content: equal on every replica that sees the same world.
    #[must_use]
    pub fn version(&self) -> Version {
        version::of_buckets(
            &self.settings,
            self.buckets.iter().map(|bucket| bucket.hash),
        )
    }

    /// The forwards of `older` and of this, of each bucket that differs.
    pub(crate) fn changed_buckets<'a>(
        &'a self,
        older: &'a Self,
    ) -> impl Iterator<Item = (&'a Forwards, &'a Forwards)> {
        self.buckets
            .iter()
            .zip(&older.buckets)
            .filter(|(new, old)| new.hash != old.hash)
            .map(|(new, old)| (&old.forwards, &new.forwards))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{LocalTargets, Protected};
    use crate::wire::tests::forward;

    #[test]
    fn the_order_of_changes_does_not_change_the_version() {
        let settings = Settings::new(LocalTargets::Refuse);
        let mut one = Snapshot::new(settings.clone());
        let mut two = Snapshot::new(settings);
        for i in 0..600 {
            one.upsert(Arc::new(forward(&format!("n/f{i}"), 1)));
            two.upsert(Arc::new(forward(&format!("n/f{}", 599 - i), 1)));
        }
        two.upsert(Arc::new(forward("n/extra", 1)));
        assert_ne!(one.version(), two.version());
        two.remove(&ForwardName::new("n", "extra"));
        assert_eq!(one.version(), two.version());
    }

    #[test]
    fn other_networks_make_another_version_of_the_same_forwards() {
        let mut set = Snapshot::new(Settings::new(LocalTargets::Refuse));
        set.upsert(Arc::new(forward("n/f", 1)));
        let before = set.clone();
        let protected = Protected::new(["10.96.0.0/16".parse().unwrap()]);
        set.set_settings(Settings {
            protected,
            ..before.settings().clone()
        });
        assert_ne!(set.version(), before.version());
        assert_eq!(set.changed_buckets(&before).count(), 0);
    }
}
