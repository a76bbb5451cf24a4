//! Edge. The only wiring: builds everything, runs it, and lets it end.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use prometheus::Registry;
use tcpforward_process::pages::{self, Pages};
use tcpforward_protocol::answer::Report;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::admin;
use crate::config::Config;
use crate::last_good::{self, LastGood};
use crate::metrics::Values;
use crate::serving::Serving;
use crate::shared::Shared;
use crate::socket;
use crate::sync::{self, Applied, Channels, Identity, Wanted};
use crate::view::{ForwardView, View};
use crate::workers::{Beats, Workers};

/// A worker that has not been seen for so long is stuck.
const STUCK: Duration = Duration::from_secs(10);

/// How often what is due is looked for: binds to retry, removed forwards to cut.
const TICK: Duration = Duration::from_millis(250);

/// How often operators hear how things go.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// News are gathered for so long before they are told.
const NEWS_PAUSE: Duration = Duration::from_millis(200);

/// Why a data plane can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address of a page.
    #[error("{option} is {address}: {source}")]
    Bind {
        /// `--health` or `--admin`.
        option: &'static str,
        /// As given.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Two data planes count into one registry.
    #[error("metrics can't be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The host gives no more threads or descriptors.
    #[error("--threads is {count}: can't start that many workers: {source}")]
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

#[derive(Debug)]
struct State {
    shared: Arc<Shared>,
    view: Arc<RwLock<View>>,
    operators: watch::Receiver<sync::View>,
    beats: Beats,
    stage: AtomicU8,
    applied_at: Mutex<Option<Instant>>,
}

/// Where a data plane is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    Waiting,
    Ready,
    Draining,
}

/// How a data plane ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Sessions that lasted longer than they might.
    pub cut: u64,
}

/// Numbers of the whole process, for metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    pub(crate) cut: u64,
    pub(crate) accept_errors: u64,
    pub(crate) accept_waits: u64,
    pub(crate) descriptors_free: u64,
    pub(crate) epoch: u64,
    pub(crate) snapshot_age_seconds: Option<u64>,
    pub(crate) last_good_failing: u64,
    pub(crate) operators: u64,
    pub(crate) share_index: u64,
    pub(crate) share_of: u64,
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
        let mut streams = JoinSet::new();
        let identity = identity(&config);
        streams.spawn(sync::run(
            config.operators,
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
            handle: handle.clone(),
        };
        tokio::select! {
            () = control.run() => {}
            () = shutdown => {}
        }
        handle.set(Stage::Draining);
        tracing::info!(delay = ?config.drain_delay, "draining, still accepting");
        // Whatever the operator says meanwhile still holds.
        let _ = tokio::time::timeout(config.drain_delay, control.run()).await;
        // From here on this data plane is no member of its pool.
        drop(streams);
        let Control { mut serving, .. } = control;
        serving.stop_all();
        tracing::info!(timeout = ?config.drain_timeout, "no longer accepting");
        serving.end(Instant::now() + config.drain_timeout).await;
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
            tracing::warn!(%error, "starting without a last good snapshot");
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

/// The one task that decides what runs.
struct Control {
    serving: Serving,
    wanted: watch::Receiver<Option<Arc<Wanted>>>,
    applied: watch::Sender<Arc<Applied>>,
    report: watch::Sender<Arc<Report>>,
    handle: Handle,
}

impl Control {
    /// Goes on until it is dropped.
    async fn run(&mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut report_at = Instant::now() + NEWS_PAUSE;
        let shared = Arc::clone(&self.handle.0.shared);
        loop {
            tokio::select! {
                Ok(()) = self.wanted.changed() => self.apply().await,
                _ = tick.tick() => {
                    if self.serving.tick().await {
                        self.applied.send_replace(Arc::new(self.serving.applied()));
                    }
                }
                () = shared.news.notified() => {
                    report_at = report_at.min(Instant::now() + NEWS_PAUSE);
                }
                () = tokio::time::sleep_until(report_at) => {
                    self.report.send_replace(Arc::new(self.handle.view().report()));
                    report_at = Instant::now() + REPORT_EVERY;
                }
            }
        }
    }

    async fn apply(&mut self) {
        let Some(wanted) = self.wanted.borrow_and_update().clone() else {
            return;
        };
        self.serving.apply(wanted).await;
        self.applied.send_replace(Arc::new(self.serving.applied()));
        self.handle.applied();
    }
}

impl Handle {
    /// Whether clients may be sent here.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), String> {
        match self.0.stage.load(Ordering::Relaxed) {
            stage if stage == Stage::Ready as u8 => Ok(()),
            stage if stage == Stage::Draining as u8 => Err("draining".to_owned()),
            _ => Err("no set of forwards yet: no operator has sent one".to_owned()),
        }
    }

    /// Whether all workers turn.
    ///
    /// # Errors
    /// Which one doesn't.
    pub fn live(&self) -> Result<(), String> {
        match self.0.beats.stuck(STUCK) {
            None => Ok(()),
            Some(worker) => Err(format!("worker {worker} has not been seen for {STUCK:?}")),
        }
    }

    /// Every forward with its listeners, refusal and backends.
    #[must_use]
    pub fn forwards(&self) -> Vec<ForwardView> {
        self.view().for_people()
    }

    /// What is served and refused.
    #[must_use]
    pub fn view(&self) -> View {
        self.0
            .view
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How things stand with the operators.
    #[must_use]
    pub fn operators(&self) -> sync::View {
        self.0.operators.borrow().clone()
    }

    /// All pages, for a program that serves them itself.
    #[must_use]
    pub fn pages(&self, registry: Registry) -> Pages {
        admin::health(self, registry).and(admin::debug(self))
    }

    fn applied(&self) {
        *self
            .0
            .applied_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let (waiting, ready) = (Stage::Waiting as u8, Stage::Ready as u8);
        let stage = &self.0.stage;
        // A data plane that drains stays not ready.
        let _ = stage.compare_exchange(waiting, ready, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn set(&self, stage: Stage) {
        self.0.stage.store(stage as u8, Ordering::Relaxed);
    }

    pub(crate) fn numbers(&self) -> Numbers {
        let State {
            shared, applied_at, ..
        } = &*self.0;
        let operators = self.operators();
        let share = operators.share.unwrap_or_default();
        let applied_at = *applied_at.lock().unwrap_or_else(PoisonError::into_inner);
        let large = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Numbers {
            cut: shared.cut.load(Ordering::Relaxed),
            accept_errors: shared.accept_errors.load(Ordering::Relaxed),
            accept_waits: shared.accept_waits.load(Ordering::Relaxed),
            descriptors_free: large(shared.free_descriptors()),
            epoch: operators.epoch,
            snapshot_age_seconds: applied_at.map(|at| at.elapsed().as_secs()),
            last_good_failing: operators.store_error.is_some().into(),
            operators: large(operators.connected),
            share_index: share.0.into(),
            share_of: share.1.into(),
        }
    }
}

#[cfg(test)]
mod tests;
