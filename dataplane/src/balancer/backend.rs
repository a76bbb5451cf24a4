//! Pure. One backend of one forward, as its sessions and the reports share it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tcpforward_protocol::answer::DialError;

/// Counts and the outcome of the latest dial; kept as long as a session holds it.
#[derive(Debug)]
pub struct Backend {
    /// Name of its target.
    pub target: Arc<str>,
    /// Where it is dialled.
    pub address: SocketAddr,
    open: AtomicU64,
    total: AtomicU64,
    is_failing: AtomicBool,
    failing: Mutex<Option<Failing>>,
}

/// Why the latest dial failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Kind of failure.
    pub reason: DialError,
    /// The failure's text.
    pub message: String,
    /// Unix milliseconds of the first failure of the present run.
    pub since_ms: u64,
}

/// Whether an observation is news to those who wait for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// It turned failing or good.
    Changed,
    /// As before.
    Same,
}

impl Backend {
    /// One that nothing is known of.
    #[must_use]
    pub fn new(target: Arc<str>, address: SocketAddr) -> Self {
        Self {
            target,
            address,
            open: AtomicU64::new(0),
            total: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            failing: Mutex::new(None),
        }
    }

    /// A dial reached it.
    pub fn reached(&self) -> Observed {
        if !self.is_failing.load(Ordering::Relaxed) {
            return Observed::Same;
        }
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_failing.store(false, Ordering::Relaxed);
        match failing.take() {
            Some(_) => Observed::Changed,
            None => Observed::Same,
        }
    }

    /// A dial did not reach it, at that Unix time in milliseconds.
    pub fn failed(&self, reason: DialError, message: String, now_ms: u64) -> Observed {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let since_ms = failing.as_ref().map_or(now_ms, |f| f.since_ms);
        let observed = match failing.as_ref() {
            Some(before) if before.reason == reason => Observed::Same,
            _ => Observed::Changed,
        };
        *failing = Some(Failing {
            reason,
            message,
            since_ms,
        });
        self.is_failing.store(true, Ordering::Relaxed);
        observed
    }

    /// Why the latest dial failed; absent: it didn't.
    #[must_use]
    pub fn failing(&self) -> Option<Failing> {
        self.failing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Sessions at present.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Sessions since it is known.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Counts a session as long as the returned value lives.
    #[must_use]
    pub fn occupy(self: &Arc<Self>) -> Occupied {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(1, Ordering::Relaxed);
        Occupied(Arc::clone(self))
    }
}

/// One session's place on a backend.
#[derive(Debug)]
pub struct Occupied(Arc<Backend>);

impl Occupied {
    /// Where.
    #[must_use]
    pub fn backend(&self) -> &Arc<Backend> {
        &self.0
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
