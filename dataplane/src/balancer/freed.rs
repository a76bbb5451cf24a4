//! Pure. How the balancer learns that a full backend has room, without asking each of them.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::balancer::backend::Backend;

/// Backends that were full and have room again.
#[derive(Debug, Default)]
pub(super) struct Freed(Mutex<Vec<Weak<Backend>>>);

impl Freed {
    /// Each of them once.
    pub(super) fn take(&self) -> Vec<Weak<Backend>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn add(&self, backend: &Arc<Backend>) {
        let mut freed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        freed.push(Arc::downgrade(backend));
    }
}
