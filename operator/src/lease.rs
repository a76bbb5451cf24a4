//! Edge. Leader election on a Lease: which replica writes, and which epoch every replica is in.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

mod rule;

pub use rule::Timing;
use rule::{Rule, Step};

/// The Lease as this replica sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseView {
    epoch: u64,
    held: Until,
    fresh: Until,
    met: Met,
}

/// Whether the Lease was ever read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    No,
    Yes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Always,
    Never,
    Time(Instant),
}

impl Until {
    fn includes(self, now: Instant) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Time(end) => now <= end,
        }
    }
}

impl LeaseView {
    /// A process that shares its data planes with nobody: epoch 0, always fresh.
    #[must_use]
    pub fn alone() -> Self {
        Self {
            epoch: 0,
            held: Until::Always,
            fresh: Until::Always,
            met: Met::Yes,
        }
    }

    /// Nothing is known of the Lease yet.
    #[must_use]
    pub fn unseen() -> Self {
        Self::seen(0, None, None)
    }

    pub(crate) fn seen(
        epoch: u64,
        held_until: Option<Instant>,
        fresh_until: Option<Instant>,
    ) -> Self {
        let until = |time: Option<Instant>| time.map_or(Until::Never, Until::Time);
        Self {
            epoch,
            held: until(held_until),
            fresh: until(fresh_until),
            met: match fresh_until {
                Some(_) => Met::Yes,
                None => Met::No,
            },
        }
    }

    /// Whether the Lease was ever read, or there is none to read.
    #[must_use]
    pub fn met(&self) -> bool {
        self.met == Met::Yes
    }

    /// `leaseTransitions`; 0 without a Lease.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether this replica may write; to be asked before each write.
    #[must_use]
    pub fn holds(&self, now: Instant) -> bool {
        match self.held {
            Until::Time(end) => now < end,
            held => held.includes(now),
        }
    }

    /// Whether the Lease was seen moving within two lease durations.
    #[must_use]
    pub fn fresh(&self, now: Instant) -> bool {
        self.fresh.includes(now)
    }
}

/// Takes part in the election until shutdown.
pub struct Election {
    api: Api<Lease>,
    name: String,
    rule: Rule,
    timing: Timing,
    view: watch::Sender<LeaseView>,
    metrics: Metrics,
    failing: bool,
    /// What was logged last; belief also ends by the clock, without any news.
    held: bool,
}

impl Election {
    /// A candidate, and what it will see.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
        timing: Timing,
        metrics: Metrics,
    ) -> (Self, watch::Receiver<LeaseView>) {
        let (view, seen) = watch::channel(LeaseView::unseen());
        let election = Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            rule: Rule::new(namespace, name, identity, timing),
            timing,
            view,
            metrics,
            failing: false,
            held: false,
        };
        (election, seen)
    }

    /// Holds or watches the Lease; gives it away on shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            self.turn().await;
            self.publish();
            let pause = self.pause();
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.release().await;
        self.publish();
    }

    /// One look at the Lease, or one renewal, and what follows from it.
    async fn turn(&mut self) {
        if !self.rule.holds(now()) && !self.look().await {
            return;
        }
        let asked = now();
        let post = PostParams::default();
        let answer = match self.rule.step(asked, Timestamp::now()) {
            Step::Look => return,
            Step::Create(lease) => self.call(self.api.create(&post, &lease)).await,
            Step::Replace(lease) => self.call(self.api.replace(&self.name, &post, &lease)).await,
        };
        match answer {
            Ok(lease) => {
                self.rule.written(lease, asked, now());
                self.worked();
            }
            // Someone else was faster, or it is gone: who holds it now is one look away.
            Err(Failure::Kube(kube::Error::Api(status)))
                if status.is_conflict() || status.is_already_exists() || status.is_not_found() =>
            {
                self.rule.forget();
                self.publish();
                self.look().await;
            }
            Err(failure) => self.failed(&failure),
        }
    }

    async fn look(&mut self) -> bool {
        match self.call(self.api.get_opt(&self.name)).await {
            Ok(lease) => {
                self.rule.observe(lease, now());
                self.worked();
                true
            }
            Err(failure) => {
                self.failed(&failure);
                false
            }
        }
    }

    async fn release(&mut self) {
        let Some(lease) = self.rule.release(now(), Timestamp::now()) else {
            return;
        };
        // Nothing is written from here on, whatever the server answers.
        self.rule.forget();
        self.publish();
        let post = PostParams::default();
        match self.call(self.api.replace(&self.name, &post, &lease)).await {
            Ok(_) => tracing::info!("gave the Lease away"),
            Err(failure) => self.failed(&failure),
        }
    }

    /// A call that hangs must leave room for another one within the renew deadline.
    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failure> {
        match timeout(self.timing.renew_deadline / 2, call).await {
            Ok(answer) => answer.map_err(Failure::Kube),
            Err(_) => Err(Failure::Timeout),
        }
    }

    fn publish(&mut self) {
        let (now, next) = (now(), self.rule.view());
        self.metrics.leader.set(i64::from(next.holds(now)));
        self.metrics
            .epoch
            .set(i64::try_from(next.epoch()).unwrap_or(i64::MAX));
        self.view.send_replace(next);
        let holds = next.holds(now);
        match (std::mem::replace(&mut self.held, holds), holds) {
            (false, true) => tracing::info!(epoch = next.epoch(), "holds the Lease"),
            (true, false) => tracing::info!(epoch = next.epoch(), "holds the Lease no more"),
            _ => {}
        }
    }

    /// Jitter as in client-go: candidates up to 2.2 times, so that they don't race in step.
    fn pause(&self) -> Duration {
        let spread = if self.rule.holds(now()) { 0.2 } else { 1.2 };
        self.timing.retry.mul_f64(1.0 + fastrand::f64() * spread)
    }

    fn worked(&mut self) {
        if std::mem::take(&mut self.failing) {
            tracing::info!(lease = self.name, "the Lease can be reached again");
        }
    }

    fn failed(&mut self, failure: &Failure) {
        self.metrics.lease_errors.inc();
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(lease = self.name, error = %failure, "can't reach the Lease");
        }
    }
}

/// The monotonic clock, which tests may pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Kube(kube::Error),
    #[error("the API server does not answer")]
    Timeout,
}

#[cfg(test)]
mod tests;
