//! Edge. What others may know of a running data plane.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use prometheus::Registry;
use tcpforward_process::pages::Pages;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Handle;
use crate::admin;
use crate::dial;
use crate::shared::Shared;
use crate::sync;
use crate::view::View;
use crate::view::people::{ForwardView, Moment};
use crate::workers::Beats;

/// A worker that has not been seen for so long is stuck.
const STUCK: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct State {
    pub(super) shared: Arc<Shared>,
    pub(super) view: Arc<RwLock<View>>,
    pub(super) operators: watch::Receiver<sync::View>,
    pub(super) beats: Beats,
    pub(super) stage: AtomicU8,
    pub(super) applied_at: Mutex<Option<Instant>>,
}

/// Where a data plane is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    Waiting,
    Ready,
    Draining,
}

/// Numbers of the whole process, for metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    pub(crate) cut: u64,
    pub(crate) lookups_answered: u64,
    pub(crate) lookups_failed: u64,
    pub(crate) names_answered: u64,
    pub(crate) names_failed: u64,
    pub(crate) hashes: u64,
    pub(crate) accept_errors: u64,
    pub(crate) accept_waits: u64,
    pub(crate) port_waits: u64,
    pub(crate) handed_over: u64,
    pub(crate) descriptors_free: u64,
    pub(crate) epoch: u64,
    pub(crate) snapshot_age_seconds: Option<u64>,
    pub(crate) last_good_failing: u64,
    pub(crate) operators: u64,
    pub(crate) share_index: u64,
    pub(crate) share_of: u64,
}

impl Handle {
    /// Whether clients may be sent here.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), String> {
        match self.0.stage.load(Ordering::Relaxed) {
            stage if stage == Stage::Ready as u8 => Ok(()),
            stage if stage == Stage::Draining as u8 => Err("draining".to_owned()),
            _ => Err("no set of forwards yet: no operator has sent one".to_owned()),
        }
    }

    /// Whether all workers turn.
    ///
    /// # Errors
    /// Which one doesn't, or that nobody checks backends any more.
    pub fn live(&self) -> Result<(), String> {
        if self.0.shared.background_died.load(Ordering::Relaxed) {
            return Err("the thread that checks backends and resolves names is gone".to_owned());
        }
        match self.0.beats.stuck(STUCK) {
            None => Ok(()),
            Some(worker) => Err(format!("worker {worker} has not been seen for {STUCK:?}")),
        }
    }

    /// Every forward with its listeners, refusal and backends.
    #[must_use]
    pub fn forwards(&self) -> Vec<ForwardView> {
        let due = self.0.shared.lookups_due().into_iter();
        self.view().for_people(&Moment {
            now: Instant::now().into_std(),
            unix_ms: dial::unix_ms(),
            lookups_due: due.map(|(name, at)| (name, at.into_std())).collect(),
        })
    }

    /// What is served and refused.
    #[must_use]
    pub fn view(&self) -> View {
        self.0
            .view
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How things stand with the operators.
    #[must_use]
    pub fn operators(&self) -> sync::View {
        self.0.operators.borrow().clone()
    }

    /// All pages, for a program that serves them itself.
    #[must_use]
    pub fn pages(&self, registry: Registry) -> Pages {
        admin::health(self, registry).and(admin::debug(self))
    }

    pub(super) fn applied(&self) {
        *self
            .0
            .applied_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let (waiting, ready) = (Stage::Waiting as u8, Stage::Ready as u8);
        let stage = &self.0.stage;
        // A data plane that drains stays not ready.
        let _ = stage.compare_exchange(waiting, ready, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(super) fn set(&self, stage: Stage) {
        self.0.stage.store(stage as u8, Ordering::Relaxed);
    }

    pub(crate) fn numbers(&self) -> Numbers {
        let State {
            shared, applied_at, ..
        } = &*self.0;
        let operators = self.operators();
        let share = operators.share.unwrap_or_default();
        let applied_at = *applied_at.lock().unwrap_or_else(PoisonError::into_inner);
        let large = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Numbers {
            cut: shared.cut.load(Ordering::Relaxed),
            lookups_answered: shared.lookups_answered.load(Ordering::Relaxed),
            lookups_failed: shared.lookups_failed.load(Ordering::Relaxed),
            names_answered: shared.names.answered.load(Ordering::Relaxed),
            names_failed: shared.names.failed.load(Ordering::Relaxed),
            hashes: shared.passwords.hashed(),
            accept_errors: shared.accept_errors.load(Ordering::Relaxed),
            accept_waits: shared.accept_waits.load(Ordering::Relaxed),
            port_waits: shared.port_waits.load(Ordering::Relaxed),
            handed_over: shared.handed_over.load(Ordering::Relaxed),
            descriptors_free: large(shared.free_descriptors()),
            epoch: operators.epoch,
            snapshot_age_seconds: applied_at.map(|at| at.elapsed().as_secs()),
            last_good_failing: operators.store_error.is_some().into(),
            operators: large(operators.connected),
            share_index: share.0.into(),
            share_of: share.1.into(),
        }
    }
}
