//! Edge. Writes statuses and Services to the API server, by server-side apply and only while leading.
//!
//! A write carries the resourceVersion that it was computed from: a holder that does not know yet
//! that it is none gets 409, and so does a status of an object that has changed meanwhile. The
//! newer object comes by the watch and is computed anew.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::crd::TcpForward;
use crate::lease::{LeaseView, now};
use crate::metrics::Metrics;
use crate::record::{self, Desk, Scribe};
use crate::status::News;

mod queue;
mod services;
mod told;
mod work;

use queue::Next;
pub(crate) use queue::Queue;
pub(crate) use services::{ServiceName, ServiceWrite};
pub(crate) use told::Told;
pub(crate) use work::Work;

/// The field manager: fields of others are left alone, ours are taken back.
const MANAGER: &str = crate::entrance::MANAGER;

/// Writes under way at a time: a restart writes many statuses, the API server has others to serve.
const WORKERS: usize = 4;

const CALL_TIME: Duration = Duration::from_secs(5);

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// A status and the state of the object that it was computed from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StatusPatch<K: Told = TcpForward> {
    pub(crate) name: K::Name,
    pub(crate) resource_version: String,
    pub(crate) uid: String,
    pub(crate) status: K::Status,
    /// What it says that the object's own status, in that state, does not.
    pub(crate) news: Vec<News>,
}

/// Writes what the queue holds, and then tells what is new in it: no Event is about a status that
/// nobody sees.
pub(crate) struct Writer<W: Work = StatusPatch<TcpForward>> {
    pen: Pen<W>,
    /// Absent: nothing is told of these objects.
    scribe: Option<Scribe>,
}

impl<W: Work> Writer<W> {
    pub(crate) fn new(
        client: Client,
        queue: Arc<Queue<W>>,
        lease: watch::Receiver<LeaseView>,
        metrics: Metrics,
    ) -> Self {
        let pen = Pen {
            client,
            queue,
            lease,
            metrics,
            desk: None,
        };
        Self { pen, scribe: None }
    }

    /// The same, which tells by Events what it has written.
    pub(crate) fn telling(mut self, identity: &str) -> Self {
        let pen = &mut self.pen;
        let (lease, metrics) = (pen.lease.clone(), pen.metrics.clone());
        let (desk, scribe) = record::open(pen.client.clone(), identity, lease, metrics);
        pen.desk = Some(desk);
        self.scribe = Some(scribe);
        self
    }

    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let Self { pen, scribe } = self;
        let workers = (0..WORKERS).map(|_| pen.work());
        let telling = async {
            match scribe {
                Some(scribe) => scribe.run().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = futures::future::join_all(workers) => {}
            () = telling => {}
        }
    }
}

struct Pen<W: Work> {
    client: Client,
    queue: Arc<Queue<W>>,
    lease: watch::Receiver<LeaseView>,
    metrics: Metrics,
    desk: Option<Desk>,
}

impl<W: Work> Pen<W> {
    async fn work(&self) {
        let mut lease = self.lease.clone();
        loop {
            // Nobody who tells of the Lease: there is nothing to write until shutdown.
            if lease.wait_for(|view| view.holds(now())).await.is_err() {
                return std::future::pending().await;
            }
            let filled = self.queue.filled.notified();
            tokio::pin!(filled);
            // From here on no notification is lost, though the queue is looked at only now.
            filled.as_mut().enable();
            match self.queue.next(now()) {
                Next::Ready(work, failures) => self.write(*work, failures).await,
                Next::Idle => filled.await,
                Next::Later(time) => {
                    tokio::select! {
                        () = filled => {}
                        () = tokio::time::sleep_until(time.into()) => {}
                    }
                }
            }
        }
    }

    async fn write(&self, work: W, failures: u32) {
        if !self.lease.borrow().holds(now()) {
            // It waits until we hold it again, even if belief lapses too briefly for anyone else to
            // notice. Should another one have written meanwhile, the server refuses this one.
            self.queue.again(work, failures, now());
            return;
        }
        let (what, name, is_new) = (work.what(), work.name().clone(), work.is_new());
        let result = match timeout(CALL_TIME, work.send(&self.client)).await {
            Ok(Ok(())) => {
                if let (Some(desk), Some((subject, news))) = (&self.desk, work.news()) {
                    desk.tell(&subject, news);
                }
                "written"
            }
            Ok(Err(kube::Error::Api(status)))
                if status.is_conflict() || status.is_already_exists() =>
            {
                "conflict"
            }
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() && !is_new => "gone",
            Ok(Err(error)) => {
                if let kube::Error::Api(status) = &error
                    && (400..500).contains(&status.code)
                {
                    self.queue.complain(&name, W::complaint(status));
                }
                self.retry(work, failures, &error.to_string());
                return;
            }
            Err(_) => {
                self.retry(work, failures, "the API server does not answer");
                return;
            }
        };
        self.counted(result);
        tracing::debug!(what, %name, result, "written");
        self.queue.done(&name);
    }

    fn counted(&self, result: &str) {
        W::counter(&self.metrics).with_label_values(&[result]).inc();
    }

    fn retry(&self, work: W, failures: u32, error: &str) {
        self.counted("failed");
        if failures == 0 {
            let (what, name) = (work.what(), work.name());
            tracing::warn!(what, %name, error, "can't write, will try again");
        }
        let pause = FIRST_RETRY
            .saturating_mul(1 << failures.min(6))
            .min(LAST_RETRY)
            .mul_f64(1.0 + fastrand::f64() * 0.2);
        self.queue
            .again(work, failures.saturating_add(1), now() + pause);
    }
}

#[cfg(test)]
mod tests;
