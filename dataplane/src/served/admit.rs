//! Pure. Who is let in, before anything is dialled.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::limits::Refused;
use crate::served::{Active, Served};

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
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let limits = self.served.limits.lock();
        limits
            .unwrap_or_else(PoisonError::into_inner)
            .leave(self.source);
    }
}
