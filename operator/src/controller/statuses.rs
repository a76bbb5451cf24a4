//! Edge. Which statuses are to be written, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::crd::TcpForward;
use crate::patch::{Queue, StatusPatch, Told};
use crate::status::Difference;

/// Counts alone change all the time; nobody needs them more often.
const COUNTS_EVERY: Duration = Duration::from_secs(10);

/// The statuses of one kind on their way to the API server.
#[derive(Debug)]
pub(super) struct Statuses<K: Told = TcpForward> {
    queue: Arc<Queue<StatusPatch<K>>>,
    /// What was handed over, by the object's version then: the watch needs a moment to show it.
    assumed: BTreeMap<K::Name, Assumed<K>>,
    /// When counts that have changed are to be written.
    due: BTreeMap<K::Name, Instant>,
    written: BTreeMap<K::Name, Instant>,
}

#[derive(Debug)]
struct Assumed<K: Told> {
    resource_version: String,
    status: K::Status,
}

/// The object as the watch has shown it last.
#[derive(Clone, Debug)]
pub(super) struct Current<K: Told = TcpForward> {
    pub(super) resource_version: String,
    pub(super) uid: String,
    pub(super) status: Option<K::Status>,
}

impl<K: Told> Current<K> {
    /// Of an object as it was written.
    pub(super) fn of(raw: &Value, status: Option<K::Status>) -> Self {
        let text = |field: &str| {
            let value = raw.get("metadata").and_then(|metadata| metadata.get(field));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Self {
            resource_version: text("resourceVersion"),
            uid: text("uid"),
            status,
        }
    }
}

impl<K: Told> Statuses<K> {
    pub(super) fn new(queue: Arc<Queue<StatusPatch<K>>>) -> Self {
        Self {
            queue,
            assumed: BTreeMap::new(),
            due: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }

    /// What the object's status is, or will be once our latest write has arrived.
    pub(super) fn previous(&self, name: &K::Name, current: &Current<K>) -> Option<K::Status> {
        match self.assumed.get(name) {
            Some(assumed) if assumed.resource_version == current.resource_version => {
                Some(assumed.status.clone())
            }
            _ => current.status.clone(),
        }
    }

    /// Hands a status over if it says something new and its time has come.
    pub(super) fn offer(
        &mut self,
        name: &K::Name,
        current: Current<K>,
        next: &K::Status,
        now: Instant,
    ) {
        let previous = self.previous(name, &current);
        match K::difference(previous.as_ref(), next) {
            Difference::Nothing => {
                self.due.remove(name);
                return;
            }
            Difference::Counts => {
                let allowed = self.written.get(name).map(|at| *at + COUNTS_EVERY);
                if let Some(allowed) = allowed.filter(|allowed| now < *allowed) {
                    self.due.insert(name.clone(), allowed);
                    return;
                }
            }
            Difference::Transition => {}
        }
        self.due.remove(name);
        self.written.insert(name.clone(), now);
        self.queue.put(StatusPatch {
            // The write is refused unless this is what it replaces.
            news: K::news(current.status.as_ref(), next),
            name: name.clone(),
            resource_version: current.resource_version.clone(),
            uid: current.uid,
            status: next.clone(),
        });
        let assumed = Assumed {
            resource_version: current.resource_version,
            status: next.clone(),
        };
        self.assumed.insert(name.clone(), assumed);
    }

    /// The object is gone.
    pub(super) fn forget(&mut self, name: &K::Name) {
        self.assumed.remove(name);
        self.due.remove(name);
        self.written.remove(name);
        self.queue.forget(name);
    }

    /// Objects that are gone.
    pub(super) fn keep(&mut self, is_there: impl Fn(&K::Name) -> bool) {
        let known = self.assumed.keys().chain(self.due.keys());
        let known = known.chain(self.written.keys());
        let gone: BTreeSet<K::Name> = known.filter(|name| !is_there(name)).cloned().collect();
        gone.iter().for_each(|name| self.forget(name));
    }

    /// Another replica may have written meanwhile: nothing is assumed any more, and what still
    /// waits is of then.
    pub(super) fn start_over(&mut self) {
        self.assumed.clear();
        self.queue.clear();
    }

    /// Those whose counts may be written now.
    pub(super) fn take_due(&mut self, now: Instant) -> BTreeSet<K::Name> {
        let ready = self.due.iter().filter(|(_, at)| **at <= now);
        let ready: BTreeSet<_> = ready.map(|(name, _)| name.clone()).collect();
        self.due.retain(|name, _| !ready.contains(name));
        ready
    }
}
