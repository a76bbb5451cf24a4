//! Edge. Pipes for bulk: few, each either in use or empty and waiting for the next use.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// What a pipe should hold: the most that the kernel gives (`fs.pipe-max-size`).
pub(super) const LARGE: usize = 1 << 20;

/// How many such there are at most: half of what the kernel gives a user (`fs.pipe-user-pages-soft`,
/// 64 MiB where nobody changed it), so that many slow peers leave some for medium ones.
const MOST_LARGE: usize = 32;

/// What the others should hold.
const MEDIUM: usize = 256 << 10;

/// A pipe that comes smaller is none. The kernel gives a user's pipes two pages each once all of them
/// together have reached that.
const SMALLEST: usize = 64 << 10;

/// Descriptors of one.
const PER_PIPE: u32 = 2;

/// What the empty ones hold that each worker keeps for the next use, at most. The kernel counts those of
/// all processes of a user together, so they aren't kept for a rainy day.
const KEPT_PER_WORKER: usize = 4 << 20;

/// And those of all workers together.
const KEPT: usize = 16 << 20;

/// How long no other is made after one came too small, or not at all.
const PAUSE: Duration = Duration::from_secs(1);

/// A pipe. In a box, because most sessions have none.
#[derive(Debug)]
pub(super) struct Pipe(Box<Ends>);

/// Both ends, and room for them among the descriptors of the process.
#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    /// Absent: it isn't one of the large ones.
    large: Option<OwnedSemaphorePermit>,
    /// Last: given back once both are closed.
    _room: OwnedSemaphorePermit,
}

/// Pipes of all workers.
#[derive(Debug)]
pub struct Pipes {
    descriptors: Arc<Semaphore>,
    /// How many may be large still.
    large: Arc<Semaphore>,
    /// With fewer free descriptors no pipe is made: peers that read nothing hold theirs for as long as
    /// they like, and sessions go first.
    floor: usize,
    /// By worker, so that they don't wait for each other.
    empty: Box<[Mutex<Vec<Pipe>>]>,
    /// What those of each worker hold at most.
    kept: usize,
    start: Instant,
    /// Before that no pipe is made, in milliseconds since `start`.
    not_before: AtomicU64,
    /// The same, for large ones.
    no_large_before: AtomicU64,
}

impl Pipe {
    pub(super) fn read(&self) -> BorrowedFd<'_> {
        self.0.read.as_fd()
    }

    pub(super) fn write(&self) -> BorrowedFd<'_> {
        self.0.write.as_fd()
    }

    fn is_large(&self) -> bool {
        self.0.large.is_some()
    }

    /// What it holds, at most.
    fn bytes(&self) -> usize {
        if self.is_large() { LARGE } else { MEDIUM }
    }
}

impl Pipes {
    /// None yet. Each takes its descriptors from these.
    #[must_use]
    pub fn new(descriptors: Arc<Semaphore>, workers: usize) -> Self {
        Self {
            floor: descriptors.available_permits() / 4,
            descriptors,
            large: Arc::new(Semaphore::new(MOST_LARGE)),
            kept: (KEPT / workers.max(1)).clamp(MEDIUM, KEPT_PER_WORKER),
            empty: (0..workers).map(|_| Mutex::default()).collect(),
            start: Instant::now(),
            not_before: AtomicU64::new(0),
            no_large_before: AtomicU64::new(0),
        }
    }

    /// An empty one for that worker, if the process and the kernel have room for it.
    pub(super) fn take(&self, worker: usize) -> Option<Pipe> {
        let kept = self.empty.get(worker)?;
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut pipe = kept.or_else(|| self.make())?;
        self.enlarge(&mut pipe);
        Some(pipe)
    }

    /// Takes an empty one back.
    pub(super) fn give(&self, worker: usize, pipe: Pipe) {
        let Some(kept) = self.empty.get(worker) else {
            return;
        };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: usize = kept.iter().map(Pipe::bytes).sum();
        // Where no descriptor is left, somebody may wait for these.
        if bytes + pipe.bytes() <= self.kept && self.descriptors.available_permits() > 0 {
            // The last one is taken first.
            let place = if pipe.is_large() { kept.len() } else { 0 };
            kept.insert(place, pipe);
        }
    }

    /// Closes those that are empty: somebody needs the descriptors.
    pub fn close_empty(&self) {
        for kept in &self.empty {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            *kept = Vec::new();
        }
    }

    fn make(&self) -> Option<Pipe> {
        let is_scarce = self.descriptors.available_permits() < self.floor;
        if is_scarce || !self.may_try(&self.not_before) {
            return None;
        }
        let made = self.open();
        if made.is_none() {
            self.pause(&self.not_before);
        }
        made
    }

