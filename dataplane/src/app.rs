//! Edge. The only wiring: builds everything, runs it, and lets it end.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex, RwLock};

use prometheus::Registry;
use tcpforward_process::causes::chain;
use tcpforward_process::pages::{self, Pages};
use tcpforward_protocol::answer::Report;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::admin;
use crate::config::Config;
use crate::last_good::{self, LastGood};
use crate::metrics::values::Values;
use crate::serving::Serving;
use crate::shared::Shared;
use crate::socket;
use crate::sync::{self, Applied, Channels, Identity};
use crate::view::View;
use crate::workers::Workers;

mod background;
mod control;
mod handle;

use background::Background;
use control::Control;
use handle::{Stage, State};

/// Why a data plane can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address of a page.
    #[error("{option} is {address}: can't listen there")]
    Bind {
        /// `--health` or `--admin`.
        option: &'static str,
        /// As given.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Two data planes count into one registry.
    #[error("metrics can't be registered")]
    Metrics(#[from] prometheus::Error),
    /// No descriptors or signal handlers.
    #[error("can't start")]
    Runtime(#[source] io::Error),
    /// The host gives no more threads or descriptors.
    #[error("--threads is {count}: can't start that many workers")]
    Threads {
        /// How many.
        count: usize,
        /// Why not.
        source: io::Error,
    },
}

/// A data plane that serves nothing yet.
#[derive(Debug)]
pub struct App {
    config: Config,
    serving: Serving,
    held: Option<LastGood>,
    handle: Handle,
    operators_view: watch::Sender<sync::View>,
    registry: Registry,
}

/// What others may know of a running data plane.
#[derive(Clone, Debug)]
pub struct Handle(Arc<State>);

/// How a data plane ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Sessions that lasted longer than they might.
    pub cut: u64,
}

impl App {
    /// Starts the worker threads, reads the last good set and registers the metrics.
    ///
    /// # Errors
    /// The host gives no threads, or the registry has these metrics already.
    pub fn new(config: Config, registry: &Registry) -> Result<Self, Error> {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let count = config.threads.map_or(cores, NonZeroUsize::get);
        let shared = Arc::new(Shared::new(socket::raise_descriptor_limit(), count));
        let (workers, beats) =
            Workers::start(count, &shared).map_err(|source| Error::Threads { count, source })?;
        let view: Arc<RwLock<View>> = Arc::default();
        let (bind, reserved) = (config.bind, config.all_reserved());
        let serving = Serving::new(
            workers,
            Arc::clone(&shared),
            bind,
            reserved,
            Arc::clone(&view),
        );
        let (operators_view, operators) = watch::channel(sync::View::default());
        let handle = Handle(Arc::new(State {
            shared,
            view,
            operators,
            beats,
            stage: AtomicU8::new(Stage::Waiting as u8),
            applied_at: Mutex::new(None),
        }));
        registry.register(Box::new(Values::new(handle.clone())?))?;
        let held = last_good(&config);
        let registry = registry.clone();
        Ok(Self {
            config,
            serving,
            held,
            handle,
            operators_view,
            registry,
        })
    }

    /// What others may know of it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until `shutdown`, then drains: not ready at once, accepting for a while, then no
    /// more; sessions that outlast the rest are reset and counted.
    ///
    /// # Errors
    /// The address of a page can't be bound.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<Summary, Error> {
        let Self {
            config,
            serving,
            held,
            handle,
            operators_view,
            registry,
        } = self;
        let mut pages = JoinSet::new();
        let health = admin::health(&handle, registry);
        serve_pages(&mut pages, "--health", config.health, health).await?;
        serve_pages(&mut pages, "--admin", config.admin, admin::debug(&handle)).await?;
        let (wanted_sender, wanted) = watch::channel(None);
        let (applied, applied_receiver) = watch::channel(Arc::new(Applied::default()));
        let (report, report_receiver) = watch::channel(Arc::new(Report::default()));
        let channels = Channels {
            wanted: wanted_sender,
            applied: applied_receiver,
            report: report_receiver,
            view: operators_view,
        };
        let State { view, shared, .. } = &*handle.0;
        let background = Background::start(view, shared, config.dns_servers.clone());
        let background = background.map_err(Error::Runtime)?;
        let mut streams = JoinSet::new();
        let identity = identity(&config);
        streams.spawn(sync::run(
            config.operators,
            config.transport,
            identity,
            config.state_dir,
            held,
            channels,
        ));
        let mut control = Control {
            serving,
            wanted,
            applied,
            report,
            operators: handle.0.operators.clone(),
            handle: handle.clone(),
        };
        control.run(shutdown).await;
        handle.set(Stage::Draining);
        tracing::info!(delay = ?config.drain_delay, "draining, still accepting");
        // Whatever the operator says meanwhile still holds.
        control.run(tokio::time::sleep(config.drain_delay)).await;
        // From here on this data plane is no member of its pool.
        drop(streams);
        let Control { mut serving, .. } = control;
        serving.stop_all();
        tracing::info!(timeout = ?config.drain_timeout, "no longer accepting");
        serving.end(Instant::now() + config.drain_timeout).await;
        drop(background);
        let summary = Summary {
            cut: handle.numbers().cut,
        };
        tracing::info!(cut = summary.cut, "ended");
        Ok(summary)
    }
}

fn identity(config: &Config) -> Identity {
    let host = || {
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned()
    };
    let random = || format!("{:032x}", fastrand::u128(..));
    Identity {
        pod: config.pod.clone().unwrap_or_else(host),
        uid: config.pod_uid.clone().unwrap_or_else(random),
        node: config.node.clone(),
        pool: config.pool.clone(),
    }
}

fn last_good(config: &Config) -> Option<LastGood> {
    match last_good::load(config.state_dir.as_ref()?, &config.pool) {
        Ok(held) => held,
        Err(error) => {
            tracing::warn!(
                error = chain(&error),
                "starting without a last good snapshot"
            );
            None
        }
    }
}

async fn serve_pages(
    tasks: &mut JoinSet<()>,
    option: &'static str,
    address: Option<SocketAddr>,
    pages: Pages,
) -> Result<(), Error> {
    let Some(address) = address else {
        return Ok(());
    };
    let bound = TcpListener::bind(address).await;
    let listener = bound.map_err(|source| Error::Bind {
        option,
        address,
        source,
    })?;
    tasks.spawn(pages::serve(
        listener,
        Arc::new(pages),
        std::future::pending(),
    ));
    Ok(())
}

#[cfg(test)]
mod tests;
