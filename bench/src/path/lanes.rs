//! Edge. A whole run: several paths, and on each one transfer after the other until none is left.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tcpforward_tests::lab::{self, Lab, Network};
use tcpforward_tests::payload::Payload;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::machine;
use crate::path::far::Far;
use crate::path::forwarder;
use crate::path::link::Link;
use crate::path::place::End;
use crate::path::plan::{Job, Plan};
use crate::path::results::{self, Results};
use crate::path::route::Route;
use crate::path::transfer;

/// No transfer takes longer, or it hangs: the longest that is planned takes half of it.
const DEADLINE: Duration = Duration::from_secs(900);

/// Handshakes by which a path is measured; any of them may be late by the machine's fault.
const HANDSHAKES: usize = 5;

/// What lanes share.
struct Run<'a> {
    plan: &'a Plan,
    ours: &'a Path,
    told: &'a (dyn Fn(&str) + Sync),
    /// Those that go one after the other, and those that go side by side.
    jobs: Mutex<[VecDeque<Job>; 2]>,
    results: Mutex<Results>,
    has_failed: watch::Sender<bool>,
}

/// Does all that is planned with the program `ours`, which any user may run; `told` hears of each transfer.
///
/// # Errors
/// Not root, a path can't be made, or a transfer fails.
pub fn run(ours: &Path, plan: &Plan, told: &(dyn Fn(&str) + Sync)) -> Result<Results> {
    let results = Results::new(machine::describe()?, machine::version(ours)?, plan.clone());
    let run = Run {
        plan,
        ours,
        told,
        jobs: Mutex::new(plan.jobs().map(VecDeque::from)),
        results: Mutex::new(results),
        has_failed: watch::channel(false).0,
    };
    thread::scope(|scope| {
        let lanes = (0..plan.lanes.max(1)).map(|lane| {
            let run = &run;
            scope.spawn(move || run.lane(lane))
        });
        let lanes: Vec<_> = lanes.collect();
        let ended = lanes.into_iter().map(|lane| lane.join());
        let ended = ended.map(|lane| lane.unwrap_or_else(|_| Err(anyhow!("a panic"))));
        // All of them, before anything else is done.
        let ended: Vec<_> = ended.collect();
        ended.into_iter().collect::<Result<()>>()
    })?;
    Ok(run
        .results
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

impl Run<'_> {
    fn lane(&self, lane: usize) -> Result<()> {
        let mut others = self.has_failed.subscribe();
        let ended = lab::run(Network::Namespace, async |lab| {
            tokio::select! {
                ended = self.work(lab, lane) => ended,
                _ = others.wait_for(|has_failed| *has_failed) => Ok(()),
            }
        });
        if ended.is_err() {
            self.has_failed.send_replace(true);
        }
        ended
    }

    async fn work(&self, lab: &Lab, lane: usize) -> Result<()> {
        let (far, device) = Far::start(self.ours.to_owned(), self.plan.controls.clone()).await?;
        let mut link = Link::start([End::Near.device()?, device], self.plan.shape)?;
        let near = forwarder::start(lab, self.ours, End::Near, &self.plan.controls).await?;
        let notes = [far.notes.clone(), forwarder::notes(&near).await?].concat();
        let rtt = handshake().await?;
        while let Some(job) = self.next(lane) {
            link.becomes(self.plan.shape(job.what), job.seed());
            let seconds = tokio::select! {
                seconds = self.transfer(job) => seconds?,
                error = link.failure() => return Err(error),
            };
            (self.told)(&told(self.plan, job, seconds));
            self.results().note(job.cell, job.route, seconds);
        }
        let mut path = results::Path {
            rtt: rtt.as_secs_f64() * 1e3,
            late: link.late().as_secs_f64() * 1e6,
            ..results::Path::default()
        };
        for counts in link.counts() {
            path.counts.offered += counts.offered;
            path.counts.lost += counts.lost;
            path.counts.dropped += counts.dropped;
        }
        self.note(path, notes);
        forwarder::end(near)?;
        far.end()
    }

    /// The first lane has those that go one after the other; all share the rest.
    fn next(&self, lane: usize) -> Option<Job> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let [busy, slow] = &mut *jobs;
        let own = if lane == 0 { busy.pop_front() } else { None };
        own.or_else(|| slow.pop_front())
    }

    async fn transfer(&self, job: Job) -> Result<f64> {
        let (to, control) = (job.route.address(), job.route.control(&self.plan.controls));
        let payload = Payload {
            bytes: job.what.bytes,
            seed: job.seed(),
        };
        let transfer = transfer::run(to, job.what.way, control, payload);
        let what = || format!("{job:?}");
        match timeout(DEADLINE, transfer).await {
            Ok(time) => Ok(time.with_context(what)?.as_secs_f64()),
            Err(_) => bail!("no end after {DEADLINE:?}: {job:?}"),
        }
    }

    fn note(&self, path: results::Path, notes: Vec<String>) {
        let mut results = self.results();
        results.path.add(path);
        for note in notes {
            if !results.notes.contains(&note) {
                results.notes.push(note);
            }
        }
    }

    fn results(&self) -> MutexGuard<'_, Results> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time of a handshake over the path, which loses nothing yet.
async fn handshake() -> Result<Duration> {
    let mut quickest = DEADLINE;
    for _ in 0..HANDSHAKES {
        let start = Instant::now();
        let dial = tokio::net::TcpStream::connect(Route::Slow.address());
        let stream = timeout(DEADLINE, dial).await.context("the path")??;
        quickest = quickest.min(start.elapsed());
        drop(stream);
    }
    Ok(quickest)
}

fn told(plan: &Plan, job: Job, seconds: f64) -> String {
    format!(
        "{} bytes {:?} at {} % loss, round {} of {}, {}: {seconds:.2} s",
        job.what.bytes,
        job.what.way,
        job.what.loss,
        job.round,
        job.what.rounds,
        job.route.name(&plan.controls),
    )
}
