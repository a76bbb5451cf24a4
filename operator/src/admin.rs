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
use crate::identity::Serving;
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
    /// Its namespace and name, if there is one.
    pub(crate) lease_name: Option<(String, String)>,
    /// What is shown to data planes, unless they are spoken with in plain text.
    pub(crate) serving: Option<Arc<Serving>>,
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

    /// Whether every cache is filled, the first whole pass is published, the Lease was met and
    /// there is a certificate to show.
    ///
    /// # Errors
    /// What is waited for, for people.
    pub fn ready(&self) -> Result<(), String> {
        if self.published.borrow().is_none() {
            let pulse = self.pulse.borrow();
            return Err(match pulse.waits_for.as_slice() {
                [] => "the first pass is not finished".to_owned(),
                kinds => format!("waiting for the list of: {}", kinds.join(", ")),
            });
        }
        match &self.lease_name {
            Some((namespace, name)) if !self.lease.borrow().met() => Err(format!(
                "the Lease {namespace}/{name} was not read yet, or not compared with those of other \
                 operators; the log says why; check that the operator may get, create and update \
                 leases.coordination.k8s.io in namespace {namespace}, and list them in the cluster"
            )),
            _ => self.serving.as_ref().map_or(Ok(()), |serving| {
                let missing = "there is no certificate to show to data planes; the log says why";
                serving
                    .is_ready()
                    .then_some(())
                    .ok_or_else(|| missing.to_owned())
            }),
        }
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

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use tcpforward_protocol::snapshot::{LocalTargets, Settings};

    use super::*;

    #[test]
    fn readiness_names_what_is_waited_for() {
        let (published, seen) = watch::channel(None);
        let (pulse, beats) = watch::channel(Pulse {
            beat: now(),
            waits_for: vec!["Service"],
        });
        let (lease, view) = watch::channel(LeaseView::unseen());
        let insight = Insight {
            forwards: watch::channel(Forwards::new()).1,
            published: seen,
            pulse: beats,
            lease: view,
            lease_name: Some(("sys".to_owned(), "op".to_owned())),
            serving: Some(Arc::default()),
            roster: Arc::default(),
            metrics: Metrics::new(&Registry::new()).unwrap(),
        };
        let waits = || insight.ready().unwrap_err();
        assert_eq!(waits(), "waiting for the list of: Service");
        pulse.send_modify(|pulse| pulse.waits_for.clear());
        assert_eq!(waits(), "the first pass is not finished");
        let settings = Settings::new(LocalTargets::Refuse);
        published.send_replace(Some(Published::new(settings)));
        let text = waits();
        assert!(text.contains("sys/op") && text.contains("update"), "{text}");
        lease.send_replace(LeaseView::seen(7, None, Some(now())));
        assert!(waits().contains("certificate"));
        let insight = Insight {
            serving: None,
            ..insight
        };
        assert_eq!(insight.ready(), Ok(()));
    }
}
