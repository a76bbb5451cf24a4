//! Pure. The entries of one kind of all rules: which rules hold for one of them.

use std::collections::HashMap;
use std::hash::Hash;

use crate::connect::policy::RuleId;
use crate::connect::policy::rule_set::RuleSet;

/// Of a kind whose entries are equal or not.
#[derive(Debug)]
pub(super) struct Entries<K> {
    /// Rules without entries of this kind.
    always: RuleSet,
    rules: HashMap<K, RuleSet>,
}

impl<K> Default for Entries<K> {
    fn default() -> Self {
        Self {
            always: RuleSet::default(),
            rules: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Entries<K> {
    pub(super) fn add(&mut self, id: RuleId, entries: &[K]) {
        if entries.is_empty() {
            self.always.insert(id);
        }
        for entry in entries {
            self.rules.entry(entry.clone()).or_default().insert(id);
        }
    }

    /// No rule has any.
    pub(super) fn has_none(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules that hold for it; absent: those without entries.
    pub(super) fn of(&self, entry: Option<&K>) -> RuleSet {
        let named = entry.and_then(|entry| self.rules.get(entry));
        self.always.or(named.copied().unwrap_or_default())
    }
}
