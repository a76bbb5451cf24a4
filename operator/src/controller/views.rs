//! Edge. What each forward looks like now, for pages and for its status.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use tcpforward_protocol::snapshot::ForwardName;

use super::statuses::Current;
use super::{Controller, ForwardView, Holds};
use crate::crd::TcpForwardStatus;
use crate::forward::Destination;
use crate::lease::now;
use crate::status;

impl Controller {
    pub(super) fn look_at(&mut self, names: &BTreeSet<ForwardName>) {
        let mut changed = BTreeMap::new();
        for name in names {
            changed.insert(name.clone(), self.judge(name));
        }
        self.outputs.forwards.send_if_modified(|forwards| {
            let mut modified = false;
            for (name, view) in changed {
                modified |= forwards.get(&name) != view.as_ref();
                match view {
                    Some(view) => forwards.insert(name, view),
                    None => forwards.remove(&name),
                };
            }
            modified
        });
    }

    /// The forward as it stands; hands its status over to be written. `None`: it is gone.
    fn judge(&mut self, name: &ForwardName) -> Option<ForwardView> {
        let Some(outcome) = self.compiler.outcome(name) else {
            if let Some(statuses) = &mut self.statuses {
                statuses.forget(name);
            }
            return None;
        };
        let pool = self.pool_view(&outcome.pool, name);
        let (now, wall) = (now(), Timestamp::now());
        let raw = self.index.raw(name);
        let current = raw.map(|raw| Current::of(raw, self.index.status_of(name)));
        let previous = match (&self.statuses, &current) {
            (Some(statuses), Some(current)) => statuses.previous(name, current),
            _ => self.shown(name),
        };
        let next = status::compute(outcome, &pool, self.addresses, previous.as_ref(), wall);
        let view = ForwardView {
            pool: outcome.pool.clone(),
            status: next,
            forward: outcome.forward.clone(),
        };
        if let (Some(statuses), Some(current)) = (&mut self.statuses, current)
            && self.holds == Holds::Yes
        {
            statuses.offer(name, current, &view.status, now);
        }
        Some(view)
    }

    /// The namespaces that targets lead to.
    pub(super) fn services_of(&self, name: &ForwardName) -> BTreeMap<String, String> {
        let known = self.index.known(name);
        let draft = known.and_then(|known| known.draft.as_ref().ok());
        let targets = draft.into_iter().flat_map(|draft| {
            let names = draft.spec.relay.targets.iter().map(|target| &target.name);
            names.zip(&draft.destinations)
        });
        let services = targets.filter_map(|(target, destination)| match destination {
            Destination::Service(service) => Some((target.clone(), service.namespace.clone())),
            _ => None,
        });
        services.collect()
    }

    fn shown(&self, name: &ForwardName) -> Option<TcpForwardStatus> {
        let forwards = self.outputs.forwards.borrow();
        forwards.get(name).map(|view| view.status.clone())
    }

    pub(super) fn count(&self) {
        let outcomes = self.compiler.outcomes();
        let served = outcomes.values().filter(|o| o.forward.is_some()).count();
        let gauge = |state: &str, n: usize| {
            let n = i64::try_from(n).unwrap_or(i64::MAX);
            self.metrics.forwards.with_label_values(&[state]).set(n);
        };
        gauge("served", served);
        gauge("rejected", outcomes.len() - served);
    }
}
