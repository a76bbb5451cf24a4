//! Edge. What the push and the gate are told.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Controller;
use crate::identity::accounts::Accounts;
use crate::push::Published;

impl Controller {
    /// What to publish when these pools are other ones. One without forwards goes: else pools that
    /// were named once, perhaps by mistake, would be held for ever.
    pub(super) fn with_pools(&self, changed: &BTreeSet<String>) -> Published {
        let all = self.compiler.snapshots();
        let there = |pool: &String| Some((pool.clone(), Arc::clone(all.get(pool)?)));
        let gone = changed.iter().filter(|pool| !all.contains_key(*pool));
        let left = self.published.without_pools(gone);
        left.with_pools(changed.iter().filter_map(there))
    }

    /// What pools shall serve goes before who they are: of one that is gone its pods have to hear that
    /// there is nothing to serve.
    pub(super) fn publish(&self) {
        self.outputs.published.send_if_modified(|published| {
            let changed = published
                .as_ref()
                .is_none_or(|old| !old.same(&self.published));
            if changed {
                *published = Some(self.published.clone());
            }
            changed
        });
        let pools = self.index.pools().oldest_first();
        let accounts = Accounts::of(pools.map(|(name, pool)| (name, &pool.account)));
        self.outputs.accounts.send_if_modified(|known| {
            let changed = *known != accounts;
            *known = accounts;
            changed
        });
    }
}
