//! Edge. What all sessions of the process have in common: descriptors, news for the reports, counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Descriptors of one session: its two sockets.
const PER_SESSION: u32 = 2;

/// Descriptors that sessions never get: pages, operators, the snapshot's file, epolls.
const RESERVED: usize = 64;

/// One per process, shared by the workers.
#[derive(Debug)]
pub struct Shared {
    descriptors: Arc<Semaphore>,
    /// Woken when a backend turns failing or good, or listeners change.
    pub news: Notify,
    /// Connections that could not be accepted.
    pub accept_errors: AtomicU64,
    /// Times that a listener had to wait for descriptors.
    pub accept_waits: AtomicU64,
    /// Sessions cut because the process ended.
    pub cut: AtomicU64,
    /// When an accept error was last logged, in milliseconds since `start`.
    logged_ms: AtomicU64,
    start: Instant,
}

impl Shared {
    /// `limit`: descriptors that the process may have.
    #[must_use]
    pub fn new(limit: usize, workers: usize) -> Self {
        // A tiny limit still leaves three quarters to sessions.
        let reserved = (RESERVED + 4 * workers).min(limit / 4);
        let free = (limit - reserved).min(Semaphore::MAX_PERMITS);
        Self {
            descriptors: Arc::new(Semaphore::new(free)),
            news: Notify::new(),
            accept_errors: AtomicU64::new(0),
            accept_waits: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            logged_ms: AtomicU64::new(0),
            start: Instant::now(),
        }
    }

    /// Descriptors that may still be opened.
    #[must_use]
    pub fn free_descriptors(&self) -> usize {
        self.descriptors.available_permits()
    }

    /// Room for one session's sockets, as long as the permit lives; waits until there is some.
    /// `None`: never, because the process ends.
    pub async fn session_descriptors(&self) -> Option<OwnedSemaphorePermit> {
        if let Some(permit) = self.try_descriptors(PER_SESSION) {
            return Some(permit);
        }
        self.accept_waits.fetch_add(1, Ordering::Relaxed);
        Arc::clone(&self.descriptors)
            .acquire_many_owned(PER_SESSION)
            .await
            .ok()
    }

    /// Room for that many sockets now, or none.
    #[must_use]
    pub fn try_descriptors(&self, count: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.descriptors)
            .try_acquire_many_owned(count)
            .ok()
    }

    /// Whether an accept error may be logged now: at most once a second in the whole process.
    #[must_use]
    pub fn may_log(&self) -> bool {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.logged_ms.load(Ordering::Relaxed);
        let due = last == 0 || now.saturating_sub(last) >= 1000;
        due && self
            .logged_ms
            .compare_exchange(last, now.max(1), Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

/// What a session knows of the thread that it runs on.
#[derive(Clone, Debug)]
pub struct Context {
    /// Number of the worker.
    pub worker: usize,
    /// Of the process.
    pub shared: Arc<Shared>,
}
