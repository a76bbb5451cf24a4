//! Pure. The backends of one target, each in its turn.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::balancer::backend::Backend;

/// Backends by turn: the lowest one is next and goes to the end when it is picked.
#[derive(Debug, Default)]
pub(super) struct Ring {
    by_turn: BTreeMap<u64, Arc<Backend>>,
    next_turn: u64,
}

impl Ring {
    /// Keeps the turns of backends that stay; new ones come at the end, from `seed` on.
    pub(super) fn updated(mut self, usable: Vec<Arc<Backend>>, seed: u64) -> Self {
        let stay: HashSet<*const Backend> = usable.iter().map(Arc::as_ptr).collect();
        self.by_turn.retain(|_, b| stay.contains(&Arc::as_ptr(b)));
        let known: HashSet<*const Backend> = self.by_turn.values().map(Arc::as_ptr).collect();
        let mut new: Vec<Arc<Backend>> = usable
            .into_iter()
            .filter(|b| !known.contains(&Arc::as_ptr(b)))
            .collect();
        let length = u64::try_from(new.len()).unwrap_or(u64::MAX).max(1);
        new.rotate_left(usize::try_from(seed % length).unwrap_or(0));
        for backend in new {
            self.append(backend);
        }
        self
    }

    /// The first one in turn that may be used; it goes to the end.
    pub(super) fn next(&mut self, usable: impl Fn(&Arc<Backend>) -> bool) -> Option<Arc<Backend>> {
        let (&turn, _) = self.by_turn.iter().find(|(_, b)| usable(b))?;
        let backend = self.by_turn.remove(&turn)?;
        self.append(Arc::clone(&backend));
        Some(backend)
    }

    /// Whether one of the ring is such. At most `excluded` of them are not, which bounds the search.
    pub(super) fn any(&self, excluded: usize, is: impl Fn(&Arc<Backend>) -> bool) -> bool {
        self.by_turn.values().take(excluded + 1).any(is)
    }

    fn append(&mut self, backend: Arc<Backend>) {
        self.by_turn.insert(self.next_turn, backend);
        self.next_turn += 1;
    }
}
