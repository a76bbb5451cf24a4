//! Edge. Sessions that wait for a place on a backend, first come, first served.
//!
//! Places are given out in one way, `Queue::serve`, whenever something may have changed: one was
//! given back, a session came, the forward or a backend is another. So no wake is ever lost.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::balancer::backend::{Backend, Occupied};
use crate::balancer::request::{Candidates, NoPick, Picked, Request, Trial};
use crate::served::Served;

/// Sessions of one forward that wait. Each holds two descriptors and a client who looks at his
/// watch; behind so many it would hardly ever be its turn in time.
const LONGEST: usize = 1024;

/// Those that wait.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<VecDeque<Waiter>>,
    /// As long as `waiting`, readable without the lock.
    len: AtomicUsize,
    next: AtomicU64,
    waited_ns: AtomicU64,
}

#[derive(Debug)]
struct Waiter {
    /// Ascending from the front to the back.
    number: u64,
    tried: Vec<Arc<Backend>>,
    source: IpAddr,
    target: Option<String>,
    answer: oneshot::Sender<Result<Given, NoPick>>,
}

/// Who needs a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    /// Who connected.
    pub(super) source: IpAddr,
    /// The one target that will do; absent: any.
    pub(super) target: Option<&'a str>,
}

/// What was picked, and when.
type Given = (Picked, std::time::Instant);

/// A session's place on a backend. Given back when it is dropped: to the first of those who wait.
#[derive(Debug)]
pub struct Seat {
    /// Absent only while it is dropped.
    occupied: Option<Occupied>,
    backend: Arc<Backend>,
    since: std::time::Instant,
    served: Arc<Served>,
}

/// What was picked, with a seat instead of the bare place.
#[derive(Debug)]
pub(super) struct Seated {
    /// First, because it has to be given back before the seat goes to who waits.
    pub(super) trial: Option<Trial>,
    pub(super) seat: Seat,
    pub(super) candidates: Candidates,
    pub(super) priority: u32,
}

/// Why a session has no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSeat {
    /// Too many wait already.
    Full,
    /// There is none to wait for.
    NoPick(NoPick),
    /// None was free in time.
    Timeout,
}

impl Queue {
    /// Sessions that wait now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits so far: their number, and how long they took together.
    #[must_use]
    pub fn waits(&self) -> (u64, Duration) {
        let waited = self.waited_ns.load(Ordering::Relaxed);
        let number = self.next.load(Ordering::Relaxed);
        (number, Duration::from_nanos(waited))
    }

    /// Gives those who wait what is free, in their order. Whoever has tried some backends may be
    /// unable to use a place that the next one can.
    pub(crate) fn serve(&self, served: &Served, now: std::time::Instant) {
        if self.is_empty() {
            return;
        }
        let mut waiting = self.waiting();
        let mut at = 0;
        while let Some(waiter) = waiting.get(at) {
            let request = Request {
                tried: &waiter.tried,
                source: waiter.source,
                now,
                priority: None,
            };
            let picked = served.pick(waiter.target.as_deref(), &request);
            match picked {
                // Nobody behind can have more choice.
                Err(NoPick::AllFull) if waiter.tried.is_empty() => break,
                Err(NoPick::AllFull) => at += 1,
                answer => {
                    if let Some(waiter) = waiting.remove(at) {
                        // One that has just left gives it back here, and the next one is asked.
                        let _ = waiter.answer.send(answer.map(|picked| (picked, now)));
                    }
                }
            }
        }
        self.len.store(waiting.len(), Ordering::Relaxed);
    }

    fn enter(&self, tried: &[Arc<Backend>], asker: Asker<'_>) -> Result<(u64, Answer), NoSeat> {
        let mut waiting = self.waiting();
        if waiting.len() >= LONGEST {
            return Err(NoSeat::Full);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, receiver) = oneshot::channel();
        waiting.push_back(Waiter {
            number,
            tried: tried.to_vec(),
            source: asker.source,
            target: asker.target.map(str::to_owned),
            answer,
        });
        self.len.store(waiting.len(), Ordering::Relaxed);
        // Either this sees the place that is given back, or who gives it back sees this.
        fence(Ordering::SeqCst);
        Ok((number, receiver))
    }

    fn leave(&self, number: u64) {
        let mut waiting = self.waiting();
        if let Ok(at) = waiting.binary_search_by_key(&number, |waiter| waiter.number) {
            waiting.remove(at);
        }
        self.len.store(waiting.len(), Ordering::Relaxed);
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiter>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Answer = oneshot::Receiver<Result<Given, NoPick>>;

/// A seat for a session that has tried those, waited for until then at most.
pub(super) async fn seat(
    served: &Arc<Served>,
    tried: &[Arc<Backend>],
    asker: Asker<'_>,
    until: Instant,
) -> Result<Seated, NoSeat> {
    let queue = served.queue();
    // Whoever comes later doesn't overtake.
    if queue.is_empty() {
        match pick(served, tried, asker, None) {
            Err(NoPick::AllFull) => {}
            Err(error) => return Err(NoSeat::NoPick(error)),
            Ok(seated) => return Ok(seated),
        }
    }
    let (number, answer) = queue.enter(tried, asker)?;
    let mut waiting = Waiting {
        served,
        number,
        since: Instant::now(),
        answer,
    };
    queue.serve(served, Instant::now().into_std());
    match timeout_at(until, &mut waiting.answer).await {
        Ok(Ok(Ok(given))) => Ok(Seated::new(given, served)),
        Ok(Ok(Err(error))) => Err(NoSeat::NoPick(error)),
        Ok(Err(_)) | Err(_) => Err(NoSeat::Timeout),
    }
}

/// A seat now, or none.
pub(super) fn pick(
    served: &Arc<Served>,
    tried: &[Arc<Backend>],
    asker: Asker<'_>,
    priority: Option<u32>,
) -> Result<Seated, NoPick> {
    let now = Instant::now().into_std();
    let request = Request {
        tried,
        source: asker.source,
        now,
        priority,
    };
    let picked = served.pick(asker.target, &request)?;
    Ok(Seated::new((picked, now), served))
}

/// A place in the queue; given up when it is dropped.
struct Waiting<'a> {
    served: &'a Arc<Served>,
    number: u64,
    since: Instant,
    answer: Answer,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let queue = self.served.queue();
        queue.leave(self.number);
        let waited = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        queue.waited_ns.fetch_add(waited, Ordering::Relaxed);
        self.answer.close();
        // What came too late goes to the next one.
        if let Ok(Ok(given)) = self.answer.try_recv() {
            drop(Seated::new(given, self.served));
        }
    }
}

impl Seated {
    fn new((picked, since): Given, served: &Arc<Served>) -> Self {
        let Picked {
            place,
            candidates,
            priority,
            trial,
        } = picked;
        Self {
            seat: Seat {
                backend: Arc::clone(place.backend()),
                occupied: Some(place),
                since,
                served: Arc::clone(served),
            },
            candidates,
            priority,
            trial,
        }
    }
}

impl Seat {
    /// Where.
    #[must_use]
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// Since when: whatever befalls the backend from then on, a dial that is under way included,
    /// befalls this session.
    #[must_use]
    pub fn since(&self) -> std::time::Instant {
        self.since
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.occupied = None;
        fence(Ordering::SeqCst);
        let now = Instant::now().into_std();
        self.served.queue().serve(&self.served, now);
    }
}

#[cfg(test)]
mod tests;
