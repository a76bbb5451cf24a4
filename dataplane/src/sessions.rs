//! Pure. The open sessions of one forward: who is here, on which backend, and how each is told to
//! end.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fastrand::Rng;
use tcpforward_protocol::snapshot::Forward;

use crate::relay::ending::Ending;
use crate::served::Active;

mod closing;
mod rights;
mod ticket;
mod turns;

pub use closing::Doomed;
pub use ticket::{Cut, Ticket};

use closing::{Closing, Rules};
use rights::{Law, Rights};
use ticket::Open;

/// The open sessions of one forward. Each worker has a part of its own, so that only the one who
/// closes sessions ever waits for a lock, or makes a worker wait.
#[derive(Debug)]
pub struct Sessions {
    parts: Box<[Mutex<Part>]>,
    /// Something may be wrong that wasn't before.
    stirred: AtomicBool,
    /// Who may come is not what it was.
    rights_stirred: AtomicBool,
    /// The forward is gone.
    gone: AtomicBool,
    watch: Mutex<Watch>,
}

/// What the one who closes sessions remembers.
#[derive(Debug, Default)]
struct Watch {
    /// Since when the forward is gone.
    gone_since: Option<Instant>,
    closing: Closing,
    rights: Rights,
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

impl Sessions {
    /// None yet, of that many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            parts: (0..workers.max(1)).map(|_| Mutex::default()).collect(),
            stirred: AtomicBool::new(false),
            rights_stirred: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            watch: Mutex::default(),
        }
    }

    /// A session begins.
    #[must_use]
    pub fn enter(self: &Arc<Self>, worker: usize, peer: IpAddr) -> Ticket {
        let worker = worker % self.parts.len().max(1);
        let (id, open) = match self.part(worker) {
            Some(mut part) => part.enter(peer),
            None => (0, Arc::new(Open::new(peer, None))),
        };
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
        self.gone.store(since.is_some(), Ordering::Release);
        self.stir();
        self.rights_changed();
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// A backend or the forward is not what it was: who has to end is looked for anew.
    pub fn stir(&self) {
        self.stirred.store(true, Ordering::Release);
    }

    /// Who may come is not what it was.
    pub fn rights_changed(&self) {
        self.rights_stirred.store(true, Ordering::Release);
    }

    /// Tells those to end whose time has come. Costs next to nothing while nothing is wrong.
    pub fn tick(&self, active: &Active, now: Instant, rng: &mut Rng) {
        let forward = &active.forward;
        let mut watch = lock(&self.watch);
        let Watch {
            gone_since,
            closing,
            rights,
        } = &mut *watch;
        let law = Law {
            active,
            is_gone: gone_since.is_some(),
        };
        if self.rights_stirred.swap(false, Ordering::AcqRel) {
            rights.look(&self.open(), law, now, rng);
        }
        rights.cut(law, now);
        let rules = Rules {
            established: &forward.spec.relay.established_connections,
            gone_since: *gone_since,
        };
        if self.stirred.swap(false, Ordering::AcqRel) || closing.must_look(now) {
            closing.look(&self.open(), &rules, now, rng);
        }
        closing.close(&rules, now);
    }

    /// Sessions that will be closed, by the word for it. They are only looked through while there
    /// may be some.
    #[must_use]
    pub fn doomed(&self, forward: &Forward, now: Instant) -> BTreeMap<Ending, Doomed> {
        let watch = lock(&self.watch);
        let rules = Rules {
            established: &forward.spec.relay.established_connections,
            gone_since: watch.gone_since,
        };
        let mut doomed = if watch.closing.is_busy() {
            closing::doomed(&self.open(), &rules, now)
        } else {
            BTreeMap::new()
        };
        for (ending, lost) in watch.rights.waiting() {
            doomed.entry(ending).or_default().due = lost;
        }
        doomed
    }

    fn leave(&self, worker: usize, id: u64) {
        if let Some(mut part) = self.part(worker) {
            part.open.remove(&id);
        }
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

impl Part {
    fn enter(&mut self, peer: IpAddr) -> (u64, Arc<Open>) {
        let id = self.next;
        self.next += 1;
        let open = Arc::new(Open::new(peer, self.all));
        self.open.insert(id, Arc::clone(&open));
        (id, open)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
