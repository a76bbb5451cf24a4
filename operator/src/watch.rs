//! Edge. The API server's objects as events for the controller.
//!
//! A list is gathered until it is whole and delivered at once: a half-filled world is never seen.

use std::collections::BTreeSet;
use std::fmt::Debug;

use futures::stream::{BoxStream, StreamExt, select_all};
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::api::DynamicObject;
use kube::core::{ApiResource, PartialObjectMeta, Status};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::crd::{DataPlane, TcpForward};
use crate::index::{Event, Key, Kind, Object};
use crate::metrics::Metrics;

mod entrances;
mod gathering;
mod grants;
mod objects;
mod pauses;
pub(crate) mod pods;
mod scope;
mod secrets;
mod spread;
mod zones;

pub(crate) use entrances::KIND as ENTRANCE;
use gathering::Gathering;
pub(crate) use grants::list as grants;
pub(crate) use objects::{data_plane, namespace, node, service_cidr, tcp_forward};
use pauses::Pauses;
pub use scope::Scope;
use scope::apis;
pub(crate) use secrets::contents;
pub(crate) use zones::Zones;

/// EndpointSlices of a Service; those without it belong to nobody that we could name.
pub(crate) const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// What the controller asks to be watched.
pub(crate) struct Asked {
    /// The Secrets that forwards name.
    pub(crate) secrets: watch::Receiver<BTreeSet<Key>>,
    /// The namespaces of pools.
    pub(crate) namespaces: watch::Receiver<BTreeSet<String>>,
}

/// Watches everything that the controller needs, until shutdown.
pub(crate) async fn run(
    client: Client,
    scope: Scope,
    asked: Asked,
    events: mpsc::Sender<Event>,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    let sink = |kind| Sink {
        kind,
        events: events.clone(),
        metrics: metrics.clone(),
    };
    let forwards = ApiResource::erase::<TcpForward>(&());
    tasks.spawn(follow(
        sink(Kind::TcpForward),
        apis(&scope, |namespace| match namespace {
            Some(name) => Api::namespaced_with(client.clone(), name, &forwards),
            None => Api::all_with(client.clone(), &forwards),
        }),
        watcher::Config::default(),
        tcp_forward,
    ));
    tasks.spawn(follow(
        sink(Kind::Service),
        apis(&scope, |namespace| match namespace {
            Some(name) => Api::namespaced(client.clone(), name),
            None => Api::all(client.clone()),
        }),
        watcher::Config::default(),
        |service: Service| Some(Object::Service(Box::new(service))),
    ));
    tasks.spawn(follow(
        sink(Kind::EndpointSlice),
        apis(&scope, |namespace| match namespace {
            Some(name) => Api::namespaced(client.clone(), name),
            None => Api::all(client.clone()),
        }),
        watcher::Config::default().labels(SERVICE_LABEL),
        |slice: EndpointSlice| Some(Object::EndpointSlice(Box::new(slice))),
    ));
    tasks.spawn(grants::follow(
        client.clone(),
        scope,
        sink(Kind::ReferenceGrant),
    ));
    tasks.spawn(secrets::follow(
        client.clone(),
        asked.secrets,
        events.clone(),
        metrics.clone(),
    ));
    tasks.spawn(entrances::follow(
        client.clone(),
        asked.namespaces,
        events.clone(),
        metrics.clone(),
    ));
    of_cluster(&client, &sink, &mut tasks);
    tokio::select! {
        () = shutdown.cancelled() => {}
        // A watch ends only when the controller is gone.
        _ = tasks.join_next() => {}
    }
    tasks.shutdown().await;
}

/// Objects without a namespace, whatever namespaces are watched.
fn of_cluster(client: &Client, sink: &impl Fn(Kind) -> Sink, tasks: &mut JoinSet<()>) {
    let pools = ApiResource::erase::<DataPlane>(&());
    let config = watcher::Config::default();
    tasks.spawn(follow(
        sink(Kind::DataPlane),
        vec![Api::<DynamicObject>::all_with(client.clone(), &pools)],
        config.clone(),
        data_plane,
    ));
    tasks.spawn(follow(
        sink(Kind::Namespace),
        vec![Api::<PartialObjectMeta<Namespace>>::all(client.clone())],
        config.clone(),
        namespace,
    ));
    tasks.spawn(follow(
        sink(Kind::Node),
        vec![Api::<Node>::all(client.clone())],
        config.clone(),
        node,
    ));
    tasks.spawn(follow(
        sink(Kind::ServiceCidr),
        vec![Api::<ServiceCIDR>::all(client.clone())],
        config,
        service_cidr,
    ));
}

