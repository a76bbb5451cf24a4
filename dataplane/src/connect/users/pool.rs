//! Edge. Threads that check passwords, so that no session waits while one is hashed.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::verify::{Secret, Test, Work};

/// As many at a time: one that is dear doesn't keep all others waiting.
const THREADS: usize = 2;

/// Passwords that wait: those of a client that opens that many connections at once are one hash, and
/// of different ones few would have their turn in time.
const WAITING: usize = 1024;

/// They give way to the threads of sessions where cores are few.
const NICE: i32 = 10;

/// A password to check.
pub(super) struct Job {
    pub(super) test: Test,
    pub(super) secret: Secret,
    pub(super) verdict: oneshot::Sender<bool>,
}

/// It could not be taken.
#[derive(Debug)]
pub(super) struct Full;

/// The threads start with the first job, as most data planes never have one.
#[derive(Debug)]
pub(super) struct Pool {
    /// How many threads.
    count: usize,
    /// Absent: it ends.
    jobs: Option<SyncSender<Job>>,
    turn: Arc<Mutex<Receiver<Job>>>,
    work: Arc<Work>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(THREADS, WAITING)
    }
}

impl Pool {
    pub(super) fn new(count: usize, waiting: usize) -> Self {
        let (jobs, turn) = sync_channel(waiting);
        Self {
            count,
            jobs: Some(jobs),
            turn: Arc::new(Mutex::new(turn)),
            work: Arc::default(),
            threads: Mutex::default(),
        }
    }

    pub(super) fn work(&self) -> &Arc<Work> {
        &self.work
    }

    #[cfg(test)]
    pub(super) fn turn(&self) -> &Mutex<Receiver<Job>> {
        &self.turn
    }

    pub(super) fn submit(&self, job: Job) -> Result<(), Full> {
        self.start();
        let sent = self.jobs.as_ref().map(|jobs| jobs.try_send(job));
        sent.and_then(Result::ok).ok_or(Full)
    }

    /// Whoever the host gives no thread for is checked by those that there are, and without any
    /// waits in vain.
    fn start(&self) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        while threads.len() < self.count {
            let (turn, work) = (Arc::clone(&self.turn), Arc::clone(&self.work));
            let thread = std::thread::Builder::new()
                .name(format!("passwords-{}", threads.len()))
                .spawn(move || run(&turn, &work));
            match thread {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    // At debug, as it comes with every password; Busy is what is counted.
                    tracing::debug!(%error, "no thread to check passwords with");
                    return;
                }
            }
        }
    }
}

fn run(turn: &Mutex<Receiver<Job>>, work: &Work) {
    // Of this thread alone. Where it isn't allowed, it goes on without.
    let _ = rustix::process::nice(NICE);
    // The turn is another thread's as soon as this one has a job.
    let next = || turn.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(job) = next() {
        job.run(work);
    }
}

impl Job {
    /// Nothing at all for whoever has left.
    pub(super) fn run(self, work: &Work) {
        if !self.verdict.is_closed() {
            let verdict = work.verify(&self.test, &self.secret);
            // Who has left meanwhile doesn't hear it.
            let _ = self.verdict.send(verdict);
        }
    }
}

/// Nobody waits any more: what is begun is ended, what waits is thrown away.
impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        let threads = self.threads.get_mut();
        for thread in threads.unwrap_or_else(PoisonError::into_inner).drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}
