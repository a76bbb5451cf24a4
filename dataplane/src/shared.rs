//! Edge. What all sessions of the process have in common: descriptors, news for the reports, counts.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::connect::names::Names;
use crate::connect::users::Checker;
use crate::handover::Loads;
use crate::relay::Pipes;
use crate::socket;

/// Descriptors of one session: its two sockets.
const PER_SESSION: u32 = 2;

/// Descriptors that sessions never get: pages, operators, the snapshot's file, epolls.
const RESERVED: usize = 64;

/// One per process, shared by the workers.
#[derive(Debug)]
pub struct Shared {
    /// Descriptors that the process may have, and those of them that sessions never get.
    limit: usize,
    reserved: usize,
    descriptors: Arc<Semaphore>,
    /// How many sessions each worker has.
    pub loads: Loads,
    /// Dials that waited for their turn, for want of ports.
    pub port_waits: AtomicU64,
    /// For sessions that move much.
    pub pipes: Pipes,
    /// Woken when a backend turns failing or good, or listeners change.
    pub news: Notify,
    /// Connections that could not be accepted.
    pub accept_errors: AtomicU64,
    /// Times that a listener had to wait for descriptors.
    pub accept_waits: AtomicU64,
    /// Connections that another worker serves than the one they came to.
    pub handed_over: AtomicU64,
    /// Questions about names of targets that DNS answered whole.
    pub lookups_answered: AtomicU64,
    /// And those that it did not, or by saying that there is no such name.
    pub lookups_failed: AtomicU64,
    /// When each name of a target is asked for next; absent: it is being asked for.
    lookups_due: Mutex<BTreeMap<String, Instant>>,
    /// Where the names of tunnels lead.
    pub names: Names,
    /// Whether the passwords of their users are right.
    pub passwords: Checker,
    /// The thread that checks backends and resolves names died of a fault of ours.
    pub background_died: AtomicBool,
    /// Sessions cut because the process ended.
    pub cut: AtomicU64,
    /// Addresses that this process listens on for forwards, by port: every dial asks.
    listeners: RwLock<HashMap<u16, Vec<IpAddr>>>,
    /// When an accept error was last logged, in milliseconds since `start`.
    logged_ms: AtomicU64,
    start: Instant,
}

/// Fewer descriptors than are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// So many are.
    pub needed: u64,
    /// So many may be open.
    pub limit: u64,
}

impl Shared {
    /// `limit`: descriptors that the process may have.
    #[must_use]
    pub fn new(limit: usize, workers: usize) -> Self {
        // A tiny limit still leaves three quarters to sessions.
        let reserved = (RESERVED + 4 * workers).min(limit / 4);
        let free = (limit - reserved).min(Semaphore::MAX_PERMITS);
        let descriptors = Arc::new(Semaphore::new(free));
        Self {
            limit,
            reserved,
            loads: Loads::new(workers),
            port_waits: AtomicU64::new(0),
            pipes: Pipes::new(Arc::clone(&descriptors), workers),
            descriptors,
            news: Notify::new(),
            accept_errors: AtomicU64::new(0),
            accept_waits: AtomicU64::new(0),
            handed_over: AtomicU64::new(0),
            lookups_answered: AtomicU64::new(0),
            lookups_failed: AtomicU64::new(0),
            lookups_due: Mutex::default(),
            names: Names::default(),
            passwords: Checker::default(),
            background_died: AtomicBool::new(false),
            cut: AtomicU64::new(0),
            listeners: RwLock::default(),
            logged_ms: AtomicU64::new(0),
            start: Instant::now(),
        }
    }

    /// Whether that many sessions would find descriptors, if there were nobody else.
    ///
    /// # Errors
    /// How many are needed, and how many there are.
    pub fn carries(&self, sessions: u32) -> Result<(), Shortage> {
        let needed = u64::from(sessions) * u64::from(PER_SESSION);
        let needed = needed.saturating_add(self.reserved as u64);
        let limit = self.limit as u64;
        if needed > limit {
            return Err(Shortage { needed, limit });
        }
        Ok(())
    }

    /// Takes the addresses that forwards listen on from now.
    pub fn set_listeners(&self, listeners: impl IntoIterator<Item = SocketAddr>) {
        let mut by_port: HashMap<u16, Vec<IpAddr>> = HashMap::new();
        for address in listeners {
            let there = by_port.entry(address.port()).or_default();
            there.push(address.ip().to_canonical());
        }
        *self
            .listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner) = by_port;
    }

    /// Takes when each name is asked for next.
    pub fn set_lookups_due(&self, due: BTreeMap<String, Instant>) {
        *self
            .lookups_due
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = due;
    }

    /// When each name of a target is asked for next; absent: it is being asked for.
    #[must_use]
    pub fn lookups_due(&self) -> BTreeMap<String, Instant> {
        let due = self.lookups_due.lock();
        due.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a dial there would come back to this process: one such session begets the next,
    /// until no descriptor is left.
    #[must_use]
    pub fn is_own(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let listeners = self
            .listeners
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut there = listeners.get(&address.port()).into_iter().flatten();
        there.any(|listener| match *listener {
            every if every.is_unspecified() => socket::is_of_this_host(ip),
            one => one == ip,
        })
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
        let take = || {
            Arc::clone(&self.descriptors)
                .try_acquire_many_owned(count)
                .ok()
        };
        take().or_else(|| {
            self.pipes.close_empty();
            take()
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dial_that_comes_back_is_known() {
        let shared = Shared::new(1000, 1);
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        shared.set_listeners([address("127.0.0.1:80"), address("[::]:90")]);
        for own in [
            "127.0.0.1:80",
            "[::ffff:127.0.0.1]:80",
            "127.0.0.9:90",
            "[::1]:90",
        ] {
            assert!(shared.is_own(address(own)), "{own}");
        }
        for other in ["127.0.0.1:81", "127.0.0.2:80", "192.0.2.1:90"] {
            assert!(!shared.is_own(address(other)), "{other}");
        }
    }
}
