//! Edge. Two TUN devices joined by a thread that carries packets as two [`Direction`]s say.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use fastrand::Rng;
use hdrhistogram::Histogram;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tun_rs::{AsyncDevice, SyncDevice};

use crate::clock::Clock;
use crate::path::direction::{Counts, Direction, Shape};

/// A link at work. Dropping it ends it; both devices are gone then.
#[derive(Debug)]
pub struct Link {
    lines: [Arc<Mutex<Line>>; 2],
    failure: oneshot::Receiver<Error>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// One direction, and how late its packets came out.
#[derive(Debug)]
struct Line {
    direction: Direction,
    /// Microseconds.
    late: Histogram<u64>,
}

/// More than any packet has.
const BUFFER: usize = 64 << 10;

/// Microseconds; what is later counts as that.
const LATEST: u64 = 10_000_000;

impl Link {
    /// Joins those devices, without loss, until [`Self::becomes`] says another thing.
    ///
    /// # Errors
    /// Out of memory or threads.
    pub fn start(devices: [SyncDevice; 2], shape: Shape) -> Result<Self> {
        let line = || -> Result<_> {
            let direction = Direction::new(Shape { loss: 0.0, ..shape }, Rng::with_seed(0));
            let late = Histogram::new_with_bounds(1, LATEST, 3)?;
            Ok(Arc::new(Mutex::new(Line { direction, late })))
        };
        let lines = [line()?, line()?];
        let (stop, stopped) = oneshot::channel();
        let (fail, failure) = oneshot::channel();
        let theirs = lines.clone();
        let thread = thread::Builder::new().name("link".to_owned());
        let thread = thread.spawn(move || {
            if let Err(error) = work(devices, &theirs, stopped) {
                // Nobody asks any more when the link is being dropped.
                let _ = fail.send(error);
            }
        })?;
        Ok(Self {
            lines,
            failure,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Both directions are like that from now on; the same seed takes the same packets.
    pub fn becomes(&self, shape: Shape, seed: u64) {
        for (line, seed) in self.lines.iter().zip([seed, !seed]) {
            let chance = Rng::with_seed(seed);
            lock(line).direction.becomes(shape, chance);
        }
    }

    /// What became of the packets to the second device, and of those to the first.
    #[must_use]
    pub fn counts(&self) -> [Counts; 2] {
        self.lines
            .each_ref()
            .map(|line| lock(line).direction.counts())
    }

    /// How late the latest hundredth of packets came out, at least.
    #[must_use]
    pub fn late(&self) -> Duration {
        let late = self
            .lines
            .iter()
            .map(|line| lock(line).late.value_at_quantile(0.99));
        Duration::from_micros(late.max().unwrap_or_default())
    }

    /// Waits until it fails, which it should not.
    pub async fn failure(&mut self) -> Error {
        let failure = (&mut self.failure).await;
        failure.unwrap_or_else(|_| anyhow!("the link's thread is gone"))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic has been printed, and nobody is left to be told.
            let _ = thread.join();
        }
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(
    devices: [SyncDevice; 2],
    lines: &[Arc<Mutex<Line>>; 2],
    stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let [first, second] = devices.map(AsyncDevice::new);
        let (first, second) = (first?, second?);
        let [forth, back] = lines;
        let start = Instant::now();
        tokio::select! {
            failed = carry(&first, &second, forth, start) => failed,
            failed = carry(&second, &first, back, start) => failed,
            _ = stopped => Ok(()),
        }
    })
}

async fn carry(
    from: &AsyncDevice,
    to: &AsyncDevice,
    line: &Mutex<Line>,
    start: Instant,
) -> Result<()> {
    let clock = Clock::new()?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let due = lock(line).direction.due();
        let wait = async {
            match due {
                Some(due) => clock.until(start + due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // What waits at the device comes first: a timer is set only before a rest.
            biased;
            read = from.recv(&mut buffer) => {
                let read = read.context("reading a device")?;
                let packet = buffer.get(..read).unwrap_or_default().to_vec();
                lock(line).direction.offer(start.elapsed(), packet);
            }
            waited = wait => waited?,
        }
        while let Some(packet) = next(line, start) {
            to.send(&packet).await.context("writing a device")?;
        }
    }
}

fn next(line: &Mutex<Line>, start: Instant) -> Option<Vec<u8>> {
    let mut line = lock(line);
    let now = start.elapsed();
    let (due, packet) = line.direction.take(now)?;
    let late = u64::try_from((now - due).as_micros()).unwrap_or(LATEST);
    line.late.saturating_record(late);
    Some(packet)
}
