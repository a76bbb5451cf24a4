//! Edge. Writes of Services that were asked for, and what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcpforward_protocol::snapshot::ForwardName;
use tokio::sync::watch;

use crate::entrance::Deed;
use crate::patch::{Queue, ServiceName, ServiceWrite};

/// A write that the watch shows nothing of is asked for again after this long.
const PATIENCE: Duration = Duration::from_secs(5);

/// The Services on their way to the API server.
#[derive(Debug)]
pub(super) struct Doors {
    queue: Arc<Queue<ServiceWrite>>,
    troubles: watch::Receiver<BTreeMap<ServiceName, String>>,
    /// What was asked for and is not seen yet.
    asked: BTreeMap<ServiceName, Asked>,
}

#[derive(Debug)]
pub(super) struct Asked {
    pub(super) forward: ForwardName,
    pub(super) pool: String,
    /// Of the state that it was asked of.
    pub(super) version: Option<String>,
    pub(super) word: &'static str,
    /// Ports of pods that it is to get.
    pub(super) ports: Option<(u16, u16)>,
    pub(super) at: Instant,
}

impl Doors {
    pub(super) fn new(queue: Arc<Queue<ServiceWrite>>) -> Self {
        Self {
            troubles: queue.troubles(),
            queue,
            asked: BTreeMap::new(),
        }
    }

    /// Another replica may have written meanwhile.
    pub(super) fn start_over(&mut self) {
        self.asked.clear();
        self.queue.clear();
    }

    /// Forwards whose Service is to be looked at again.
    pub(super) fn due(&self, now: Instant) -> BTreeSet<ForwardName> {
        let late = self
            .asked
            .values()
            .filter(|asked| now >= asked.at + PATIENCE);
        late.map(|asked| asked.forward.clone()).collect()
    }

    /// The Services that the API server says something against.
    pub(super) fn troubles(&self) -> watch::Receiver<BTreeMap<ServiceName, String>> {
        self.troubles.clone()
    }

    /// The same, if that has changed since it was asked last.
    pub(super) fn new_troubles(&mut self) -> Option<BTreeSet<ServiceName>> {
        let has_changed = self.troubles.has_changed().unwrap_or_default();
        has_changed.then(|| self.troubles.borrow_and_update().keys().cloned().collect())
    }

    /// What the API server says against a Service.
    pub(super) fn trouble(&self, name: &ServiceName) -> Option<String> {
        self.troubles.borrow().get(name).cloned()
    }

    /// Ports of a pool's pods that are promised and not seen yet, but to that one.
    pub(super) fn promised<'a>(
        &'a self,
        pool: &'a str,
        but: &'a ServiceName,
    ) -> impl Iterator<Item = u16> + 'a {
        let others = self.asked.iter();
        let others = others.filter(move |(name, asked)| asked.pool == pool && *name != but);
        others
            .filter_map(|(_, asked)| asked.ports)
            .flat_map(|(first, count)| first..first.saturating_add(count))
    }

    pub(super) fn ask(&mut self, name: ServiceName, deed: Deed, asked: Asked) {
        let is_asked = self.asked.get(&name).is_some_and(|former| {
            former.version == asked.version
                && former.word == asked.word
                && asked.at < former.at + PATIENCE
        });
        if !is_asked {
            let write = ServiceWrite {
                name: name.clone(),
                deed,
            };
            self.queue.put(write);
            self.asked.insert(name, asked);
        }
    }

    /// Nothing is asked for a forward but for these Services.
    pub(super) fn keep(&mut self, forward: &ForwardName, looked_at: &BTreeSet<ServiceName>) {
        let asked = self.asked.iter();
        let over =
            asked.filter(|(name, asked)| asked.forward == *forward && !looked_at.contains(*name));
        let over: Vec<_> = over.map(|(name, _)| name.clone()).collect();
        over.iter().for_each(|name| self.settle(name));
    }

    pub(super) fn settle(&mut self, name: &ServiceName) {
        if self.asked.remove(name).is_some() {
            self.queue.forget(name);
        }
    }
}

/// Waits until the API server says something else; for ever where nothing is written.
pub(super) async fn troubled(seen: &mut Option<watch::Receiver<BTreeMap<ServiceName, String>>>) {
    let gone = match seen {
        Some(seen) => seen.changed().await.is_err(),
        None => true,
    };
    if gone {
        std::future::pending().await
    }
}
