//! Edge. Writes statuses to the API server, by server-side apply and only while leading.
//!
//! A write carries the resourceVersion that it was computed from: a holder that does not know yet
//! that it is none gets 409, and so does a status of an object that has changed meanwhile. The
//! newer object comes by the watch and is computed anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use kube::{Api, Client};
use serde_json::json;
use tcpforward_protocol::snapshot::ForwardName;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::crd::{TcpForward, TcpForwardStatus};
use crate::lease::{LeaseView, now};
use crate::metrics::Metrics;
use crate::record::{self, Desk, Scribe, Subject};
use crate::status::News;

/// The field manager: fields of others are left alone, ours are taken back.
const MANAGER: &str = "tcpforward-operator";

/// Writes under way at a time: a restart writes many statuses, the API server has others to serve.
const WORKERS: usize = 4;

const CALL_TIME: Duration = Duration::from_secs(5);

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// A status and the state of the object that it was computed from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StatusPatch {
    pub(crate) name: ForwardName,
    pub(crate) resource_version: String,
    pub(crate) uid: String,
    pub(crate) status: TcpForwardStatus,
    /// What it says that the object's own status, in that state, does not.
    pub(crate) news: Vec<News>,
}

/// Statuses that wait to be written: one for each object, the latest. So it is never longer than
/// the list of TcpForwards.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<ForwardName, Entry>,
    /// Being written; a newer one waits for its turn.
    busy: BTreeSet<ForwardName>,
}

#[derive(Debug)]
struct Entry {
    patch: StatusPatch,
    failures: u32,
    not_before: Option<Instant>,
}

enum Next {
    Idle,
    Later(Instant),
    Ready(Box<StatusPatch>, u32),
}

impl Queue {
    /// Replaces whatever waits for this object; a back-off goes on.
    pub(crate) fn put(&self, patch: StatusPatch) {
        let mut state = self.lock();
        let old = state.waiting.remove(&patch.name);
        let (failures, not_before) = old.map_or((0, None), |old| (old.failures, old.not_before));
        let entry = Entry {
            failures,
            not_before,
            patch,
        };
        state.waiting.insert(entry.patch.name.clone(), entry);
        drop(state);
        self.filled.notify_waiters();
    }

    /// The object is as it should be, or gone.
    pub(crate) fn forget(&self, name: &ForwardName) {
        self.lock().waiting.remove(name);
    }

    fn next(&self, now: Instant) -> Next {
        let mut state = self.lock();
        let State { waiting, busy } = &mut *state;
        let free = waiting.iter().filter(|(name, _)| !busy.contains(*name));
        let Some((name, entry)) = free.min_by_key(|(_, entry)| entry.not_before) else {
            return Next::Idle;
        };
        if let Some(time) = entry.not_before.filter(|time| *time > now) {
            return Next::Later(time);
        }
        let name = name.clone();
        let Some(entry) = waiting.remove(&name) else {
            return Next::Idle;
        };
        busy.insert(name);
        Next::Ready(Box::new(entry.patch), entry.failures)
    }

    fn done(&self, name: &ForwardName) {
        self.lock().busy.remove(name);
        self.filled.notify_waiters();
    }

    fn again(&self, patch: StatusPatch, failures: u32, not_before: Instant) {
        let mut state = self.lock();
        state.busy.remove(&patch.name);
        let newer = state.waiting.remove(&patch.name).map(|entry| entry.patch);
        let patch = newer.unwrap_or(patch);
        let entry = Entry {
            failures,
            not_before: Some(not_before),
            patch,
        };
        state.waiting.insert(entry.patch.name.clone(), entry);
        drop(state);
        self.filled.notify_waiters();
    }

    /// Nothing that waits counts any more: who has filled it fills it anew.
    pub(crate) fn clear(&self) {
        self.lock().waiting.clear();
    }

    /// What waits, for tests of those who fill it.
    #[cfg(test)]
    pub(crate) fn take_all(&self) -> Vec<StatusPatch> {
        let waiting = std::mem::take(&mut self.lock().waiting);
        waiting.into_values().map(|entry| entry.patch).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what the queue holds, and then tells what is new in it: no Event is about a status that
/// nobody sees.
pub(crate) struct Writer {
    pen: Pen,
    scribe: Scribe,
}

impl Writer {
    pub(crate) fn new(
        client: Client,
        queue: Arc<Queue>,
        identity: &str,
        lease: watch::Receiver<LeaseView>,
        metrics: Metrics,
    ) -> Self {
        let (desk, scribe) = record::open(client.clone(), identity, lease.clone(), metrics.clone());
        let pen = Pen {
            client,
            queue,
            lease,
            metrics,
            desk,
        };
        Self { pen, scribe }
    }

    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let Self { pen, scribe } = self;
        let workers = (0..WORKERS).map(|_| pen.work());
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = futures::future::join_all(workers) => {}
            () = scribe.run() => {}
        }
    }
}

struct Pen {
    client: Client,
    queue: Arc<Queue>,
    lease: watch::Receiver<LeaseView>,
    metrics: Metrics,
    desk: Desk,
}

impl Pen {
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
                Next::Ready(patch, failures) => self.write(*patch, failures).await,
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

    async fn write(&self, patch: StatusPatch, failures: u32) {
        if !self.lease.borrow().holds(now()) {
            // It waits until we hold it again, even if belief lapses too briefly for anyone else to
            // notice. Should another one have written meanwhile, the server refuses this one.
            self.queue.again(patch, failures, now());
            return;
        }
        let result = match timeout(CALL_TIME, self.send(&patch)).await {
            Ok(Ok(_)) => {
                let (name, uid) = (patch.name.clone(), patch.uid);
                self.desk.tell(&Subject { name, uid }, patch.news);
                "written"
            }
            Ok(Err(kube::Error::Api(status))) if status.is_conflict() => "conflict",
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => "gone",
            Ok(Err(error)) => {
                self.retry(patch, failures, &error.to_string());
                return;
            }
            Err(_) => {
                self.retry(patch, failures, "the API server does not answer");
                return;
            }
        };
        self.metrics.patches.with_label_values(&[result]).inc();
        tracing::debug!(forward = %patch.name, result, "status");
        self.queue.done(&patch.name);
    }

    async fn send(&self, patch: &StatusPatch) -> Result<DynamicObject, kube::Error> {
        // The answer is not decoded as a TcpForward: an undecodable one has a status, too.
        let resource = ApiResource::erase::<TcpForward>(&());
        let (namespace, name) = (patch.name.namespace(), patch.name.name());
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &resource);
        let body = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "namespace": namespace,
                "name": name,
                "resourceVersion": patch.resource_version,
                "uid": patch.uid,
            },
            "status": patch.status,
        });
        let parameters = PatchParams::apply(MANAGER).force();
        api.patch_status(name, &parameters, &Patch::Apply(&body))
            .await
    }

    fn retry(&self, patch: StatusPatch, failures: u32, error: &str) {
        self.metrics.patches.with_label_values(&["failed"]).inc();
        if failures == 0 {
            tracing::warn!(forward = %patch.name, error, "can't write a status, will try again");
        }
        let pause = FIRST_RETRY
            .saturating_mul(1 << failures.min(6))
            .min(LAST_RETRY)
            .mul_f64(1.0 + fastrand::f64() * 0.2);
        self.queue
            .again(patch, failures.saturating_add(1), now() + pause);
    }
}

#[cfg(test)]
mod tests;
