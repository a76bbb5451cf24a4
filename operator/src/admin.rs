//! Edge. What people and probes see: `/livez`, `/readyz`, `/metrics`, `/debug/forwards`,
//! `/debug/dataplanes`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tcpforward_process::pages::Pages;
use tcpforward_protocol::answer::FailingBackend;
use tcpforward_protocol::snapshot::{Backend, BackendState, ForwardName, TakesNew};
use tokio::sync::watch;

use crate::controller::{ForwardView, Forwards, Pulse};
use crate::lease::{LeaseView, now};
use crate::metrics::Metrics;
use crate::push::{Published, Roster};

/// A loop that has not turned for this long hangs.
const STUCK: Duration = Duration::from_secs(30);

/// How an operator is, for whoever asks; cheap to clone.
#[derive(Clone, Debug)]
pub struct Insight {
    pub(crate) forwards: watch::Receiver<Forwards>,
    pub(crate) published: watch::Receiver<Option<Published>>,
    pub(crate) pulse: watch::Receiver<Pulse>,
    pub(crate) lease: watch::Receiver<LeaseView>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) metrics: Metrics,
}

impl Insight {
    /// All forwards with their statuses, and every change of them.
    #[must_use]
    pub fn forwards(&self) -> watch::Receiver<Forwards> {
        self.forwards.clone()
    }

    /// Whether the loop that owns the world still turns.
    ///
    /// # Errors
    /// It does not, for people.
    pub fn live(&self) -> Result<(), String> {
        let silence = now().saturating_duration_since(self.pulse.borrow().beat);
        if silence < STUCK {
            return Ok(());
        }
        Err(format!(
            "the controller has not moved for {} s",
            silence.as_secs()
        ))
    }

    /// Whether every cache is filled and the first whole pass is published.
    ///
    /// # Errors
    /// What is waited for, for people.
    pub fn ready(&self) -> Result<(), String> {
        if self.published.borrow().is_some() {
            return Ok(());
        }
        let pulse = self.pulse.borrow();
        if pulse.waits_for.is_empty() {
            return Err("the first pass is not finished".to_owned());
        }
        Err(format!(
            "waiting for the list of: {}",
            pulse.waits_for.join(", ")
        ))
    }

    /// Each forward: conditions, counts, backends with their state.
    #[must_use]
    pub fn debug_forwards(&self) -> Value {
        let forwards = self.forwards.borrow();
        let list = forwards.iter().map(|(name, view)| self.forward(name, view));
        json!({"forwards": list.collect::<Vec<_>>()})
    }

    /// The Lease and each connected data plane.
    #[must_use]
    pub fn debug_dataplanes(&self) -> Value {
        let lease = *self.lease.borrow();
        let now = now();
        json!({
            "epoch": lease.epoch(),
            "holdsLease": lease.holds(now),
            "seesLease": lease.fresh(now),
            "dataPlanes": self.roster.cards(),
        })
    }

    /// `/livez`, `/readyz` and `/metrics`.
    #[must_use]
    pub fn health_pages(&self) -> Pages {
        let (live, ready) = (self.clone(), self.clone());
        Pages::new()
            .check("/livez", Box::new(move || live.live()))
            .check("/readyz", Box::new(move || ready.ready()))
            .metrics(self.metrics.registry.clone())
    }

    /// `/debug/forwards` and `/debug/dataplanes`.
    #[must_use]
    pub fn debug_pages(&self) -> Pages {
        let (forwards, dataplanes) = (self.clone(), self.clone());
        Pages::new()
            .json("/debug/forwards", move || forwards.debug_forwards())
            .json("/debug/dataplanes", move || dataplanes.debug_dataplanes())
    }

    fn forward(&self, name: &ForwardName, view: &ForwardView) -> Value {
        let accounts = self.roster.accounts(&view.pool, name);
        let failing: Vec<&FailingBackend> = accounts.iter().flat_map(|a| &a.failing).collect();
        let (open, total) = self.roster.sessions(&view.pool, name);
        let backends = view.forward.as_ref().map_or([].as_slice(), |f| &f.backends);
        let backends = backends.iter().map(|backend| describe(backend, &failing));
        json!({
            "namespace": name.namespace(),
            "name": name.name(),
            "pool": view.pool,
            "hash": view.forward.as_ref().map(|f| f.hash.to_string()),
            "status": view.status,
            "sessions": {"open": open, "total": total},
            "backends": backends.collect::<Vec<_>>(),
        })
    }
}

fn describe(backend: &Backend, failing: &[&FailingBackend]) -> Value {
    let state = match backend.state {
        BackendState::NotReady => "NotReady",
        BackendState::Ready => "Ready",
        BackendState::Terminating => "Terminating",
    };
    let complaints = failing
        .iter()
        .filter(|f| f.target == backend.target && f.address == backend.address);
    let complaints: Vec<_> = complaints.map(|f| f.message.as_str()).collect();
    json!({
        "target": backend.target,
        "address": backend.address.to_string(),
        "state": state,
        "takesNew": backend.takes_new == TakesNew::Yes,
        "failing": complaints,
    })
}
