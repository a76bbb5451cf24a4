//! Edge. Leader election on a Lease: which replica writes, and which epoch every replica is in; and whether
//! this operator may serve at all, beside those with other Leases.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::watch::Scope;

mod others;
mod rule;
mod view;

use others::{Claim, LABEL, Others, Verdict};
pub use others::{Overlap, Shared};
pub use rule::Timing;
use rule::{Rule, Step};
pub use view::LeaseView;

/// Takes part in the election until shutdown.
pub struct Election {
    api: Api<Lease>,
    namespace: String,
    name: String,
    /// Those of all operators.
    all: Api<Lease>,
    rule: Rule,
    watched: Scope,
    others: Others,
    /// The claim that nobody stood in the way of.
    cleared: Option<Claim>,
    waits_for: Option<Overlap>,
    timing: Timing,
    view: watch::Sender<LeaseView>,
    metrics: Metrics,
    failing: bool,
    /// What was logged last; belief also ends by the clock, without any news.
    held: bool,
}

impl Election {
    /// A candidate for an operator that watches that, and what it will see.
    #[must_use]
    pub fn new(
        client: Client,
        (namespace, name): (&str, &str),
        identity: &str,
        watched: Scope,
        timing: Timing,
        metrics: Metrics,
    ) -> (Self, watch::Receiver<LeaseView>) {
        let (view, seen) = watch::channel(LeaseView::unseen());
        let election = Self {
            api: Api::namespaced(client.clone(), namespace),
            all: Api::all(client),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            rule: Rule::new(namespace, name, identity, watched.clone(), timing),
            watched,
            others: Others::new(timing),
            cleared: None,
            waits_for: None,
            timing,
            view,
            metrics,
            failing: false,
            held: false,
        };
        (election, seen)
    }

    /// Holds or watches the Lease; gives it away on shutdown.
    ///
    /// # Errors
    /// Another operator serves what this one is to.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Overlap> {
        loop {
            self.turn().await;
            if let Err(overlap) = self.look_at_others().await {
                self.give_away(Rule::withdrawal).await;
                return Err(overlap);
            }
            self.publish();
            let pause = self.pause();
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.give_away(Rule::release).await;
        self.publish();
        Ok(())
    }

    /// Once for each claim: whether one that was made before it stands in the way.
    async fn look_at_others(&mut self) -> Result<(), Overlap> {
        let claim = self.rule.claim();
        let Some(claim) = claim.filter(|claim| self.cleared.as_ref() != Some(claim)) else {
            return Ok(());
        };
        let (label, value) = LABEL;
        let selector = ListParams::default().labels(&format!("{label}={value}"));
        let leases = match self.call(self.all.list(&selector)).await {
            Ok(leases) => leases.items,
            Err(failure) => {
                self.failed(&failure);
                return Ok(());
            }
        };
        let own = (self.namespace.as_str(), self.name.as_str());
        let verdict = self.others.look(own, &self.watched, &claim, leases, now());
        match verdict {
            Verdict::Free => self.cleared = Some(claim),
            Verdict::Refused(overlap) => return Err(overlap),
            Verdict::Waits(overlap) if self.waits_for.as_ref() != Some(&overlap) => {
                tracing::warn!(%overlap, "waits to see whether another operator lives");
                self.waits_for = Some(overlap);
            }
            Verdict::Waits(_) => {}
        }
        Ok(())
    }

    /// What may be known: nothing of a Lease whose claim may be void.
    fn seen(&self) -> LeaseView {
        match &self.cleared {
            None => LeaseView::unseen(),
            cleared if *cleared == self.rule.claim() => self.rule.view(),
            Some(_) => self.rule.view().of_another(),
        }
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

    async fn give_away(&mut self, how: fn(&Rule, Instant, Timestamp) -> Option<Lease>) {
        let Some(lease) = how(&self.rule, now(), Timestamp::now()) else {
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
        let (now, next) = (now(), self.seen());
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
