//! Pure. From outcomes to what the snapshots of pools hold.

use std::sync::Arc;

use tcpforward_protocol::snapshot::{ForwardName, Snapshot};

use super::{Compiler, Outcome};
use crate::index::Index;

impl Compiler {
    /// Keeps an outcome and puts its forward where it belongs; names the pools that changed.
    pub(super) fn publish(
        &mut self,
        index: &Index,
        name: &ForwardName,
        outcome: Option<Outcome>,
    ) -> Vec<String> {
        let wanted = outcome.as_ref().and_then(Outcome::serving);
        match outcome {
            Some(outcome) => self.outcomes.insert(name.clone(), outcome),
            None => self.outcomes.remove(name),
        };
        let former = self.shown.remove(name).unwrap_or_default();
        let next = self.holding.settle(index, name, &former, wanted);
        let mut pools = Vec::new();
        for pool in former.keys().filter(|pool| !next.contains_key(*pool)) {
            let left = self.edit(index, pool);
            left.remove(name);
            // Without forwards a pool is what it would be had no forward ever named it.
            if left.forwards().next().is_none() {
                self.snapshots.remove(pool);
            }
            pools.push(pool.clone());
        }
        for (pool, forward) in &next {
            if former.get(pool).is_none_or(|old| old.hash != forward.hash) {
                self.edit(index, pool).upsert(Arc::clone(forward));
                pools.push(pool.clone());
            }
        }
        if !next.is_empty() {
            self.shown.insert(name.clone(), next);
        }
        pools
    }

    fn edit(&mut self, index: &Index, pool: &str) -> &mut Snapshot {
        let settings = || self.rules.place.settings(index, pool);
        let shared = self.snapshots.entry(pool.to_owned());
        Arc::make_mut(shared.or_insert_with(|| Arc::new(Snapshot::new(settings()))))
    }
}