/// Where the events of one kind go.
struct Sink {
    kind: Kind,
    events: mpsc::Sender<Event>,
    metrics: Metrics,
}

impl Sink {
    fn word(&self) -> &'static str {
        word(self.kind)
    }

    /// Waits while the controller is behind. `Err`: it is gone.
    async fn send(&self, event: Event) -> Result<(), ()> {
        let word = self.word();
        self.metrics.events.with_label_values(&[word]).inc();
        if matches!(event, Event::Replaced(..)) {
            self.metrics.cache_ready.with_label_values(&[word]).set(1);
        }
        self.events.send(event).await.map_err(drop)
    }
}

/// The kind as metrics and pages call it.
pub(crate) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::DataPlane => "DataPlane",
        Kind::EndpointSlice => "EndpointSlice",
        Kind::Namespace => "Namespace",
        Kind::Node => "Node",
        Kind::ReferenceGrant => "ReferenceGrant",
        Kind::Secret => "Secret",
        Kind::Service => "Service",
        Kind::ServiceCidr => "ServiceCIDR",
        Kind::TcpForward => "TcpForward",
    }
}

type Watched<K> = BoxStream<'static, (usize, Result<watcher::Event<K>, watcher::Error>)>;

async fn follow<K>(
    sink: Sink,
    apis: Vec<Api<K>>,
    config: watcher::Config,
    convert: fn(K) -> Option<Object>,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut gathering = Gathering::new(sink.kind, apis.len());
    let mut complaints = Complaints::default();
    let watches = apis.into_iter().enumerate().map(|(i, api)| -> Watched<K> {
        let watch = watcher(api, config.clone()).backoff(Pauses::new());
        watch.map(move |event| (i, event)).boxed()
    });
    let mut watches = select_all(watches);
    while let Some((i, event)) = watches.next().await {
        let ready = match event {
            Ok(event) => {
                complaints.worked(sink.kind);
                gathering.take(i, event, convert)
            }
            Err(error) => {
                sink.metrics
                    .watch_errors
                    .with_label_values(&[sink.word()])
                    .inc();
                complaints.failed(sink.kind, &error);
                if is_dispensable(sink.kind) && (is_forbidden(&error) || is_unknown(&error)) {
                    gathering.give_up(i)
                } else {
                    Vec::new()
                }
            }
        };
        for event in ready {
            if sink.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// Zones, and ranges that flags may say as well, are a help, not a need: an operator of one namespace
/// may not see nodes, and an older API server has no ServiceCIDRs.
fn is_dispensable(kind: Kind) -> bool {
    matches!(kind, Kind::Node | Kind::ServiceCidr)
}

fn is_forbidden(error: &watcher::Error) -> bool {
    refusal(error).is_some_and(Status::is_forbidden)
}

fn is_unknown(error: &watcher::Error) -> bool {
    refusal(error).is_some_and(is_not_there)
}

/// Whether there is no such kind, or no such thing of it. A path of a group that the API server doesn't
/// know is answered in plain text, of which kube's `is_not_found` says no: only the code is sure.
pub(crate) fn is_not_there(status: &Status) -> bool {
    status.code == 404
}

fn refusal(error: &watcher::Error) -> Option<&Status> {
    use watcher::Error::{InitialListFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(s)) | WatchStartFailed(kube::Error::Api(s)) => Some(s),
        _ => None,
    }
}

/// Says each kind of failure once, until the watch works again.
#[derive(Default)]
struct Complaints {
    last: Option<String>,
}

impl Complaints {
    fn failed(&mut self, kind: Kind, error: &dyn std::error::Error) {
        let text = error.to_string();
        if self.last.as_ref() != Some(&text) {
            tracing::warn!(kind = word(kind), error = text, "can't watch");
            self.last = Some(text);
        }
    }

    fn worked(&mut self, kind: Kind) {
        if self.last.take().is_some() {
            tracing::info!(kind = word(kind), "watches again");
        }
    }
}

#[cfg(test)]
mod tests;
