//! Edge. Checks the backends of forwards that ask for it, each on its own beat, and tells the
//! balancer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fastrand::Rng;
use tcpforward_protocol::snapshot::ForwardName;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

use crate::balancer::account::CheckResult;
use crate::balancer::backend::Backend;
use crate::balancer::outcome::Outcome;
use crate::served::{Active, Served};
use crate::shared::Shared;
use crate::view::View;
use check::Check;
use job::Job;
use schedule::{Id, Schedule};
use starvation::Starvation;

mod check;
pub mod expect;
mod http;
mod job;
pub mod schedule;
pub mod starvation;

/// How often it is looked for backends that came or went.
const TICK: Duration = Duration::from_millis(250);

/// A time without a check to come.
const LONG: Duration = Duration::from_secs(3600);

/// Checks what is in service, until it is dropped.
pub async fn run(view: Arc<RwLock<View>>, shared: Arc<Shared>) {
    let mut probes = Probes::new(shared);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beat = tokio::time::interval(starvation::EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let next = probes.schedule.soonest().map(Instant::from_std);
        let next = next.unwrap_or_else(|| Instant::now() + LONG);
        tokio::select! {
            _ = tick.tick() => {
                probes.look(&view.read().unwrap_or_else(PoisonError::into_inner));
            }
            // Whether this thread runs matters only to checks that wait for an answer.
            _ = beat.tick(), if !probes.running.is_empty() => probes.seen(),
            () = sleep_until(next) => probes.begin(),
            Some(ended) = probes.running.join_next() => probes.end(ended),
        }
    }
}

struct Probes {
    forwards: BTreeMap<ForwardName, Watched>,
    jobs: BTreeMap<Id, Job>,
    last_id: Id,
    schedule: Schedule,
    running: JoinSet<Ended>,
    starvation: Starvation,
    rng: Rng,
    shared: Arc<Shared>,
}

/// A forward as it was last looked at.
struct Watched {
    active: Arc<Active>,
    jobs: BTreeMap<(Arc<str>, SocketAddr), Id>,
}

struct Ended {
    id: Id,
    started: Instant,
    outcome: Option<Outcome>,
}

impl Probes {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            forwards: BTreeMap::new(),
            jobs: BTreeMap::new(),
            last_id: 0,
            schedule: Schedule::default(),
            running: JoinSet::new(),
            starvation: Starvation::new(Instant::now().into_std()),
            rng: Rng::new(),
            shared,
        }
    }

    /// Begins to check what came and stops with what went. A forward that is the same as before
    /// costs a comparison of pointers.
    fn look(&mut self, view: &View) {
        let mut before = std::mem::take(&mut self.forwards);
        let rows = view.forwards.iter();
        for (name, row) in rows.filter(|(_, row)| !row.listeners.is_empty()) {
            let active = row.served.active();
            let watched = match before.remove(name) {
                Some(watched) if Arc::ptr_eq(&watched.active, &active) => watched,
                watched => {
                    let known = watched.map(|w| w.jobs).unwrap_or_default();
                    let jobs = self.jobs_of(&row.served, &active, known);
                    Watched { active, jobs }
                }
            };
            self.forwards.insert(name.clone(), watched);
        }
        let gone = before.into_values().flat_map(|watched| watched.jobs);
        gone.for_each(|(_, id)| self.stop(id));
    }

    /// What has to be checked of one forward; what stays the same goes on.
    fn jobs_of(
        &mut self,
        served: &Arc<Served>,
        active: &Active,
        mut known: BTreeMap<(Arc<str>, SocketAddr), Id>,
    ) -> BTreeMap<(Arc<str>, SocketAddr), Id> {
        let mut jobs = BTreeMap::new();
        for (backend, check) in job::checks(served, active) {
            let key = (Arc::clone(&backend.target), backend.address);
            let id = known.remove(&key);
            let is_same = |job: &Job| {
                Arc::ptr_eq(&job.served, served)
                    && Arc::ptr_eq(&job.backend, &backend)
                    && *job.check == check
            };
            let same = id.filter(|id| self.jobs.get(id).is_some_and(is_same));
            let id = same.unwrap_or_else(|| {
                id.into_iter().for_each(|id| self.stop(id));
                self.start(served, backend, check)
            });
            jobs.insert(key, id);
        }
        known.into_values().for_each(|id| self.stop(id));
        jobs
    }

    fn start(&mut self, served: &Arc<Served>, backend: Arc<Backend>, check: Check) -> Id {
        self.last_id += 1;
        let interval = check.active.interval;
        let now = Instant::now().into_std();
        self.schedule
            .first(self.last_id, now, interval, &mut self.rng);
        let job = Job {
            served: Arc::clone(served),
            backend,
            check: Arc::new(check),
            task: None,
        };
        self.jobs.insert(self.last_id, job);
        self.last_id
    }

    fn stop(&mut self, id: Id) {
        self.schedule.remove(id);
        if let Some(task) = self.jobs.remove(&id).and_then(|job| job.task) {
            task.abort();
        }
    }

    /// Makes the checks that are due.
    fn begin(&mut self) {
        let started = Instant::now();
        if self.running.is_empty() {
            self.starvation.rested(started.into_std());
        }
        while let Some(id) = self.schedule.pop(started.into_std()) {
            let Some(job) = self.jobs.get_mut(&id) else {
                continue;
            };
            let (check, shared) = (Arc::clone(&job.check), Arc::clone(&self.shared));
            let task = async move {
                let outcome = check::run(&check, &shared).await;
                Ended {
                    id,
                    started,
                    outcome,
                }
            };
            job.task = Some(self.running.spawn(task));
        }
    }

    fn seen(&mut self) {
        self.starvation.seen(Instant::now().into_std());
    }

    fn end(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        self.seen();
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) if error.is_cancelled() => return,
            Err(error) => return self.died(&error),
        };
        let Some(job) = self.jobs.get_mut(&ended.id) else {
            return;
        };
        job.task = None;
        let (now, started) = (Instant::now().into_std(), ended.started.into_std());
        let interval = job.check.active.interval;
        self.schedule
            .next(ended.id, started, now, interval, &mut self.rng);
        let is_starved = self.starvation.since(started)
            || starvation::is_late(started, job.check.active.timeout, now);
        match ended
            .outcome
            .filter(|o| !(is_starved && job::is_timeout(o)))
        {
            Some(outcome) => job.tell(outcome, &self.shared),
            None => job.served.checked(CheckResult::Unknown),
        }
    }

    /// A task of ours died of a fault: its backend is checked again.
    fn died(&mut self, error: &tokio::task::JoinError) {
        tracing::error!(%error, "a check died of a fault of ours");
        let now = Instant::now().into_std();
        for (id, job) in &mut self.jobs {
            if job
                .task
                .as_ref()
                .is_some_and(|task| task.id() == error.id())
            {
                job.task = None;
                let interval = job.check.active.interval;
                self.schedule.first(*id, now, interval, &mut self.rng);
            }
        }
    }
}

#[cfg(test)]
mod tests;
