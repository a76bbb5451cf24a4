//! Edge. The one task that decides what runs: it applies what is wanted, does what is due, and tells
//! the operators.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tcpforward_protocol::answer::Report;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::Handle;
use crate::serving::{Serving, TICK};
use crate::sync::{self, Applied, Wanted};

/// How often operators hear how things go.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// News are gathered for so long before they are told.
const NEWS_PAUSE: Duration = Duration::from_millis(200);

/// The one task that decides what runs.
pub(super) struct Control {
    pub(super) serving: Serving,
    pub(super) wanted: watch::Receiver<Option<Arc<Wanted>>>,
    pub(super) applied: watch::Sender<Arc<Applied>>,
    pub(super) report: watch::Sender<Arc<Report>>,
    /// Says where this data plane is.
    pub(super) operators: watch::Receiver<sync::View>,
    pub(super) handle: Handle,
}

impl Control {
    /// Goes on until then; what is being applied is applied to its end.
    pub(super) async fn run(&mut self, until: impl Future<Output = ()>) {
        let mut until = pin!(until);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut report_at = Instant::now() + NEWS_PAUSE;
        let shared = Arc::clone(&self.handle.0.shared);
        loop {
            tokio::select! {
                () = &mut until => return,
                Ok(()) = self.wanted.changed() => self.apply().await,
                Ok(()) = self.operators.changed() => self.settle().await,
                _ = tick.tick() => {
                    if self.serving.tick().await {
                        self.applied.send_replace(Arc::new(self.serving.applied()));
                    }
                }
                () = shared.news.notified() => {
                    report_at = report_at.min(Instant::now() + NEWS_PAUSE);
                }
                () = tokio::time::sleep_until(report_at) => {
                    self.report.send_replace(Arc::new(self.handle.view().report()));
                    report_at = Instant::now() + REPORT_EVERY;
                }
            }
        }
    }

    /// Takes the place that the operators say, if it is another one.
    async fn settle(&mut self) {
        let place = self.operators.borrow_and_update().place();
        if self.serving.set_place(place).await {
            self.applied.send_replace(Arc::new(self.serving.applied()));
        }
    }

    async fn apply(&mut self) {
        let Some(wanted) = self.wanted.borrow_and_update().clone() else {
            return;
        };
        // Told before the set: without it a share of a large limit looks like the whole.
        self.settle().await;
        self.serving.apply(wanted).await;
        self.applied.send_replace(Arc::new(self.serving.applied()));
        self.handle.applied();
    }
}
