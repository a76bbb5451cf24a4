//! Edge. Watches of one kind in several namespaces, which come and go: a Role in each is enough.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use futures::stream::{self, BoxStream, SelectAll, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Pauses, is_forbidden};
use crate::metrics::Metrics;

/// Each is a stream of its own.
pub(super) const NAMESPACES: usize = 256;

/// Until one is tried again that may be listed and not be watched.
const FORBIDDEN: Duration = Duration::from_secs(3);

/// News of a namespace.
pub(super) type News<K> = Result<watcher::Event<K>, watcher::Error>;

/// Watches of one kind.
pub(super) struct Spread<K> {
    /// As metrics call it.
    kind: &'static str,
    client: Client,
    config: watcher::Config,
    namespaces: BTreeMap<String, Watching>,
    /// Those for which there is no room.
    left_out: BTreeSet<String>,
    watches: SelectAll<BoxStream<'static, (String, u64, News<K>)>>,
    lives: u64,
    metrics: Metrics,
}

/// What another wish comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Turned {
    /// They are looked at no longer.
    pub(super) gone: Vec<String>,
    /// There is no room to look at them.
    pub(super) left_out: Vec<String>,
}

struct Watching {
    /// Tells its news from that of an earlier watch.
    life: u64,
    is_failing: bool,
    _end: DropGuard,
}

impl<K> Spread<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + Debug + DeserializeOwned + Send + 'static,
{
    pub(super) fn new(
        kind: &'static str,
        client: Client,
        config: watcher::Config,
        metrics: Metrics,
    ) -> Self {
        Self {
            kind,
            client,
            config,
            namespaces: BTreeMap::new(),
            left_out: BTreeSet::new(),
            watches: SelectAll::new(),
            lives: 0,
            metrics,
        }
    }

    /// Starts and ends watches.
    pub(super) fn want(&mut self, wanted: &BTreeSet<String>) -> Turned {
        let known = self.namespaces.keys().chain(&self.left_out);
        let gone: Vec<String> = known.filter(|n| !wanted.contains(*n)).cloned().collect();
        for namespace in &gone {
            self.namespaces.remove(namespace);
            self.left_out.remove(namespace);
        }
        let mut left_out = Vec::new();
        for namespace in wanted {
            if self.namespaces.contains_key(namespace) {
                continue;
            }
            if self.namespaces.len() < NAMESPACES {
                self.left_out.remove(namespace);
                self.start(namespace, Duration::ZERO);
            } else if self.left_out.insert(namespace.clone()) {
                left_out.push(namespace.clone());
            }
        }
        if let Some(first) = left_out.first() {
            let (kind, n) = (self.kind, left_out.len());
            tracing::warn!(
                kind,
                n,
                first,
                "pools are in more namespaces than are watched"
            );
        }
        Turned { gone, left_out }
    }

    fn start(&mut self, namespace: &str, pause: Duration) {
        self.lives += 1;
        let (life, name, end) = (self.lives, namespace.to_owned(), CancellationToken::new());
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let ended = end.clone().cancelled_owned();
        let watch = watcher(api, self.config.clone());
        let late = stream::once(sleep(pause)).filter_map(async |()| None);
        let watch = late.chain(watch.backoff(Pauses::new())).take_until(ended);
        let named = watch.map(move |event| (name.clone(), life, event));
        self.watches.push(named.boxed());
        let watching = Watching {
            life,
            is_failing: false,
            _end: end.drop_guard(),
        };
        self.namespaces.insert(namespace.to_owned(), watching);
    }

    /// The next news of a namespace that is watched; none: nothing is watched. A failure is told to
    /// people here, once.
    pub(super) async fn next(&mut self) -> Option<(String, News<K>)> {
        loop {
            let (namespace, life, news) = self.watches.next().await?;
            let Some(watching) = self.namespaces.get_mut(&namespace) else {
                continue;
            };
            if watching.life != life {
                continue;
            }
            let kind = self.kind;
            match &news {
                Ok(_) => {
                    self.metrics.events.with_label_values(&[kind]).inc();
                    if std::mem::take(&mut watching.is_failing) {
                        tracing::info!(namespace, kind, "watches again");
                    }
                }
                Err(error) => {
                    self.metrics.watch_errors.with_label_values(&[kind]).inc();
                    if !std::mem::replace(&mut watching.is_failing, true) {
                        let error = error.to_string();
                        tracing::warn!(namespace, kind, error, "can't watch");
                    }
                }
            }
            if let Err(error @ watcher::Error::WatchStartFailed(_)) = &news
                && is_forbidden(error)
            {
                // It would go on without a list, once it may.
                self.start(&namespace, FORBIDDEN);
            }
            return Some((namespace, news));
        }
    }
}
