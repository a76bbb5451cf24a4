//! Pure. What is counted of a forward's sessions: each worker for itself, added up when read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tcpforward_protocol::answer::DialError;

use crate::balancer::account::CheckResult;
use crate::relay::ending::{Ending, Side};
use crate::served::Served;

/// How an attempt to reach a backend went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialResult {
    /// The backend's fault.
    Failed(DialError),
    /// Trouble of this host, which says nothing about the backend.
    Local,
    /// Trouble of the parent proxy, which says nothing about the backend.
    Parent,
    /// Connected.
    Reached,
}

impl DialResult {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Failed(DialError::Other),
        Self::Failed(DialError::Refused),
        Self::Failed(DialError::Reset),
        Self::Failed(DialError::Timeout),
        Self::Failed(DialError::Unexpected),
        Self::Failed(DialError::Unreachable),
        Self::Local,
        Self::Parent,
        Self::Reached,
    ];

    /// The metric's label.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed(DialError::Other) => "other",
            Self::Failed(DialError::Refused) => "refused",
            Self::Failed(DialError::Reset) => "reset",
            Self::Failed(DialError::Timeout) => "timeout",
            Self::Failed(DialError::Unexpected) => "unexpected",
            Self::Failed(DialError::Unreachable) => "unreachable",
            Self::Local => "local",
            Self::Parent => "parent",
            Self::Reached => "ok",
        }
    }
}

/// Upper bounds of the classes of connect times, in seconds: a rack, a zone, a country, the world,
/// and the two times at which the kernel sends a lost SYN again.
pub const CONNECT_SECONDS: [f64; 8] = [0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 3.0];

/// Every HTTP status that a CONNECT proxy answers.
pub const STATUSES: [u16; 13] = [
    200, 400, 403, 405, 407, 408, 414, 429, 431, 500, 502, 503, 504,
];

/// One worker's counts of one forward. Aligned, so that no two workers write to one cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counts {
    opened: AtomicU64,
    finished: PerEnding<AtomicU64>,
    dials: [AtomicU64; DialResult::ALL.len()],
    checks: [AtomicU64; CheckResult::ALL.len()],
    connects: [AtomicU64; CONNECT_SECONDS.len() + 1],
    connect_ns: AtomicU64,
    races: AtomicU64,
    races_won: AtomicU64,
    answers: [AtomicU64; STATUSES.len()],
    would_deny: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

/// One for each of `Ending::ALL`, in that order. A type, since std has no default for so long an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerEnding<T>(pub [T; Ending::ALL.len()]);

impl<T: Default> Default for PerEnding<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| T::default()))
    }
}

/// The counts of all workers together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sessions that began.
    pub opened: u64,
    /// Sessions that ended.
    pub finished: PerEnding<u64>,
    /// Attempts to reach a backend, in the order of `DialResult::ALL`.
    pub dials: [u64; DialResult::ALL.len()],
    /// Checks of backends, in the order of `CheckResult::ALL`.
    pub checks: [u64; CheckResult::ALL.len()],
    /// Dials that reached a backend, by how long it took: one for each of `CONNECT_SECONDS`, and
    /// the longer ones.
    pub connects: [u64; CONNECT_SECONDS.len() + 1],
    /// How long they took, together.
    pub connect: Duration,
    /// Attempts that a second backend joined, because the first was slow to answer.
    pub races: u64,
    /// Those of them in which the second one was first.
    pub races_won: u64,
    /// Answers of a CONNECT proxy, in the order of `STATUSES`.
    pub answers: [u64; STATUSES.len()],
    /// Requests that its rules refuse and that were let through, because they only report.
    pub would_deny: u64,
    /// Bytes from downstream to upstream.
    pub up: u64,
    /// Bytes from upstream to downstream.
    pub down: u64,
}

impl Totals {
    /// Sessions at present.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.opened.saturating_sub(self.finished.0.iter().sum())
    }
}

