//! Edge. One backend that is checked, and which ones those are.

use std::collections::BTreeMap;
use std::sync::Arc;

use tcpforward_protocol::answer::DialError;
use tcpforward_protocol::snapshot::{Forward, Probe, TakesNew};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::check::Check;
use crate::balancer::backend::Backend;
use crate::balancer::outcome::{Failure, Observed, Outcome};
use crate::served::{Active, Served};
use crate::shared::Shared;

/// One backend that is checked.
pub(super) struct Job {
    pub(super) served: Arc<Served>,
    pub(super) backend: Arc<Backend>,
    pub(super) check: Arc<Check>,
    /// The check that is being made.
    pub(super) task: Option<AbortHandle>,
}

impl Job {
    pub(super) fn tell(&self, outcome: Outcome, shared: &Shared) {
        let (forward, backend) = (&self.served.name, &self.backend);
        let error = match &outcome {
            Outcome::CheckFailed(failure) => Some(failure.message.clone()),
            _ => None,
        };
        tracing::debug!(%forward, target = %backend.target, address = %backend.address, error,
            "a backend was checked");
        let now = Instant::now().into_std();
        if self.served.observe(backend, outcome, now) == Observed::Changed {
            shared.news.notify_one();
        }
    }
}

pub(super) fn is_timeout(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::CheckFailed(Failure {
            reason: DialError::Timeout,
            ..
        })
    )
}

/// The backends of a forward that are checked: those that take new sessions.
pub(super) fn checks(served: &Served, active: &Active) -> Vec<(Arc<Backend>, Check)> {
    let forward: &Forward = &active.forward;
    let relay = &forward.spec.relay;
    let Some(check) = &relay.health_check.active else {
        return Vec::new();
    };
    let check = Arc::new(check.clone());
    let records = served.backends().into_iter();
    let records: BTreeMap<_, _> = records
        .map(|record| ((Arc::clone(&record.target), record.address), record))
        .collect();
    let takes_new = forward
        .backends
        .iter()
        .filter(|b| b.takes_new == TakesNew::Yes);
    let checked = takes_new.filter_map(|backend| {
        let record = records.get(&(backend.target.as_str().into(), backend.address))?;
        let mut address = backend.address;
        if let Probe::Http(http) = &check.probe
            && let Some(port) = http.port
        {
            address.set_port(port.get());
        }
        let check = Check {
            active: Arc::clone(&check),
            proxy_protocol: relay.proxy_protocol,
            address,
            origin: record.origin,
            settings: active.terms.settings.clone(),
            tcp: relay.tcp.clone(),
            parent: active.backends_parent().cloned(),
        };
        Some((Arc::clone(record), check))
    });
    checked.collect()
}
