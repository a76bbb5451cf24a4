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

/// How many such there are at most, so that they leave half of what the kernel gives a user
/// (`fs.pipe-user-pages-soft`, 64 MiB where nobody changed it) to others.
const MOST_LARGE: usize = 32;

/// What the others should hold.
const MEDIUM: usize = 256 << 10;

/// A pipe that comes smaller is none. The kernel gives a user's pipes two pages each once all of them
/// together have reached that.
const SMALLEST: usize = 64 << 10;

/// Descriptors of one.
const PER_PIPE: u32 = 2;

/// Empty ones that each worker keeps for the next use.
const KEPT_PER_WORKER: usize = 16;

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
    start: Instant,
    /// Before that no pipe is made, in milliseconds since `start`.
    not_before: AtomicU64,
}

impl Pipe {
    pub(super) fn read(&self) -> BorrowedFd<'_> {
        self.0.read.as_fd()
    }

    pub(super) fn write(&self) -> BorrowedFd<'_> {
        self.0.write.as_fd()
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
            empty: (0..workers).map(|_| Mutex::default()).collect(),
            start: Instant::now(),
            not_before: AtomicU64::new(0),
        }
    }

    /// An empty one for that worker, if the process and the kernel have room for it.
    pub(super) fn take(&self, worker: usize) -> Option<Pipe> {
        let kept = self.empty.get(worker)?;
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.or_else(|| self.make())
    }

    /// Takes an empty one back.
    pub(super) fn give(&self, worker: usize, pipe: Pipe) {
        if let Some(kept) = self.empty.get(worker) {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            // Where none is left, somebody may wait for these.
            if kept.len() < KEPT_PER_WORKER && self.descriptors.available_permits() > 0 {
                // The last one is taken first.
                let place = if pipe.0.large.is_some() {
                    kept.len()
                } else {
                    0
                };
                kept.insert(place, pipe);
            }
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
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let is_scarce = self.descriptors.available_permits() < self.floor;
        if is_scarce || now < self.not_before.load(Ordering::Relaxed) {
            return None;
        }
        let made = self.open();
        if made.is_none() {
            let pause = u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX);
            self.not_before.store(now + pause, Ordering::Relaxed);
        }
        made
    }

    fn open(&self) -> Option<Pipe> {
        let room = Arc::clone(&self.descriptors);
        let room = room.try_acquire_many_owned(PER_PIPE).ok()?;
        let large = Arc::clone(&self.large).try_acquire_owned().ok();
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        let large = large.filter(|_| fcntl_setpipe_size(&write, LARGE).is_ok());
        if large.is_none() {
            // Where that is too much, the size that it has may do.
            let _ = fcntl_setpipe_size(&write, MEDIUM);
        }
        let size = fcntl_getpipe_size(&write).ok()?;
        (size >= SMALLEST).then(|| {
            Pipe(Box::new(Ends {
                read,
                write,
                large,
                _room: room,
            }))
        })
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

    #[tokio::test]
    async fn no_more_are_kept_than_are_soon_used() {
        let pipes = pipes(1000);
        let taken: Vec<_> = (0..=KEPT_PER_WORKER).map(|_| pipes.take(0)).collect();
        for pipe in taken.into_iter().flatten() {
            pipes.give(0, pipe);
        }
        let in_use = 1000 - pipes.descriptors.available_permits();
        assert_eq!(in_use, 2 * KEPT_PER_WORKER);
        pipes.close_empty();
        assert_eq!(pipes.descriptors.available_permits(), 1000);
    }

    #[tokio::test]
    async fn a_large_one_is_used_first_and_they_are_few() {
        let pipes = pipes(1000);
        let mut taken: Vec<_> = (0..=MOST_LARGE).map_while(|_| pipes.take(0)).collect();
        let size = |pipe: &Pipe| fcntl_getpipe_size(pipe.read()).unwrap();
        let medium = taken.pop().unwrap();
        assert_eq!(size(&medium), MEDIUM);
        assert!(taken.iter().all(|pipe| size(pipe) == LARGE));
        pipes.give(0, taken.pop().unwrap());
        pipes.give(0, medium);
        assert_eq!(size(&pipes.take(0).unwrap()), LARGE);
        assert_eq!(size(&pipes.take(0).unwrap()), MEDIUM);
        assert_eq!(
            size(&pipes.take(0).unwrap()),
            LARGE,
            "room for one was left behind"
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
