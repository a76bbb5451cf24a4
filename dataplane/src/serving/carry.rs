//! Edge. What the process has no descriptors for, and what the kernel has no socket options for, is
//! refused when it comes, not when a session needs it.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use tcpforward_protocol::answer::{Refusal, RefusalCode};
use tcpforward_protocol::snapshot::{Forward, ForwardName};

use super::Serving;
use crate::shared::Shortage;
use crate::sync::{Wanted, assemble};

impl Serving {
    /// What is wanted, as far as descriptors and socket options reach: of a forward that asks for
    /// more, the state that is served stays, with the backends of today. Beside it those whose options
    /// were refused: they are tried again, for what a kernel allows may change.
    pub(super) fn carried(&mut self, wanted: Arc<Wanted>) -> (Arc<Wanted>, BTreeSet<ForwardName>) {
        let forwards = wanted.forwards.values();
        let mut refused: Vec<_> = forwards.filter_map(|f| self.too_large(f)).collect();
        let untuned = self.untuned(&wanted);
        let names = untuned
            .iter()
            .map(|refusal| refusal.forward.clone())
            .collect();
        refused.extend(untuned);
        if refused.is_empty() {
            return (wanted, names);
        }
        let mut wanted = Wanted::clone(&wanted);
        for refusal in refused {
            let Some(forward) = wanted.forwards.remove(&refusal.forward) else {
                continue;
            };
            if let Some(running) = self.running.get(&refusal.forward) {
                let former = &running.served.active().forward;
                let former = assemble::with_backends(former, &forward);
                wanted
                    .forwards
                    .insert(refusal.forward.clone(), Arc::new(former));
            }
            wanted.refused.push(refusal);
        }
        (Arc::new(wanted), names)
    }

    fn untuned(&mut self, wanted: &Wanted) -> Vec<Refusal> {
        let running = &self.running;
        let is_known =
            |name: &ForwardName| wanted.forwards.contains_key(name) || running.contains_key(name);
        self.tuning.keep(is_known);
        let mut refused = Vec::new();
        for forward in wanted.forwards.values() {
            let address = forward.spec.listener.address.unwrap_or(self.bind);
            if let Some(refusal) = self.tuning.refuses(forward, address) {
                self.failed(forward, &refusal.text);
                refused.push(refusal);
            }
        }
        refused
    }

    fn too_large(&self, forward: &Forward) -> Option<Refusal> {
        limits(forward).find_map(|(field, limit)| self.beyond(forward, field, limit))
    }

    fn beyond(&self, forward: &Forward, field: &str, limit: u32) -> Option<Refusal> {
        // Until it is known what is ours nothing is too much: what the last operator gave is good.
        let share = self.place.share?;
        let part = share.part(limit);
        let Shortage {
            needed,
            limit: there,
        } = self.shared.carries(part).err()?;
        // What was taken with a smaller share isn't given up because another data plane has gone.
        let running = self.running.get(&forward.name);
        if running.is_some_and(|r| r.served.active().forward.spec_hash == forward.spec_hash) {
            return None;
        }
        let of_share = if share.of > 1 {
            format!(", of which {part} are for this data plane,")
        } else {
            String::new()
        };
        Some(Refusal {
            forward: forward.name.clone(),
            spec_hash: forward.spec_hash,
            code: RefusalCode::Unsupported,
            text: format!(
                "{field} {limit}{of_share} needs {needed} descriptors, this process may open {there}: lower the one or raise the other"
            ),
        })
    }
}

/// Those that promise room for so many sessions.
fn limits(forward: &Forward) -> impl Iterator<Item = (&'static str, u32)> {
    let connections = forward.spec.listener.limits.connections;
    let proxy = forward.spec.connect.as_ref();
    let tunnels = proxy.and_then(|proxy| proxy.limits.tunnels);
    let fields = [
        ("listener.limits.connections", connections),
        ("httpConnect.limits.tunnels", tunnels),
    ];
    let given = |(field, limit): (_, Option<NonZeroU32>)| Some((field, limit?.get()));
    fields.into_iter().filter_map(given)
}
