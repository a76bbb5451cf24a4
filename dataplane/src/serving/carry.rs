//! Edge. What the process has no descriptors for is refused when it comes, not when it is full.

use std::num::NonZeroU32;
use std::sync::Arc;

use tcpforward_protocol::answer::{Refusal, RefusalCode};
use tcpforward_protocol::snapshot::Forward;

use super::Serving;
use crate::shared::Shortage;
use crate::sync::{Wanted, assemble};

impl Serving {
    /// What is wanted, as far as descriptors reach: of a forward whose limit asks for more, the
    /// state that is served stays, with the backends of today.
    pub(super) fn carried(&self, wanted: Arc<Wanted>) -> Arc<Wanted> {
        let forwards = wanted.forwards.values();
        let refused: Vec<_> = forwards.filter_map(|f| self.too_large(f)).collect();
        if refused.is_empty() {
            return wanted;
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
        Arc::new(wanted)
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