impl Served {
    /// Counts a session that begins.
    pub fn opened(&self, worker: usize) {
        self.count(worker, |c| &c.opened, 1);
    }

    /// Counts a session that ended.
    pub fn finished(&self, worker: usize, ending: Ending) {
        if let Some(counts) = self.counts.get(worker)
            && let Some(finished) = counts.finished.0.get(ending.index())
        {
            finished.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an attempt to reach a backend.
    pub fn dialled(&self, worker: usize, result: DialResult) {
        let index = DialResult::ALL
            .iter()
            .position(|r| *r == result)
            .unwrap_or_default();
        if let Some(counts) = self.counts.get(worker)
            && let Some(dials) = counts.dials.get(index)
        {
            dials.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts how long a backend took to be reached.
    pub fn connected(&self, worker: usize, took: Duration) {
        let seconds = took.as_secs_f64();
        let class = CONNECT_SECONDS.iter().position(|bound| seconds <= *bound);
        if let Some(counts) = self.counts.get(worker)
            && let Some(connects) = counts.connects.get(class.unwrap_or(CONNECT_SECONDS.len()))
        {
            connects.fetch_add(1, Ordering::Relaxed);
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            counts.connect_ns.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    /// Counts a check of a backend. It is no worker that makes them; any one's counts will do.
    pub fn checked(&self, result: CheckResult) {
        let index = CheckResult::ALL.iter().position(|r| *r == result);
        if let Some(counts) = self.counts.first()
            && let Some(checks) = counts.checks.get(index.unwrap_or_default())
        {
            checks.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an attempt in which the second backend was first.
    pub fn race_won(&self, worker: usize) {
        self.count(worker, |c| &c.races_won, 1);
    }

    /// Counts an attempt that a second backend joins.
    pub fn raced(&self, worker: usize) {
        self.count(worker, |c| &c.races, 1);
    }

    /// Counts an answer of a CONNECT proxy.
    pub fn answered(&self, worker: usize, status: u16) {
        let index = STATUSES.iter().position(|known| *known == status);
        if let Some(counts) = self.counts.get(worker)
            && let Some(answers) = index.and_then(|index| counts.answers.get(index))
        {
            answers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a request that is let through though the rules refuse it.
    pub fn would_deny(&self, worker: usize) {
        self.count(worker, |c| &c.would_deny, 1);
    }

    /// Counts bytes that were passed on.
    pub fn passed(&self, worker: usize, from: Side, bytes: u64) {
        match from {
            Side::Downstream => self.count(worker, |c| &c.up, bytes),
            Side::Upstream => self.count(worker, |c| &c.down, bytes),
        }
    }

    fn count(&self, worker: usize, counter: impl Fn(&Counts) -> &AtomicU64, by: u64) {
        if let Some(counts) = self.counts.get(worker) {
            counter(counts).fetch_add(by, Ordering::Relaxed);
        }
    }

    /// The counts of all workers together.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        let add = |to: &mut u64, from: &AtomicU64| *to += from.load(Ordering::Relaxed);
        let add_all = |to: &mut [u64], from: &[AtomicU64]| {
            to.iter_mut().zip(from).for_each(|(to, from)| add(to, from));
        };
        let mut connect_ns = 0;
        for counts in &self.counts {
            add_all(&mut totals.finished.0, &counts.finished.0);
            add_all(&mut totals.dials, &counts.dials);
            add_all(&mut totals.checks, &counts.checks);
            add_all(&mut totals.connects, &counts.connects);
            add_all(&mut totals.answers, &counts.answers);
            add(&mut totals.would_deny, &counts.would_deny);
            add(&mut connect_ns, &counts.connect_ns);
            add(&mut totals.opened, &counts.opened);
            add(&mut totals.races, &counts.races);
            add(&mut totals.races_won, &counts.races_won);
            add(&mut totals.up, &counts.up);
            add(&mut totals.down, &counts.down);
        }
        totals.connect = Duration::from_nanos(connect_ns);
        totals
    }
}
