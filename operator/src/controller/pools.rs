//! Edge. What each DataPlane looks like now, for its status. There are few of them, so all are looked
//! at in every pass.

use k8s_openapi::jiff::Timestamp;

use super::statuses::Current;
use super::{Controller, Holds};
use crate::index::KnownPool;
use crate::lease::now;
use crate::status::{self, Gathering};

impl Controller {
    pub(super) fn look_at_pools(&mut self) {
        let gathering = match self.grace {
            Some(_) => Gathering::Waiting,
            None => Gathering::Done,
        };
        let (now, wall) = (now(), Timestamp::now());
        let Some(statuses) = &mut self.pool_statuses else {
            return;
        };
        let pools = self.index.pools();
        let ours = |known: &KnownPool| self.share.has_pool(&known.raw);
        statuses.keep(|name| pools.get(name).is_some_and(ours));
        for (name, known) in pools.iter().filter(|(_, known)| ours(known)) {
            let current = Current::of(&known.raw, known.status());
            let previous = statuses.previous(name, &current);
            let missed = |uid: &str| self.roll.missed(name, uid);
            let mut present = self.roster.present(name);
            self.roll.strike_off(&mut present, &self.roster, name);
            let view = status::PoolPods::of(present, self.roll.of(name), missed, gathering);
            let holder = pools.account_holder(name);
            let next = status::of_pool(known, holder, &view, previous.as_ref(), wall);
            if self.holds == Holds::Yes {
                statuses.offer(name, current, &next, now);
            }
        }
    }
}
