//! Edge. The API server's objects as events for the controller.
//!
//! A list is gathered until it is whole and delivered at once: a half-filled world is never seen.

use std::collections::BTreeSet;
use std::fmt::Debug;

use futures::stream::{BoxStream, StreamExt, select_all};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::DynamicObject;
use kube::core::{ApiResource, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::crd::TcpForward;
use crate::index::{Event, Key, Kind, Object};
use crate::metrics::Metrics;

mod gathering;
mod grants;
pub(crate) mod pods;
mod secrets;
mod zones;

use gathering::Gathering;
pub(crate) use grants::list as grants;
pub(crate) use secrets::contents;
pub(crate) use zones::Zones;

/// EndpointSlices of a Service; those without it belong to nobody that we could name.
pub(crate) const SERVICE_LABEL: &str = "kubernetes.io/service-name";

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Which namespaces are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every one.
    All,
    /// Only these.
    Namespaces(Vec<String>),
}

/// Watches everything that the controller needs, until shutdown; `named` are the Secrets that
/// forwards name.
pub(crate) async fn run(
    client: Client,
    scope: Scope,
    named: watch::Receiver<BTreeSet<Key>>,
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
        named,
        events.clone(),
        metrics.clone(),
    ));
    tasks.spawn(follow(
        sink(Kind::Node),
        vec![Api::<PartialObjectMeta<Node>>::all(client)],
        watcher::Config::default(),
        node,
    ));
    tokio::select! {
        () = shutdown.cancelled() => {}
        // A watch ends only when the controller is gone.
        _ = tasks.join_next() => {}
    }
    tasks.shutdown().await;
}

fn apis<K>(scope: &Scope, api: impl Fn(Option<&str>) -> Api<K>) -> Vec<Api<K>> {
    match scope {
        Scope::All => vec![api(None)],
        Scope::Namespaces(names) => names.iter().map(|name| api(Some(name))).collect(),
    }
}

fn node(node: PartialObjectMeta<Node>) -> Option<Object> {
    Some(Object::Node {
        name: node.name_any(),
        zone: node.labels().get(ZONE_LABEL).cloned(),
    })
}

/// As it is: what can't be decoded becomes a visible rejection, not an error of the watch.
pub(crate) fn tcp_forward(object: DynamicObject) -> Option<Object> {
    let resource = ApiResource::erase::<TcpForward>(&());
    let mut raw = serde_json::to_value(object).ok()?;
    let map = raw.as_object_mut()?;
    // Items of a list come without these.
    map.insert("apiVersion".to_owned(), Value::String(resource.api_version));
    map.insert("kind".to_owned(), Value::String(resource.kind));
    Some(Object::TcpForward(raw))
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
        Kind::EndpointSlice => "EndpointSlice",
        Kind::Node => "Node",
        Kind::ReferenceGrant => "ReferenceGrant",
        Kind::Secret => "Secret",
        Kind::Service => "Service",
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
        let watch = watcher(api, config.clone()).default_backoff();
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
                // Zones are a help, not a need: an operator of one namespace may not see nodes.
                if sink.kind == Kind::Node && is_forbidden(&error) {
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

fn is_forbidden(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(s)) | WatchStartFailed(kube::Error::Api(s)) => {
            s.is_forbidden()
        }
        _ => false,
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
