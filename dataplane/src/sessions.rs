//! Pure. The open sessions of one forward: who is here, on which backend, and how each is told to
//! end.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use fastrand::Rng;
use tcpforward_protocol::snapshot::Forward;

use crate::relay::ending::Ending;

mod closing;
mod turns;

use closing::{Closing, Rules};

/// The open sessions of one forward. Each worker has a part of its own, so that only the one who
/// closes sessions ever waits for a lock, or makes a worker wait.
#[derive(Debug)]
pub struct Sessions {
    parts: Box<[Mutex<Part>]>,
    /// Something may be wrong that wasn't before.
    stirred: AtomicBool,
    watch: Mutex<Watch>,
}

/// What the one who closes sessions remembers.
#[derive(Debug, Default)]
struct Watch {
    /// Since when the forward is gone.
    gone_since: Option<Instant>,
    closing: Closing,
}

/// The sessions of one worker.
#[derive(Debug, Default)]
struct Part {
    next: u64,
    /// Each has a place in the descriptor budget of the process.
    open: BTreeMap<u64, Arc<Open>>,
    /// Who comes later ends at once as well.
    all: Option<Ending>,
}

/// One session, as those see it who may end it.
#[derive(Debug)]
pub(crate) struct Open {
    /// Whose session it is.
    pub(crate) source: IpAddr,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ending: Option<Ending>,
    waker: Option<Waker>,
}

impl Sessions {
    /// None yet, of that many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            parts: (0..workers.max(1)).map(|_| Mutex::default()).collect(),
            stirred: AtomicBool::new(false),
            watch: Mutex::default(),
        }
    }

    /// A session begins; it is over when the ticket is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>, worker: usize, source: IpAddr) -> Ticket {
        let worker = worker % self.parts.len().max(1);
        let open = Arc::new(Open {
            source,
            state: Mutex::default(),
        });
        let mut id = 0;
        if let Some(mut part) = self.part(worker) {
            id = part.next;
            part.next += 1;
            open.state().ending = part.all;
            part.open.insert(id, Arc::clone(&open));
        }
        Ticket {
            sessions: Arc::clone(self),
            worker,
            id,
            open,
        }
    }

    /// All sessions end now, and so do those that come later.
    pub fn end_all(&self, ending: Ending) {
        for part in &self.parts {
            let mut part = lock(part);
            part.all = Some(ending);
            part.open.values().for_each(|open| open.end(ending));
        }
    }

    /// The forward is gone, since then, or it is back.
    pub fn forward_gone(&self, since: Option<Instant>) {
        lock(&self.watch).gone_since = since;
        self.stir();
    }

    /// A backend, the forward or a right is not what it was: who has to end is looked for anew.
    pub fn stir(&self) {
        self.stirred.store(true, Ordering::Release);
    }

    /// Tells those to end whose time has come. Costs next to nothing while nothing is wrong.
    pub fn tick(&self, forward: &Forward, now: Instant, rng: &mut Rng) {
        let mut watch = lock(&self.watch);
        let Watch {
            gone_since,
            closing,
        } = &mut *watch;
        let rules = Rules {
            established: &forward.spec.relay.established_connections,
            gone_since: *gone_since,
        };
        if self.stirred.swap(false, Ordering::AcqRel) || closing.must_look(now) {
            closing.look(&self.open(), &rules, now, rng);
        }
        closing.close(&rules, now);
    }

    fn open(&self) -> Vec<Arc<Open>> {
        let mut all = Vec::new();
        for part in &self.parts {
            all.extend(lock(part).open.values().cloned());
        }
        all
    }

    fn part(&self, worker: usize) -> Option<MutexGuard<'_, Part>> {
        self.parts.get(worker).map(lock)
    }
}

impl Open {
    /// Whether it has been told to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.state().ending.is_some()
    }

    /// Tells it to end; the first word holds.
    pub(crate) fn end(&self, ending: Ending) {
        let mut state = self.state();
        state.ending.get_or_insert(ending);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A session's entry among the open ones.
#[derive(Debug)]
pub struct Ticket {
    sessions: Arc<Sessions>,
    worker: usize,
    id: u64,
    open: Arc<Open>,
}

impl Ticket {
    /// Completes when the session has to end.
    #[must_use]
    pub fn cut(&self) -> Cut<'_> {
        Cut(&self.open)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(mut part) = self.sessions.part(self.worker) {
            part.open.remove(&self.id);
        }
    }
}

/// Completes when a session has to end, with the word for it.
#[derive(Debug)]
pub struct Cut<'a>(&'a Open);

impl Future for Cut<'_> {
    type Output = Ending;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ending> {
        let mut state = self.0.state();
        if let Some(ending) = state.ending {
            return Poll::Ready(ending);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
