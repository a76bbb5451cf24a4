//! Pure. The backends of a forward: of all its targets, as many as one forward may hold.

use std::collections::BTreeSet;

use tcpforward_protocol::snapshot::{Backend, ForwardName, Listener, Settings};
use tcpforward_protocol::{BACKENDS_BYTES, BACKENDS_PER_FORWARD, wire};

use super::grants;
use crate::forward::{Destination, Draft, Place};
use crate::index::Index;
use crate::resolve::{self, Resolved, Unresolved};
use crate::status;

/// The backends of one target of a TcpForward, and what is wrong with it; absent: there is no such
/// target.
#[must_use]
pub fn target(
    index: &Index,
    name: &ForwardName,
    target: &str,
    settings: &Settings,
) -> Option<Resolved> {
    let draft = index.known(name)?.draft.as_ref().ok()?;
    let mut targets = draft.spec.relay.targets.iter();
    let place = targets.position(|found| found.name == target)?;
    of_target(index, name, draft, place, settings)
}

pub(super) fn all_of(
    index: &Index,
    name: &ForwardName,
    draft: &Draft,
    settings: &Settings,
) -> Resolved {
    let mut all = Resolved::default();
    let mut troubles = Vec::new();
    for (i, destination) in draft.destinations.iter().enumerate() {
        let Some(resolved) = of_target(index, name, draft, i, settings) else {
            continue;
        };
        all.backends.extend(resolved.backends);
        troubles.push((destination, resolved.unresolved));
    }
    all.unresolved = match draft.spec.connect {
        None => troubles.into_iter().find_map(|(_, trouble)| trouble),
        Some(_) => worst(&troubles).cloned(),
    };
    all
}

/// Of one of its targets, by its place among them.
pub(super) fn of_target(
    index: &Index,
    name: &ForwardName,
    draft: &Draft,
    place: usize,
    settings: &Settings,
) -> Option<Resolved> {
    let target = draft.spec.relay.targets.get(place)?.name.as_str();
    let (destination, place) = (draft.destinations.get(place)?, draft.places.get(place)?);
    let mut resolved = match destination {
        Destination::Address(address) => resolve::address(target, place, *address, settings),
        // Data planes resolve it: the answer may differ by where it is asked.
        Destination::Host => Resolved::default(),
        Destination::Service(reference) if !grants::permit(index, name, reference) => {
            resolve::not_permitted(place, reference, name.namespace(), index.sight())
        }
        Destination::Service(reference) => resolve::service(
            target,
            place,
            reference,
            index.service(&reference.namespace, &reference.name),
            index.slices(&reference.namespace, &reference.name),
            settings,
        ),
    };
    keep_reachable(&mut resolved, place, &draft.spec.listener);
    Some(resolved)
}

/// The first trouble of a proxy. Each of a rule's ports is looked for in each of its Services, which
/// need not have all of them: a Service is in order with one.
fn worst<'a>(troubles: &'a [(&Destination, Option<Unresolved>)]) -> Option<&'a Unresolved> {
    let service = |destination: &'a Destination| match destination {
        Destination::Service(reference) => Some((&reference.namespace, &reference.name)),
        Destination::Address(_) | Destination::Host => None,
    };
    let in_order: BTreeSet<_> = troubles
        .iter()
        .filter(|(_, trouble)| trouble.is_none())
        .filter_map(|(destination, _)| service(destination))
        .collect();
    let mut found = troubles.iter().filter_map(|(destination, trouble)| {
        let trouble = trouble.as_ref()?;
        let of_port = [status::PORT_NOT_FOUND, status::UNSUPPORTED_SERVICE];
        let excused = of_port.contains(&trouble.reason)
            && service(destination).is_some_and(|service| in_order.contains(&service));
        (!excused).then_some(trouble)
    });
    found.next()
}

/// Leaves out backends whose port would move beyond the last one there is.
fn keep_reachable(resolved: &mut Resolved, place: &Place, listener: &Listener) {
    let last = listener.end_port.unwrap_or(listener.port);
    let moves = last.get().saturating_sub(listener.port.get());
    let fits = |backend: &Backend| backend.address.port().checked_add(moves).is_some();
    if let Some(beyond) = resolved.backends.iter().find(|backend| !fits(backend)) {
        let message = format!(
            "{}: the port of endpoint {} moves by up to {moves} with the listener's, and there is \
             no port beyond 65535; lower spec.listener.endPort",
            place.title, beyond.address
        );
        resolved.unresolved.get_or_insert_with(|| Unresolved {
            reason: status::PORT_NOT_FOUND,
            field: place.port.clone(),
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