    fn open(&self) -> Option<Pipe> {
        let room = Arc::clone(&self.descriptors);
        let room = room.try_acquire_many_owned(PER_PIPE).ok()?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // Where that is too much, the size that it has may do.
        let _ = fcntl_setpipe_size(&write, MEDIUM);
        let size = fcntl_getpipe_size(&write).ok()?;
        (size >= SMALLEST).then(|| {
            Pipe(Box::new(Ends {
                read,
                write,
                large: None,
                _room: room,
            }))
        })
    }

    /// Makes an empty one large, if there may be one more such.
    fn enlarge(&self, pipe: &mut Pipe) {
        if pipe.is_large() {
            return;
        }
        let Ok(large) = Arc::clone(&self.large).try_acquire_owned() else {
            return;
        };
        if !self.may_try(&self.no_large_before) {
            return;
        }
        match fcntl_setpipe_size(pipe.write(), LARGE) {
            Ok(_) => pipe.0.large = Some(large),
            Err(_) => self.pause(&self.no_large_before),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn may_try(&self, before: &AtomicU64) -> bool {
        self.now() >= before.load(Ordering::Relaxed)
    }

    fn pause(&self, before: &AtomicU64) {
        let pause = u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX);
        before.store(self.now() + pause, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipes(descriptors: usize) -> Pipes {
        Pipes::new(Arc::new(Semaphore::new(descriptors)), 1)
    }

    #[tokio::test]
    async fn an_empty_pipe_is_used_again() {
        let pipes = pipes(2);
        let pipe = pipes.take(0).unwrap();
        assert!(pipes.take(0).is_none(), "no descriptors are left");
        pipes.descriptors.add_permits(1);
        pipes.give(0, pipe);
        assert!(pipes.take(0).is_some());
    }

    fn few_large() -> Pipes {
        Pipes {
            large: Arc::new(Semaphore::new(2)),
            ..pipes(1000)
        }
    }

    fn size(pipe: &Pipe) -> usize {
        fcntl_getpipe_size(pipe.read()).unwrap()
    }

    #[tokio::test]
    async fn no_more_are_kept_than_are_soon_used() {
        let pipes = few_large();
        let taken: Vec<_> = (0..12).map_while(|_| pipes.take(0)).collect();
        assert_eq!(taken.len(), 12);
        for pipe in taken {
            pipes.give(0, pipe);
        }
        // Two large ones, and eight that are not.
        let in_use = 1000 - pipes.descriptors.available_permits();
        assert_eq!(in_use, 2 * 10);
        pipes.close_empty();
        assert_eq!(pipes.descriptors.available_permits(), 1000);
    }

    #[tokio::test]
    async fn as_many_as_may_be_are_large() {
        let pipes = few_large();
        let taken: Vec<_> = (0..3).map_while(|_| pipes.take(0)).collect();
        let sizes: Vec<_> = taken.iter().map(size).collect();
        assert_eq!(sizes, [LARGE, LARGE, MEDIUM]);
        for pipe in taken {
            pipes.give(0, pipe);
        }
        let mut taken: Vec<_> = (0..3).map_while(|_| pipes.take(0)).collect();
        let sizes: Vec<_> = taken.iter().map(size).collect();
        assert_eq!(sizes, [LARGE, LARGE, MEDIUM], "large ones first");
        let medium = taken.pop().unwrap();
        taken.pop();
        pipes.give(0, medium);
        assert_eq!(
            size(&pipes.take(0).unwrap()),
            LARGE,
            "there may be one more"
        );
    }

    #[tokio::test]
    async fn who_waits_for_descriptors_gets_those_of_a_pipe_that_is_empty_again() {
        let pipes = pipes(2);
        let pipe = pipes.take(0).unwrap();
        let waiting = Arc::clone(&pipes.descriptors).acquire_many_owned(2);
        pipes.give(0, pipe);
        assert_eq!(waiting.await.unwrap().num_permits(), 2);
    }

    #[tokio::test]
    async fn the_last_quarter_is_for_sessions() {
        let pipes = pipes(16);
        let taken: Vec<_> = std::iter::from_fn(|| pipes.take(0)).collect();
        assert_eq!(taken.len(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_it_is_tried_again_a_little_later() {
        let pipes = pipes(1);
        assert!(pipes.take(0).is_none());
        pipes.descriptors.add_permits(1);
        assert!(pipes.take(0).is_none(), "not at every byte");
        tokio::time::advance(PAUSE).await;
        assert!(pipes.take(0).is_some());
    }
}
