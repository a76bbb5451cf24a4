//! Edge, of one lock. What waits to be written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, watch};

use super::{StatusPatch, Work};
use crate::crd::TcpForward;

/// Writes of one kind that wait: one for each object, the latest. So it is never longer than the list
/// of these objects.
#[derive(Debug)]
pub(crate) struct Queue<W: Work = StatusPatch<TcpForward>> {
    state: Mutex<State<W>>,
    pub(super) filled: Notify,
    /// What the API server says against a write, as long as that is tried.
    troubles: watch::Sender<BTreeMap<W::Name, String>>,
}

#[derive(Debug)]
struct State<W: Work> {
    waiting: BTreeMap<W::Name, Entry<W>>,
    /// Being written; a newer one waits for its turn.
    busy: BTreeSet<W::Name>,
}

#[derive(Debug)]
struct Entry<W> {
    patch: W,
    failures: u32,
    not_before: Option<Instant>,
}

pub(super) enum Next<W> {
    Idle,
    Later(Instant),
    Ready(Box<W>, u32),
}

impl<W: Work> Default for Queue<W> {
    fn default() -> Self {
        let state = State {
            waiting: BTreeMap::new(),
            busy: BTreeSet::new(),
        };
        Self {
            state: Mutex::new(state),
            filled: Notify::new(),
            troubles: watch::channel(BTreeMap::new()).0,
        }
    }
}

impl<W: Work> Queue<W> {
    /// Replaces whatever waits for this object; a back-off goes on, unless it is another kind of write.
    pub(crate) fn put(&self, patch: W) {
        let mut state = self.lock();
        let old = state.waiting.remove(patch.name());
        let old = old.filter(|old| patch.goes_on(&old.patch));
        let (failures, not_before) = old.map_or((0, None), |old| (old.failures, old.not_before));
        let entry = Entry {
            failures,
            not_before,
            patch,
        };
        state.waiting.insert(entry.patch.name().clone(), entry);
        drop(state);
        self.filled.notify_waiters();
    }

    /// The object is as it should be, or gone.
    pub(crate) fn forget(&self, name: &W::Name) {
        self.lock().waiting.remove(name);
        self.settle(name);
    }

    /// What the API server says against writes that are tried again.
    pub(crate) fn troubles(&self) -> watch::Receiver<BTreeMap<W::Name, String>> {
        self.troubles.subscribe()
    }

    pub(crate) fn complain(&self, name: &W::Name, why: String) {
        self.troubles.send_if_modified(|troubles| {
            let former = troubles.insert(name.clone(), why.clone());
            former.as_ref() != Some(&why)
        });
    }

    fn settle(&self, name: &W::Name) {
        self.troubles
            .send_if_modified(|troubles| troubles.remove(name).is_some());
    }

    pub(super) fn next(&self, now: Instant) -> Next<W> {
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

    pub(super) fn done(&self, name: &W::Name) {
        self.lock().busy.remove(name);
        self.settle(name);
        self.filled.notify_waiters();
    }

    pub(super) fn again(&self, patch: W, failures: u32, not_before: Instant) {
        let mut state = self.lock();
        state.busy.remove(patch.name());
        let newer = state.waiting.remove(patch.name()).map(|entry| entry.patch);
        let waits = newer.as_ref().is_none_or(|newer| newer.goes_on(&patch));
        let entry = Entry {
            failures: if waits { failures } else { 0 },
            not_before: waits.then_some(not_before),
            patch: newer.unwrap_or(patch),
        };
        state.waiting.insert(entry.patch.name().clone(), entry);
        drop(state);
        self.filled.notify_waiters();
    }

    /// Nothing that waits counts any more: who has filled it fills it anew.
    pub(crate) fn clear(&self) {
        self.lock().waiting.clear();
        self.troubles.send_if_modified(|troubles| {
            let are_some = !troubles.is_empty();
            troubles.clear();
            are_some
        });
    }

    /// What waits, for tests of those who fill it.
    #[cfg(test)]
    pub(crate) fn take_all(&self) -> Vec<W> {
        let waiting = std::mem::take(&mut self.lock().waiting);
        waiting.into_values().map(|entry| entry.patch).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
