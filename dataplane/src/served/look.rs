//! Pure. What pages and metrics may see of a forward in service.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Instant;

use tcpforward_protocol::snapshot::Target;

use crate::balancer::account::Account;
use crate::hosts::found::Found;
use crate::limits::InUse;
use crate::relay::ending::Ending;
use crate::served::Served;
use crate::sessions::Doomed;

impl Served {
    /// What the name of each target that has one leads to, in the order of the targets.
    #[must_use]
    pub fn hosts(&self) -> Vec<(Target, Option<Found>)> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let active = self.active();
        let settings = &active.terms.settings;
        let targets = given.forward.spec.relay.targets.iter();
        let named = targets.filter(|target| target.host.is_some());
        let found = |target| Some(given.hosts.of(target)?.permitted(settings));
        named
            .map(|target| (target.clone(), found(target)))
            .collect()
    }

    /// All backends as the balancer sees them, in the order of target and address.
    #[must_use]
    pub fn accounts(&self, now: Instant) -> Vec<Account> {
        self.balancing().accounts(now)
    }

    /// Each priority, and its part of all new sessions, from 0 to 1; a CONNECT proxy has none.
    #[must_use]
    pub fn priorities(&self) -> Vec<(u32, f64)> {
        self.balancing().priorities()
    }

    /// The limits of the listener that are in force here, and how far they are used.
    #[must_use]
    pub fn limits(&self) -> InUse {
        let limits = self.limits.lock();
        limits.unwrap_or_else(PoisonError::into_inner).in_use()
    }

    /// Sessions that a backend may have here; absent: there is no limit.
    #[must_use]
    pub fn backend_limit(&self) -> Option<u32> {
        let active = self.active();
        let limits = active.forward.spec.relay.backend_limits?;
        Some(active.terms.place.share().part(limits.connections.get()))
    }

    /// Sessions that will be closed, by the word for it.
    #[must_use]
    pub fn doomed(&self, now: Instant) -> BTreeMap<Ending, Doomed> {
        self.sessions.doomed(&self.active().forward, now)
    }
}
