//! Edge, of one lock. Statuses that wait to be written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::{StatusPatch, Told};
use crate::crd::TcpForward;

/// Statuses of one kind that wait to be written: one for each object, the latest. So it is never
/// longer than the list of these objects.
#[derive(Debug)]
pub(crate) struct Queue<K: Told = TcpForward> {
    state: Mutex<State<K>>,
    pub(super) filled: Notify,
}

#[derive(Debug)]
struct State<K: Told> {
    waiting: BTreeMap<K::Name, Entry<K>>,
    /// Being written; a newer one waits for its turn.
    busy: BTreeSet<K::Name>,
}

#[derive(Debug)]
struct Entry<K: Told> {
    patch: StatusPatch<K>,
    failures: u32,
    not_before: Option<Instant>,
}

pub(super) enum Next<K: Told> {
    Idle,
    Later(Instant),
    Ready(Box<StatusPatch<K>>, u32),
}

impl<K: Told> Default for Queue<K> {
    fn default() -> Self {
        let state = State {
            waiting: BTreeMap::new(),
            busy: BTreeSet::new(),
        };
        Self {
            state: Mutex::new(state),
            filled: Notify::new(),
        }
    }
}

impl<K: Told> Queue<K> {
    /// Replaces whatever waits for this object; a back-off goes on.
    pub(crate) fn put(&self, patch: StatusPatch<K>) {
        let mut state = self.lock();
        let old = state.waiting.remove(&patch.name);
        let (failures, not_before) = old.map_or((0, None), |old| (old.failures, old.not_before));
        let entry = Entry {
            failures,
            not_before,
            patch,
        };
        state.waiting.insert(entry.patch.name.clone(), entry);
        drop(state);
        self.filled.notify_waiters();
    }

    /// The object is as it should be, or gone.
    pub(crate) fn forget(&self, name: &K::Name) {
        self.lock().waiting.remove(name);
    }

    pub(super) fn next(&self, now: Instant) -> Next<K> {
        let mut state = self.lock();
        let State { waiting, busy } = &mut *state;
        let free = waiting.iter().filter(|(name, _)| !busy.contains(*name));
        let Some((name, entry)) = free.min_by_key(|(_, entry)| entry.not_before) else {
            return Next::Idle;
        };
        if let Some(time) = entry.not_before.filter(|time| *time > now) {
            return Next::Later(time);
        }
        let name = name.clone();
        let Some(entry) = waiting.remove(&name) else {
            return Next::Idle;
        };
        busy.insert(name);
        Next::Ready(Box::new(entry.patch), entry.failures)
    }

    pub(super) fn done(&self, name: &K::Name) {
        self.lock().busy.remove(name);
        self.filled.notify_waiters();
    }

    pub(super) fn again(&self, patch: StatusPatch<K>, failures: u32, not_before: Instant) {
        let mut state = self.lock();
        state.busy.remove(&patch.name);
        let newer = state.waiting.remove(&patch.name).map(|entry| entry.patch);
        let patch = newer.unwrap_or(patch);
        let entry = Entry {
            failures,
            not_before: Some(not_before),
            patch,
        };
        state.waiting.insert(entry.patch.name.clone(), entry);
        drop(state);
        self.filled.notify_waiters();
    }

    /// Nothing that waits counts any more: who has filled it fills it anew.
    pub(crate) fn clear(&self) {
        self.lock().waiting.clear();
    }

    /// What waits, for tests of those who fill it.
    #[cfg(test)]
    pub(crate) fn take_all(&self) -> Vec<StatusPatch<K>> {
        let waiting = std::mem::take(&mut self.lock().waiting);
        waiting.into_values().map(|entry| entry.patch).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
