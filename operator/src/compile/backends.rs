//! Pure. The backends of a forward: of all its targets, as many as one forward may hold.

use tcpforward_protocol::snapshot::{Backend, ForwardName, Listener, Settings};
use tcpforward_protocol::{BACKENDS_BYTES, BACKENDS_PER_FORWARD, wire};

use crate::forward::{Destination, Draft};
use crate::index::Index;
use crate::resolve::{self, Resolved, Unresolved};
use crate::status;

pub(super) fn all_of(
    index: &Index,
    name: &ForwardName,
    draft: &Draft,
    settings: &Settings,
) -> Resolved {
    let mut all = Resolved::default();
    for (i, destination) in draft.destinations.iter().enumerate() {
        let Some(target) = draft.spec.relay.targets.get(i).map(|t| t.name.as_str()) else {
            continue;
        };
        let field = format!("spec.relay.targets[{i}]");
        let mut resolved = match destination {
            Destination::Address(address) => resolve::address(target, &field, *address, settings),
            // Data planes resolve it: the answer may differ by where it is asked.
            Destination::Host => Resolved::default(),
            Destination::Service(reference) if reference.namespace != name.namespace() => {
                resolve::other_namespace(target, &field, reference, name.namespace())
            }
            Destination::Service(reference) => resolve::service(
                target,
                &field,
                reference,
                index.service(&reference.namespace, &reference.name),
                index.slices(&reference.namespace, &reference.name),
                settings,
            ),
        };
        keep_reachable(&mut resolved, target, &field, &draft.spec.listener);
        all.backends.extend(resolved.backends);
        all.unresolved = all.unresolved.or(resolved.unresolved);
    }
    all
}

/// Leaves out backends whose port would move beyond the last one there is.
fn keep_reachable(resolved: &mut Resolved, target: &str, field: &str, listener: &Listener) {
    let last = listener.end_port.unwrap_or(listener.port);
    let moves = last.get().saturating_sub(listener.port.get());
    let fits = |backend: &Backend| backend.address.port().checked_add(moves).is_some();
    if let Some(beyond) = resolved.backends.iter().find(|backend| !fits(backend)) {
        let message = format!(
            "target {target}: the port of endpoint {} moves by up to {moves} with the listener's, \
             and there is no port beyond 65535; lower spec.listener.endPort",
            beyond.address
        );
        resolved.unresolved.get_or_insert_with(|| Unresolved {
            reason: status::PORT_NOT_FOUND,
            field: format!("{field}.service.port"),
            message,
        });
        resolved.backends.retain(fits);
    }
}

/// Keeps as many as one forward may hold, those that take new sessions first; counts the others.
pub(super) fn cut(backends: &mut Vec<Backend>) -> usize {
    if fitting(backends) == backends.len() {
        return 0;
    }
    backends.sort_by(|a, b| (a.takes_new, a).cmp(&(b.takes_new, b)));
    let kept = fitting(backends);
    let left_out = backends.len() - kept;
    backends.truncate(kept);
    left_out
}

/// How many from the front one forward may hold, by number and by size.
fn fitting(backends: &[Backend]) -> usize {
    let sizes = backends.iter().map(wire::backend_bytes);
    let sums = sizes.scan(0, |sum, bytes| {
        *sum += bytes;
        Some(*sum)
    });
    sums.take(BACKENDS_PER_FORWARD)
        .take_while(|sum| *sum <= BACKENDS_BYTES)
        .count()
}
