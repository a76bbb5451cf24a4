//! Pure. What a pool lets a forward have of Services.

use tcpforward_protocol::snapshot::{ForwardSpec, Policy};

use super::{Pool, refused};
use crate::crd::{ExposeType, TrafficPolicy};
use crate::forward::{Draft, Expose, Rejection};
use crate::status;

impl Pool {
    /// The Service that a forward of this pool gets; none: its pods listen where clients dial.
    #[must_use]
    pub fn service_of<'a>(&self, draft: &'a Draft) -> Option<&'a Expose> {
        const DEFAULT: &Expose = &Expose::DEFAULT;
        let expose = match (&draft.expose, self.host_network) {
            (Some(expose), _) => expose,
            (None, true) => return None,
            (None, false) => DEFAULT,
        };
        (expose.kind != ExposeType::None).then_some(expose)
    }

    /// Why a forward can't have the Service that it asks for.
    #[must_use]
    pub fn no_exposure(&self, name: &str, draft: &Draft) -> Option<Rejection> {
        let asked = self
            .service_of(draft)
            .map_or(ExposeType::None, |expose| expose.kind);
        let word = asked.word();
        if self.host_network {
            return (asked != ExposeType::None).then(|| {
                refused(
                    "spec.expose.type",
                    format!(
                        "spec.expose.type is {word}: DataPlane {name} has hostNetwork, whose pods listen on \
                         their nodes; take spec.expose out, or name another pool in spec.dataPlaneName"
                    ),
                )
            });
        }
        if self.expose_types.contains(&asked) {
            return None;
        }
        let absent = match draft.expose {
            Some(_) => "",
            None => ", as nothing else is said",
        };
        let words: Vec<_> = self.expose_types.iter().map(|kind| kind.word()).collect();
        let allowed = words.join(", ");
        Some(refused(
            "spec.expose.type",
            format!(
                "spec.expose.type is {word}{absent}: DataPlane {name} allows {allowed}; write one of these, or \
                 have the DataPlane's spec.allowedExposeTypes allow it"
            ),
        ))
    }

    /// Why a forward can't listen on one address alone, where a Service leads to any pod.
    #[must_use]
    pub fn no_address(&self, name: &str, draft: &Draft) -> Option<Rejection> {
        let address = draft.spec.listener.address?;
        self.service_of(draft)?;
        Some(refused(
            "spec.listener.address",
            format!(
                "spec.listener.address is {address}: the Service of a TcpForward of DataPlane {name} leads to \
                 whatever addresses pods have; take it out, write spec.expose.type None, or name a \
                 pool with hostNetwork"
            ),
        ))
    }

    /// Why a forward can't tell its clients apart: their addresses are lost on the way from outside.
    #[must_use]
    pub fn no_sources(&self, draft: &Draft) -> Option<Rejection> {
        let expose = self.service_of(draft)?;
        let is_lost = expose.policy == Some(TrafficPolicy::Cluster)
            && draft.spec.listener.proxy_protocol.is_none();
        let field = by_source(&draft.spec).filter(|_| is_lost)?;
        Some(Rejection {
            reason: status::SOURCE_ADDRESS_NOT_PRESERVED,
            field: field.to_owned(),
            message: format!(
                "{field} goes by clients' addresses, which are nodes' own with spec.expose.type {} and \
                 externalTrafficPolicy Cluster; write externalTrafficPolicy Local, or \
                 spec.listener.proxyProtocol if the load balancer sends it",
                expose.kind.word()
            ),
        })
    }
}

/// The first field that goes by the addresses of clients.
fn by_source(spec: &ForwardSpec) -> Option<&'static str> {
    let limits = spec.connect.as_ref().map(|connect| &connect.limits);
    let fields = [
        (
            !spec.listener.source_ranges.is_empty(),
            "spec.listener.sourceRanges",
        ),
        (
            spec.listener.limits.connections_per_source.is_some(),
            "spec.listener.limits.connectionsPerSource",
        ),
        (
            spec.relay.load_balancer.policy == Policy::ConsistentHash,
            "spec.relay.loadBalancer.consistentHash",
        ),
        (
            limits.is_some_and(|limits| limits.tunnels_per_source.is_some()),
            "spec.httpConnect.limits.tunnelsPerSource",
        ),
    ];
    let mut fields = fields.into_iter();
    fields.find_map(|(goes, field)| goes.then_some(field))
}
