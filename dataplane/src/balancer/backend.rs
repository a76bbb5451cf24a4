//! Pure. One backend of one forward, as its sessions and the reports share it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tcpforward_protocol::answer::{DialError, LeftOut};
use tcpforward_protocol::snapshot::{Origin, ServiceName};

use crate::balancer::entry::Key;
use crate::balancer::freed::Freed;
use crate::balancer::outcome::Outcome;

pub use crate::balancer::condition::Condition;

/// Counts and what the balancer thinks of it; kept as long as a session holds it.
#[derive(Debug)]
pub struct Backend {
    /// Name of its target.
    pub target: Arc<str>,
    /// Where it is dialled.
    pub address: SocketAddr,
    /// Who says that it is there; sessions keep this when its target is gone.
    pub origin: Origin,
    /// The Service of another namespace whose leave its sessions stand on; absent: they need none.
    pub granted: Option<Arc<ServiceName>>,
    /// What its balancer calls it, as long as that lists it.
    id: AtomicUsize,
    open: AtomicU64,
    total: AtomicU64,
    failed: [AtomicU64; REASONS.len()],
    reached: AtomicU64,
    connect_ns: AtomicU64,
    ejections: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    shown: Mutex<Shown>,
    /// It is full, and whoever leaves says so.
    awaits_room: AtomicBool,
    freed: Arc<Freed>,
}

/// What is counted of a backend since it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions at present.
    pub open: u64,
    /// Sessions that were given to it.
    pub total: u64,
    /// Dials and early resets that failed, in the order of `REASONS`.
    pub failed: [u64; REASONS.len()],
    /// Dials that reached it.
    pub reached: u64,
    /// How long they took, together.
    pub connect: Duration,
    /// Times that it was ejected.
    pub ejections: u64,
    /// Bytes to it.
    pub up: u64,
    /// Bytes from it.
    pub down: u64,
}

/// The kinds of failure, as `Counts::failed` lists them.
pub const REASONS: [DialError; 6] = [
    DialError::Other,
    DialError::Refused,
    DialError::Reset,
    DialError::Timeout,
    DialError::Unexpected,
    DialError::Unreachable,
];

/// Why a backend failed, latest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Kind of failure.
    pub reason: DialError,
    /// The failure's text.
    pub message: String,
    /// Unix milliseconds of the first failure of the present run.
    pub since_ms: u64,
}

/// What the balancer lets others see.
#[derive(Debug)]
struct Shown {
    condition: Condition,
    since: Instant,
    left_out: LeftOut,
    failing: Option<Failing>,
}

impl Backend {
    /// One that its author has named, and of which nothing is known.
    #[must_use]
    pub fn new(target: Arc<str>, address: SocketAddr, now: Instant) -> Self {
        Self::telling(Arc::default(), Key::by_author(target, address), now)
    }

    /// One that says there when it is full no more.
    pub(super) fn telling(freed: Arc<Freed>, key: Key, now: Instant) -> Self {
        Self {
            target: key.target,
            address: key.address,
            origin: key.origin,
            granted: key.granted,
            id: AtomicUsize::default(),
            open: AtomicU64::new(0),
            total: AtomicU64::new(0),
            failed: Default::default(),
            reached: AtomicU64::new(0),
            connect_ns: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            shown: Mutex::new(Shown {
                condition: Condition::Usable,
                since: now,
                left_out: LeftOut::No,
                failing: None,
            }),
            awaits_room: AtomicBool::new(false),
            freed,
        }
    }

    /// Its balancer calls it that from now on.
    pub(super) fn listed_as(&self, id: usize) {
        self.id.store(id, Ordering::Relaxed);
    }

    /// What its balancer called it when it last listed it.
    pub(super) fn id(&self) -> usize {
        self.id.load(Ordering::Relaxed)
    }

    /// Has the next session that leaves say so.
    pub(super) fn await_room(&self) {
        self.awaits_room.store(true, Ordering::SeqCst);
    }

    /// How it stands with the sessions that it has, and since when. A session that began later
    /// was sent there all the same.
    #[must_use]
    pub fn condition(&self) -> (Condition, Instant) {
        let shown = self.shown();
        (shown.condition, shown.since)
    }

    /// Whether, and by what, it is kept from new sessions.
    #[must_use]
    pub fn left_out(&self) -> LeftOut {
        self.shown().left_out
    }

    /// What failed last: the check or the ejection that leaves it out, else the latest dial.
    /// Absent: nothing did.
    #[must_use]
    pub fn failing(&self) -> Option<Failing> {
        self.shown().failing.clone()
    }

    /// Sessions at present.
    #[must_use]
    pub fn open(&self) -> u64 {
        // As strict as `await_room` and a session that leaves, so that one of them sees the other.
        self.open.load(Ordering::SeqCst)
    }

    /// Sessions since it is known.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// All counts, each read by itself.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            open: self.open(),
            total: self.total(),
            failed: std::array::from_fn(|i| self.failed.get(i).map_or(0, load)),
            reached: load(&self.reached),
            connect: Duration::from_nanos(load(&self.connect_ns)),
            ejections: load(&self.ejections),
            up: load(&self.up),
            down: load(&self.down),
        }
    }

    /// Counts a session as long as the returned value lives.
    #[must_use]
    pub fn occupy(self: &Arc<Self>) -> Occupied {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(1, Ordering::Relaxed);
        Occupied(Arc::clone(self))
    }

    /// Counts bytes of its sessions, to it and from it.
    pub fn passed(&self, up: u64, down: u64) {
        self.up.fetch_add(up, Ordering::Relaxed);
        self.down.fetch_add(down, Ordering::Relaxed);
    }

    /// Counts what sessions tell; checks are no sessions.
    pub(super) fn count(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Answered | Outcome::CheckFailed(_) | Outcome::CheckPassed => {}
            Outcome::DialFailed(failure) | Outcome::EarlyReset(failure) => {
                let index = REASONS.iter().position(|r| *r == failure.reason);
                if let Some(count) = index.and_then(|i| self.failed.get(i)) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
            Outcome::Reached { connect } => {
                let nanos = u64::try_from(connect.as_nanos()).unwrap_or(u64::MAX);
                self.reached.fetch_add(1, Ordering::Relaxed);
                self.connect_ns.fetch_add(nanos, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn count_ejection(&self) {
        self.ejections.fetch_add(1, Ordering::Relaxed);
    }

    /// Shows another condition; one that stays keeps its time. True: that is news.
    pub(crate) fn set_condition(&self, condition: Condition, now: Instant) -> bool {
        let mut shown = self.shown();
        if shown.condition == condition {
            return false;
        }
        shown.condition = condition;
        shown.since = now;
        true
    }

    /// Shows whether it is left out and why it is failing; true: that is news.
    pub(super) fn show(&self, left_out: LeftOut, failing: Option<&Failing>) -> bool {
        let mut shown = self.shown();
        let reason = shown.failing.as_ref().map(|f| f.reason);
        let is_news = shown.left_out != left_out || reason != failing.map(|f| f.reason);
        shown.left_out = left_out;
        if shown.failing.as_ref() != failing {
            shown.failing = failing.cloned();
        }
        is_news
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        let awaits_room = &self.0.awaits_room;
        if awaits_room.load(Ordering::SeqCst) && awaits_room.swap(false, Ordering::SeqCst) {
            self.0.freed.add(&self.0);
        }
    }
}
