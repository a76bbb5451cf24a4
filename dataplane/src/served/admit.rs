//! Pure. Who is let in before anything is dialled, and who may stay where it has come to.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::balancer::backend::Backend;
use crate::limits::Refused;
use crate::served::{Active, Served};
use crate::sessions::Ticket;

/// A session that counts against the limits of its forward as long as this lives.
#[derive(Debug)]
pub struct Admitted {
    served: Arc<Served>,
    source: IpAddr,
}

impl Served {
    /// Lets a session in that comes from there.
    ///
    /// # Errors
    /// Why not; then it counts for nothing.
    pub fn admit(
        self: &Arc<Self>,
        active: &Active,
        source: IpAddr,
        now: Instant,
    ) -> Result<Admitted, Refused> {
        let source = source.to_canonical();
        if !active.forward.spec.listener.allows(source) {
            return Err(Refused::SourceNotAllowed);
        }
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.admit(source, now)?;
        Ok(Admitted {
            served: Arc::clone(self),
            source,
        })
    }

    /// A session has reached that backend, which was picked then. If it must not be dialled any more,
    /// that became known during the dial, when nobody saw the session there.
    pub fn reached(&self, ticket: &Ticket, backend: &Arc<Backend>, picked: Instant) {
        ticket.on(backend, picked);
        if !self.active().may_dial(backend) {
            self.sessions.rights_changed();
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let limits = self.served.limits.lock();
        limits
            .unwrap_or_else(PoisonError::into_inner)
            .leave(self.source);
    }
}
