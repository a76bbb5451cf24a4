//! Pure. What pages and metrics may see of a forward in service.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Instant;

use crate::balancer::account::Account;
use crate::limits::InUse;
use crate::relay::ending::Ending;
use crate::served::Served;
use crate::sessions::Doomed;

impl Served {
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
