//! Edge. Pods of pools, in the namespaces of pools alone: a Role there is enough to see them.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{BoxStream, SelectAll, StreamExt};
use k8s_openapi::api::core::v1 as core;
use kube::api::DynamicObject;
use kube::core::ApiResource;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::is_forbidden;
use crate::crd::DataPlane;
use crate::metrics::Metrics;
use crate::pods::{POOL_LABEL, Pod, Pods, reduce};

/// Each is a stream of its own.
const NAMESPACES: usize = 256;

/// As metrics call it.
const KIND: &str = "Pod";

/// Watches pools and their pods, and says in `seen` what there is.
pub(crate) async fn follow(
    client: Client,
    seen: watch::Sender<Pods>,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let kind = ApiResource::erase::<DataPlane>(&());
    let pools: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let mut pools = watcher(pools, watcher::Config::default())
        .default_backoff()
        .boxed();
    let mut places = Places::default();
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
            Some(Ok(event)) = pools.next() => {
                seen.send_if_modified(|pods| {
                    let is_new = places.take(event, pods);
                    watching.want(&pods.namespaces(), pods) || is_new
                });
            }
            Some((namespace, life, event)) = watching.watches.next() => {
                seen.send_if_modified(|pods| watching.take(&namespace, life, event, pods));
            }
        }
    }
}

/// Pools, each with the namespace of its pods. Who may not read them has none; that is said where
/// DataPlanes matter more.
#[derive(Default)]
struct Places {
    known: BTreeMap<String, String>,
    list: BTreeMap<String, String>,
}

impl Places {
    fn take(&mut self, event: watcher::Event<DynamicObject>, pods: &mut Pods) -> bool {
        match event {
            watcher::Event::Init => self.list.clear(),
            watcher::Event::InitApply(pool) => self.list.extend(place(&pool)),
            watcher::Event::InitDone => self.known = std::mem::take(&mut self.list),
            watcher::Event::Apply(pool) => self.known.extend(place(&pool)),
            watcher::Event::Delete(pool) => {
                self.known.remove(&pool.name_any());
            }
        }
        let before = pods.clone();
        pods.place(self.known.clone());
        before != *pods
    }
}

fn place(pool: &DynamicObject) -> Option<(String, String)> {
    let namespace = pool.data.pointer("/spec/podNamespace")?.as_str()?;
    Some((pool.name_any(), namespace.to_owned()))
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
        let gone = known.difference(wanted);
        let forgotten = gone.inspect(|namespace| {
            self.namespaces.remove(*namespace);
            pods.forget(namespace);
        });
        let is_less = forgotten.count() > 0;
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
                // Who may not see pods knows those that are connected, and nothing of the others.
                if is_forbidden(&error) {
                    pods.forget(namespace);
                }
                is_forbidden(&error)
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
