//! Edge. New sessions go from a worker that has many to one that has few.
//!
//! The kernel deals connections to the workers by a hash, whatever they have to do already: with few
//! long sessions one core may have most of them.

use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::shared::{Context, Shared};

/// With fewer sessions more than another worker nobody is busy: moving one costs two system calls,
/// and chance alone makes such differences between short ones.
const SLACK: u32 = 8;

/// And with less than this part more.
const PART: u32 = 8;

/// How many sessions each worker has.
#[derive(Debug)]
pub struct Loads(Box<[Load]>);

/// Of one worker. Aligned, so that no two workers write to one cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Load(AtomicU32);

/// A connection that was accepted and is not looked at yet.
#[derive(Debug)]
pub struct Newcomer {
    /// Its socket, which no runtime watches yet.
    pub stream: TcpStream,
    /// Who connected.
    pub client: SocketAddr,
    /// Room for its sockets, until its session is over.
    pub descriptors: Option<OwnedSemaphorePermit>,
    /// The worker that serves it, which it counts for already: those that are on their way are work, too.
    pub placed: Placed,
}

/// A session's place on its worker, for which it counts as long as this lives.
#[derive(Debug)]
pub struct Placed(Context);

/// A worker's way to the others, for one listener that all of them have.
#[derive(Debug)]
pub struct Exchange {
    /// Unbounded: each one holds descriptors, of which there are so many.
    all: Arc<[mpsc::UnboundedSender<Newcomer>]>,
    mine: mpsc::UnboundedReceiver<Newcomer>,
}

impl Loads {
    /// Of that many workers, which have none yet.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Load::default()).collect())
    }

    /// How many that worker has.
    #[must_use]
    pub fn open(&self, worker: usize) -> u32 {
        let load = self.0.get(worker);
        load.map_or(0, |Load(open)| open.load(Ordering::Relaxed))
    }

    fn enter(&self, worker: usize) {
        if let Some(Load(open)) = self.0.get(worker) {
            open.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn leave(&self, worker: usize) {
        if let Some(Load(open)) = self.0.get(worker) {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Who should have a session that came to this worker: a second one, which `chance` picks, if it has
    /// much less to do. Not the idlest of all: to look at two is nearly as good (Mitzenmacher, "The Power
    /// of Two Choices") and costs one look at what another core writes.
    #[must_use]
    pub fn place(&self, worker: usize, chance: usize) -> usize {
        let others = self.0.len().saturating_sub(1);
        if others == 0 {
            return worker;
        }
        let other = (worker + 1 + chance % others) % self.0.len();
        let (mine, its) = (self.open(worker), self.open(other));
        if mine > its + its / PART + SLACK {
            other
        } else {
            worker
        }
    }
}

impl Placed {
    /// On that worker.
    #[must_use]
    pub fn on(worker: usize, shared: &Arc<Shared>) -> Self {
        shared.loads.enter(worker);
        Self(Context {
            worker,
            shared: Arc::clone(shared),
        })
    }
}

impl Deref for Placed {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.0
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        self.shared.loads.leave(self.worker);
    }
}

impl Exchange {
    /// One for each of that many workers.
    #[must_use]
    pub fn between(workers: usize) -> Vec<Self> {
        let ways = (0..workers).map(|_| mpsc::unbounded_channel());
        let (all, mine): (Vec<_>, Vec<_>) = ways.unzip();
        let all: Arc<[_]> = all.into();
        let exchange = |mine| Self {
            all: Arc::clone(&all),
            mine,
        };
        mine.into_iter().map(exchange).collect()
    }

    /// Hands one over to the worker that it is placed on.
    ///
    /// # Errors
    /// That worker takes no more: the one who has it keeps it.
    pub fn give(&self, newcomer: Newcomer) -> Result<(), Newcomer> {
        match self.all.get(newcomer.placed.worker) {
            Some(way) => way
                .send(newcomer)
                .map_err(|mpsc::error::SendError(kept)| kept),
            None => Err(newcomer),
        }
    }

    /// One that another worker has handed over; none any more once it is closed and those that were on
    /// their way have come.
    pub async fn next(&mut self) -> Option<Newcomer> {
        self.mine.recv().await
    }

    /// Takes no more.
    pub fn close(&mut self) {
        self.mine.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(open: &[u32]) -> Loads {
        let loads = Loads::new(open.len());
        for (worker, open) in open.iter().enumerate() {
            (0..*open).for_each(|_| loads.enter(worker));
        }
        loads
    }

    #[test]
    fn a_small_difference_moves_nobody() {
        assert_eq!(loads(&[SLACK, 0]).place(0, 0), 0);
        assert_eq!(loads(&[SLACK + 1, 0]).place(0, 0), 1);
        let much = 1000 + 1000 / PART + SLACK;
        assert_eq!(loads(&[much, 1000]).place(0, 0), 0);
        assert_eq!(loads(&[much + 1, 1000]).place(0, 0), 1);
    }

    #[test]
    fn whoever_has_less_keeps_what_comes() {
        assert_eq!(loads(&[0, 100]).place(0, 0), 0);
    }

    #[test]
    fn chance_picks_each_of_the_others() {
        let loads = loads(&[0, 0, 100, 0]);
        let places: Vec<_> = (0..4).map(|chance| loads.place(2, chance)).collect();
        assert_eq!(places, [3, 0, 1, 3]);
    }

    #[test]
    fn one_worker_has_nobody_to_give_to() {
        assert_eq!(loads(&[100]).place(0, 7), 0);
    }

    #[test]
    fn what_ended_counts_no_more() {
        let loads = loads(&[SLACK + 1, 0]);
        loads.leave(0);
        assert_eq!(loads.place(0, 0), 0);
    }

    fn newcomer(worker: usize, shared: &Arc<Shared>) -> Newcomer {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, address) = listener.accept().unwrap();
        drop(client);
        Newcomer {
            stream,
            client: address,
            descriptors: None,
            placed: Placed::on(worker, shared),
        }
    }

    #[tokio::test]
    async fn what_is_on_its_way_to_one_that_stops_is_kept_and_what_comes_later_is_given_back() {
        let shared = Arc::new(Shared::new(1000, 2));
        let mut ends = Exchange::between(2);
        let (mut second, first) = (ends.pop().unwrap(), ends.pop().unwrap());
        first.give(newcomer(1, &shared)).unwrap();
        second.close();
        first.give(newcomer(1, &shared)).unwrap_err();
        assert!(second.next().await.is_some());
        assert!(second.next().await.is_none());
    }

    #[test]
    fn one_that_is_on_its_way_counts_already() {
        let shared = Arc::new(Shared::new(1000, 2));
        let ends = Exchange::between(2);
        for _ in 0..=SLACK {
            ends[0].give(newcomer(1, &shared)).unwrap();
        }
        assert_eq!(shared.loads.place(1, 0), 0);
        drop(ends);
        assert_eq!(shared.loads.place(1, 0), 1, "nor does it any more");
    }
}
