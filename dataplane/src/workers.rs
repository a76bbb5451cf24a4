//! Edge. One thread per core, each with its own runtime, listening sockets, buffers and timers.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tcpforward_process::log;
use tcpforward_protocol::snapshot::TcpOptions;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::drain::Phase;
use crate::handover::Exchange;
use crate::listener;
use crate::served::Served;
use crate::shared::{Context, Shared};

/// How often a worker says that it isn't stuck. Each time costs a wake or two, all night long.
const BEAT: Duration = Duration::from_secs(3);

/// The worker threads.
#[derive(Debug)]
pub struct Workers {
    /// Unbounded: only plans send here, one message per forward and worker.
    commands: Vec<mpsc::UnboundedSender<Listen>>,
    /// Closed when the last worker has ended.
    ended: mpsc::Receiver<()>,
}

/// When each worker was last seen alive.
#[derive(Clone, Debug)]
pub struct Beats {
    start: Instant,
    seconds: Arc<[AtomicU64]>,
}

/// One worker's share of a forward's listener.
#[derive(Debug)]
pub struct Listen {
    /// Bound and listening.
    pub socket: TcpListener,
    /// For which forward.
    pub served: Arc<Served>,
    /// The way to the other workers that listen there.
    pub exchange: Exchange,
    /// Whether the socket was made to speak MPTCP, whatever is wanted by now.
    pub multipath: bool,
    /// Options of the socket, as they are wanted.
    pub tuned: watch::Receiver<TcpOptions>,
    /// What it shall do.
    pub phase: watch::Receiver<Phase>,
    /// Dropped once the socket is closed.
    pub holding: watch::Receiver<()>,
}

impl Workers {
    /// Starts that many threads.
    ///
    /// # Errors
    /// The host gives no more threads or descriptors.
    pub fn start(count: usize, shared: &Arc<Shared>) -> io::Result<(Self, Beats)> {
        let beats = Beats {
            start: Instant::now(),
            seconds: (0..count).map(|_| AtomicU64::new(0)).collect(),
        };
        let (alive, ended) = mpsc::channel(1);
        let mut commands = Vec::new();
        for worker in 0..count {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .on_thread_park(log::flush)
                .build()?;
            let (send, receive) = mpsc::unbounded_channel();
            let context = Context {
                worker,
                shared: Arc::clone(shared),
            };
            let (beats, alive) = (beats.clone(), alive.clone());
            std::thread::Builder::new()
                .name(format!("worker-{worker}"))
                .spawn(move || {
                    log::hold();
                    runtime.block_on(run(receive, &context, &beats));
                    log::flush();
                    beats.ended(worker);
                    drop(alive);
                })?;
            commands.push(send);
        }
        Ok((Self { commands, ended }, beats))
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.commands.len()
    }

    /// Gives each worker its share of a forward's listener.
    pub fn listen(&self, shares: impl Iterator<Item = Listen>) {
        for (share, worker) in shares.zip(&self.commands) {
            if worker.send(share).is_err() {
                tracing::error!("a worker thread is gone");
            }
        }
    }

    /// Lets the workers end with their last session, and waits for that.
    pub async fn end(&mut self) {
        self.commands.clear();
        while self.ended.recv().await.is_some() {}
    }
}

impl Beats {
    fn beat(&self, worker: usize) {
        if let Some(seconds) = self.seconds.get(worker) {
            seconds.store(self.start.elapsed().as_secs(), Ordering::Relaxed);
        }
    }

    /// One that has done its work is never late; one that died of a fault doesn't come here.
    fn ended(&self, worker: usize) {
        if let Some(seconds) = self.seconds.get(worker) {
            seconds.store(u64::MAX, Ordering::Relaxed);
        }
    }

    /// The first worker that has not been seen for longer than `limit`.
    #[must_use]
    pub fn stuck(&self, limit: Duration) -> Option<usize> {
        let now = self.start.elapsed().as_secs();
        let late = |s: &AtomicU64| now.saturating_sub(s.load(Ordering::Relaxed)) > limit.as_secs();
        self.seconds.iter().position(late)
    }
}

async fn run(mut commands: mpsc::UnboundedReceiver<Listen>, context: &Context, beats: &Beats) {
    let mut listeners = JoinSet::new();
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open = true;
    while open || !listeners.is_empty() {
        tokio::select! {
            command = commands.recv(), if open => match command {
                Some(listen) => {
                    listeners.spawn(listener::run(listen, context.clone()));
                }
                None => open = false,
            },
            Some(ended) = listeners.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a listener died of a fault of ours");
                }
            }
            _ = beat.tick() => {
                beats.beat(context.worker);
                // One that always has something to do never parks.
                log::flush();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_has_ended_is_not_stuck() {
        let (mut workers, beats) = Workers::start(1, &Arc::new(Shared::new(1000, 1))).unwrap();
        workers.end().await;
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(beats.stuck(Duration::from_secs(10)), None);
    }
}
