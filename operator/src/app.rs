//! Edge. The only wiring: builds everything, starts tasks, drains.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use kube::Client;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::admin::Insight;
use crate::client;
use crate::compile::Rules;
use crate::config::Config;
use crate::config::transport::Transport;
use crate::controller::Writing;
use crate::files;
use crate::identity::{Identity, serving};
use crate::index::Index;
use crate::lease::{Election, LeaseView, Overlap, Timing};
use crate::metrics::Metrics;
use crate::patch::{Queue, Work, Writer};
use crate::pods::Pods;
use crate::push::{self, Reach, Shared};
use crate::watch as kubernetes;

mod core;
mod local;
mod tasks;

use self::core::{Asks, Core};
pub use local::Local;
use tasks::{Tasks, done};

/// Events that wait for the controller: it takes them faster than any API server sends them.
const EVENTS: usize = 1024;

/// Why an operator ends, or does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address of a page can't be bound.
    #[error("{flag} is {address}: can't listen there")]
    Bind {
        /// Which flag.
        flag: &'static str,
        /// As given.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Neither a kubeconfig nor a service account is there, or the one that is can't be used.
    #[error("can't find a cluster: set KUBECONFIG or run in a pod")]
    Cluster(#[source] kube::Error),
    /// The manifests can't be read.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// The host offers no TLS 1.3.
    #[error("can't speak TLS")]
    Identity(#[from] rustls::Error),
    /// Two operators share a registry.
    #[error("metrics can't be registered")]
    Metrics(#[from] prometheus::Error),
    /// Another operator serves what this one is to.
    #[error(transparent)]
    Overlap(#[from] Overlap),
    /// Data planes can't be served.
    #[error(transparent)]
    Push(#[from] push::Error),
    /// No threads, descriptors or signal handlers.
    #[error("can't start")]
    Runtime(#[source] io::Error),
    /// A task has ended before its time.
    #[error("{task} has ended")]
    Task {
        /// Which.
        task: &'static str,
    },
}

/// Runs an operator in, or beside, a cluster until shutdown.
///
/// # Errors
/// It can't start, or a part of it has failed.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let reach = match config.transport {
        Transport::Identity(_) => Reach::Anywhere,
        Transport::Insecure => Reach::Loopback,
    };
    let push = push::bind(config.push, reach).await?;
    let health = bind("--health", config.health).await?;
    let admin = bind("--admin", config.admin).await?;
    let client = connect().await?;
    let identity = config.identity.clone().unwrap_or_else(own_name);
    tracing::info!(
        identity,
        push = %address(&push, config.push),
        health = %address(&health, config.health),
        admin = %address(&admin, config.admin),
        scope = ?config.scope,
        "operator starts"
    );
    let mut tasks = Tasks::default();
    let (shared, insight, identity) = lead(client, config, identity, &mut tasks)?;
    let stop = shared.shutdown.clone();
    tasks.serve(health, insight.health_pages(), &stop);
    tasks.serve(admin, insight.debug_pages(), &stop);
    tasks.spawn("the push", serve(shared, push, identity));
    let ended = tasks.until(shutdown).await;
    tracing::info!("operator ends");
    stop.cancel();
    tasks.goodbye().await;
    ended
}

/// Starts all that talks to the API server.
fn lead(
    client: Client,
    config: Config,
    identity: String,
    tasks: &mut Tasks,
) -> Result<(Arc<Shared>, Insight, Option<Identity>), Error> {
    let metrics = Metrics::new(&Registry::new())?;
    let (election, lease) = Election::new(
        client.clone(),
        (&config.lease_namespace, &config.lease_name),
        &identity,
        config.scope.clone(),
        Timing::default(),
        metrics.clone(),
    );
    let (writer, forwards) = writing(&client, &lease, &metrics);
    let writer = writer.telling(&identity);
    let (writer_of_pools, pools) = writing(&client, &lease, &metrics);
    let (writer_of_services, services) = writing(&client, &lease, &metrics);
    let writing = Writing::Cluster {
        forwards,
        pools,
        services,
    };
    let (asks, asked) = asks();
    let mut core = Core::new(
        Rules::of_cluster(&config.cluster_domain),
        Index::protecting(config.cluster_cidrs),
        writing,
        Some(asks),
        lease.clone(),
        identity,
        metrics.clone(),
    );
    let identity = match config.transport {
        Transport::Identity(options) => {
            let namespace = &config.lease_namespace;
            let accounts = core.shared.accounts.clone();
            let identity = Identity::new(&client, namespace, options, accounts, lease, &metrics)?;
            core.insight.serving = Some(Arc::clone(&identity.serving));
            Some(identity)
        }
        Transport::Insecure => None,
    };
    let home = config.lease_namespace.clone();
    core.insight.lease_name = Some((config.lease_namespace, config.lease_name));
    let stop = &core.shared.shutdown;
    let (events, inbox) = mpsc::channel(EVENTS);
    let (seen, pods) = watch::channel(Pods::default());
    let places = core.shared.accounts.clone();
    let of_pods =
        kubernetes::pods::follow(client.clone(), places, seen, metrics.clone(), stop.clone());
    tasks.spawn("the watch of pods", done(of_pods));
    let scope = config.scope.clone();
    let watches = kubernetes::run(client, scope, asked, events, metrics, stop.clone());
    let election = election.run(stop.clone());
    tasks.spawn("the Lease", async { Ok(election.await?) });
    tasks.spawn("a watch", done(watches));
    let controller = core.controller.with_pods(pods).within(config.scope, home);
    tasks.spawn("the controller", done(controller.run(inbox, stop.clone())));
    write(tasks, "the writer", writer, stop);
    write(tasks, "the writer of pools", writer_of_pools, stop);
    write(tasks, "the writer of Services", writer_of_services, stop);
    Ok((core.shared, core.insight, identity))
}

/// What the controller asks to be watched, and for whom.
fn asks() -> (Asks, kubernetes::Asked) {
    let (secrets, named) = watch::channel(BTreeSet::new());
    let (namespaces, places) = watch::channel(BTreeSet::new());
    let asks = Asks {
        secrets,
        namespaces,
    };
    let asked = kubernetes::Asked {
        secrets: named,
        namespaces: places,
    };
    (asks, asked)
}

fn write<W: Work>(
    tasks: &mut Tasks,
    what: &'static str,
    writer: Writer<W>,
    stop: &CancellationToken,
) {
    tasks.spawn(what, done(writer.run(stop.clone())));
}

/// Writes what is put into the queue.
fn writing<W: Work>(
    client: &Client,
    lease: &watch::Receiver<LeaseView>,
    metrics: &Metrics,
) -> (Writer<W>, Arc<Queue<W>>) {
    let queue = Arc::<Queue<W>>::default();
    let (lease, metrics) = (lease.clone(), metrics.clone());
    let writer = Writer::new(client.clone(), Arc::clone(&queue), lease, metrics);
    (writer, queue)
}

/// Serves data planes: those that show who they are, or, without identity, those of this machine.
async fn serve(
    shared: Arc<Shared>,
    listener: TcpListener,
    identity: Option<Identity>,
) -> Result<(), Error> {
    let Some(identity) = identity else {
        tracing::warn!(
            "--insecure-transport: data planes are spoken with in plain text, unchecked"
        );
        return Ok(push::serve_tcp(shared, listener).await?);
    };
    let Identity {
        gate,
        keeper,
        config,
        ..
    } = identity;
    let incoming = serving::incoming(listener, config, shared.metrics.clone());
    let stop = shared.shutdown.clone();
    let (served, ()) = tokio::join!(push::serve(shared, incoming, gate), keeper.run(stop));
    Ok(served?)
}

async fn connect() -> Result<Client, Error> {
    let found = kube::Config::infer().await;
    let config = found.map_err(|error| Error::Cluster(kube::Error::InferConfig(error)))?;
    client::connect(config).map_err(Error::Cluster)
}

async fn bind(flag: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| Error::Bind {
        flag,
        address,
        source,
    })
}

/// As bound: port 0 is a request for any.
fn address(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

/// The host's name for people, and a part that tells two lives of it apart.
fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "operator",
        host => host,
    };
    let host: String = host.chars().take(63).collect();
    format!("{host}-{:08x}", fastrand::u32(..))
}

#[cfg(test)]
mod tests;
