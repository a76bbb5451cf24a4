//! Pure. The leave of other namespaces that a forward's targets need.

use tcpforward_protocol::snapshot::{ForwardName, Grant, Permission, ServiceName};

use crate::forward::{Destination, Draft, ServiceRef};
use crate::index::Index;

/// Whether a forward may go to a Service.
pub(super) fn permit(index: &Index, name: &ForwardName, reference: &ServiceRef) -> bool {
    index.permits(name.namespace(), &reference.namespace, &reference.name)
}

/// What data planes are told of each target in another namespace.
pub(super) fn of(index: &Index, name: &ForwardName, draft: &Draft) -> Vec<Grant> {
    let targets = draft.spec.relay.targets.iter().zip(&draft.destinations);
    let needed = targets.filter_map(|(target, destination)| match destination {
        Destination::Service(reference) if reference.namespace != name.namespace() => {
            Some((target, reference))
        }
        _ => None,
    });
    let grants = needed.map(|(target, reference)| Grant {
        target: target.name.clone(),
        service: ServiceName {
            namespace: reference.namespace.clone(),
            name: reference.name.clone(),
        },
        permission: match permit(index, name, reference) {
            true => Permission::Given,
            false => Permission::Missing,
        },
    });
    grants.collect()
}

/// Whether any of these is not there any more.
pub(super) fn lost(index: &Index, name: &ForwardName, grants: &[Grant]) -> bool {
    let mut given = grants
        .iter()
        .filter(|grant| grant.permission == Permission::Given);
    given.any(|Grant { service, .. }| {
        !index.permits(name.namespace(), &service.namespace, &service.name)
    })
}
