//! Pure. Which forwards name an object, whether or not it exists.

use std::collections::{BTreeMap, BTreeSet};

use tcpforward_protocol::snapshot::ForwardName;

use super::Key;

/// Forwards by what they name.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses(BTreeMap<Key, BTreeSet<ForwardName>>);

impl Uses {
    /// What is named by anyone.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.keys()
    }

    pub(super) fn of(&self, key: &Key) -> impl Iterator<Item = &ForwardName> {
        self.0.get(key).into_iter().flatten()
    }

    pub(super) fn add(&mut self, name: &ForwardName, keys: impl Iterator<Item = Key>) {
        for key in keys {
            self.0.entry(key).or_default().insert(name.clone());
        }
    }

    pub(super) fn remove(&mut self, name: &ForwardName, keys: impl Iterator<Item = Key>) {
        for key in keys {
            if let Some(names) = self.0.get_mut(&key) {
                names.remove(name);
                if names.is_empty() {
                    self.0.remove(&key);
                }
            }
        }
    }
}
