//! Edge. Pods of pools, in the namespaces of pools alone: a Role there is enough to see them.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{BoxStream, SelectAll, StreamExt};
use k8s_openapi::api::core::v1 as core;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::is_forbidden;
use crate::identity::accounts::Accounts;
use crate::metrics::Metrics;
use crate::pods::{POOL_LABEL, Pod, Pods, reduce};

/// Each is a stream of its own.
const NAMESPACES: usize = 256;

/// As metrics call it.
const KIND: &str = "Pod";

/// Watches the pods of the pools that are known, and says in `seen` what there is.
pub(crate) async fn follow(
    client: Client,
    mut accounts: watch::Receiver<Accounts>,
    seen: watch::Sender<Pods>,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let mut watching = Watching {
        client,
        namespaces: BTreeMap::new(),
        watches: SelectAll::new(),
        lives: 0,
        metrics,
    };
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            told = accounts.changed() => {
                if told.is_err() {
                    // Whoever knows the pools is gone, and whoever asks for their pods.
                    return;
                }
                let places = accounts.borrow_and_update().places().clone();
                seen.send_if_modified(|pods| {
                    let is_new = pods.place(&places);
                    watching.want(&pods.namespaces(), pods) || is_new
                });
            }
            Some((namespace, life, event)) = watching.watches.next() => {
                seen.send_if_modified(|pods| watching.take(&namespace, life, event, pods));
            }
        }
    }
}

type News = Result<watcher::Event<core::Pod>, watcher::Error>;

struct Watching {
    client: Client,
    namespaces: BTreeMap<String, Namespace>,
    watches: SelectAll<BoxStream<'static, (String, u64, News)>>,
    lives: u64,
    metrics: Metrics,
}

struct Namespace {
    /// Tells its news from that of an earlier watch.
    life: u64,
    /// A list that is not whole yet.
    list: Vec<(String, Pod)>,
    is_failing: bool,
    _end: DropGuard,
}

impl Watching {
    /// Starts and ends watches; whether anything known is forgotten.
    fn want(&mut self, wanted: &BTreeSet<String>, pods: &mut Pods) -> bool {
        let known: BTreeSet<String> = self.namespaces.keys().cloned().collect();
        let mut is_less = false;
        for namespace in known.difference(wanted) {
            self.namespaces.remove(namespace);
            is_less |= pods.forget(namespace);
        }
        for namespace in wanted.difference(&known) {
            if self.namespaces.len() >= NAMESPACES {
                tracing::warn!(namespace, "pools are in more namespaces than are watched");
                break;
            }
            self.start(namespace);
        }
        is_less
    }

    fn start(&mut self, namespace: &str) {
        self.lives += 1;
        let (life, name, end) = (self.lives, namespace.to_owned(), CancellationToken::new());
        let api: Api<core::Pod> = Api::namespaced(self.client.clone(), namespace);
        let config = watcher::Config::default().labels(POOL_LABEL);
        let ended = end.clone().cancelled_owned();
        let watch = watcher(api, config).default_backoff().take_until(ended);
        let named = watch.map(move |event| (name.clone(), life, event));
        self.watches.push(named.boxed());
        let state = Namespace {
            life,
            list: Vec::new(),
            is_failing: false,
            _end: end.drop_guard(),
        };
        self.namespaces.insert(namespace.to_owned(), state);
    }

    /// Takes news in; whether that changes what is known.
    fn take(&mut self, namespace: &str, life: u64, news: News, pods: &mut Pods) -> bool {
        let Some(state) = self.namespaces.get_mut(namespace) else {
            return false;
        };
        if state.life != life {
            return false;
        }
        match news {
            Ok(event) => {
                self.metrics.events.with_label_values(&[KIND]).inc();
                if std::mem::take(&mut state.is_failing) {
                    tracing::info!(namespace, kind = KIND, "watches again");
                }
                state.take(namespace, event, pods)
            }
            Err(error) => {
                self.metrics.watch_errors.with_label_values(&[KIND]).inc();
                if !std::mem::replace(&mut state.is_failing, true) {
                    let error = error.to_string();
                    tracing::warn!(namespace, kind = KIND, error, "can't watch");
                }
                if !is_forbidden(&error) {
                    return false;
                }
                if matches!(error, watcher::Error::WatchStartFailed(_)) {
                    // It would go on without a list, once it may.
                    self.start(namespace);
                }
                // Who may not see pods knows those that are connected, and nothing of the others.
                pods.forget(namespace)
            }
        }
    }
}

impl Namespace {
    fn take(&mut self, name: &str, event: watcher::Event<core::Pod>, pods: &mut Pods) -> bool {
        match event {
            watcher::Event::Init => self.list.clear(),
            watcher::Event::InitApply(pod) => self.list.extend(reduce(&pod)),
            watcher::Event::InitDone => {
                pods.replace(name, std::mem::take(&mut self.list));
                return true;
            }
            watcher::Event::Apply(pod) => {
                let Some((uid, pod)) = reduce(&pod) else {
                    return false;
                };
                pods.put(name, uid, pod);
                return true;
            }
            watcher::Event::Delete(pod) => {
                pods.remove(name, pod.metadata.uid.as_deref().unwrap_or_default());
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
