//! Edge. Counts a session's bytes on the way, and hears in them how its backend is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tcpforward_protocol::answer::DialError;
use tokio::time::Instant;

use crate::balancer::backend::Backend;
use crate::balancer::outcome::{Failure, Observed, Outcome};
use crate::dial;
use crate::relay::Meter;
use crate::relay::ending::{Ending, Side};
use crate::served::Served;
use crate::shared::Context;

/// So many bytes of a session are added to its backend's at a time: all workers write those, and
/// would wait for each other at every read.
const SHARED_AT: u64 = 64 << 10;

/// Of one session.
pub(super) struct Counter<'a> {
    served: &'a Served,
    context: &'a Context,
    /// Absent: a tunnel to an address that is nobody's backend.
    backend: Option<&'a Arc<Backend>>,
    /// Whether the backend's first byte is waited for. Only where resets before it are held
    /// against the backend; else nobody asks, and the balancer is left in peace.
    awaits_answer: AtomicBool,
    /// Not yet added to the backend's.
    up: AtomicU64,
    down: AtomicU64,
}

impl<'a> Counter<'a> {
    pub(super) fn new(
        served: &'a Served,
        context: &'a Context,
        backend: Option<&'a Arc<Backend>>,
        minds_early_resets: bool,
    ) -> Self {
        Self {
            served,
            context,
            backend,
            awaits_answer: AtomicBool::new(minds_early_resets),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
        }
    }

    /// The relay is over.
    pub(super) fn ended(&self, ending: Ending) {
        if ending == Ending::UpstreamRst && self.awaits_answer.swap(false, Ordering::Relaxed) {
            self.observe(Outcome::EarlyReset(Failure {
                reason: DialError::Reset,
                message: "it reset a session before its first byte".to_owned(),
                at_ms: dial::unix_ms(),
            }));
        }
    }

    fn count(&self, from: Side, bytes: u64) {
        let pending = match from {
            Side::Downstream => &self.up,
            Side::Upstream => &self.down,
        };
        // Nobody else writes it.
        let sum = pending.load(Ordering::Relaxed) + bytes;
        pending.store(sum, Ordering::Relaxed);
        if sum >= SHARED_AT {
            self.share();
        }
    }

    fn share(&self) {
        let take = |pending: &AtomicU64| pending.swap(0, Ordering::Relaxed);
        if let Some(backend) = self.backend {
            backend.passed(take(&self.up), take(&self.down));
        }
    }

    fn observe(&self, outcome: Outcome) {
        let Some(backend) = self.backend else { return };
        let now = Instant::now().into_std();
        if self.served.observe(backend, outcome, now) == Observed::Changed {
            self.context.shared.news.notify_one();
        }
    }
}

impl Meter for &Counter<'_> {
    fn passed(&self, from: Side, bytes: u64) {
        self.served.passed(self.context.worker, from, bytes);
        self.count(from, bytes);
        if from == Side::Upstream && self.awaits_answer.swap(false, Ordering::Relaxed) {
            self.observe(Outcome::Answered);
        }
    }
}

impl Drop for Counter<'_> {
    fn drop(&mut self) {
        self.share();
    }
}
