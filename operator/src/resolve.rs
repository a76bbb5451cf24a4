//! Pure. From a target to backends, by the rules of kube-proxy.
//!
//! Every endpoint becomes a backend with its state; kube-proxy's choice only sets `takes_new`, so
//! that a data plane can tell not ready, terminating and removed apart.
//!
//! `internalTrafficPolicy: Local` is a strict filter by the node of the client. Behind a pool that
//! node is not known, and to ignore the filter would widen it, so such a Service is refused.
//! `externalTrafficPolicy` is not for clients inside of a cluster and changes nothing.

use std::net::{IpAddr, SocketAddr};

use tcpforward_protocol::guard::{self, Forbidden};
use tcpforward_protocol::snapshot::{Backend, BackendState, Origin, Settings, TakesNew};

use crate::crd::ServicePort;
use crate::forward::{Place, ServiceRef};
use crate::status;

mod beyond;
mod service;
mod slice;

pub use beyond::not_permitted;
pub use service::{Kind, Port, Service};
pub use slice::{Endpoint, Family, Slice};

/// Why a target, or some of it, leads nowhere: reason and text of `ResolvedRefs=False`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Unresolved {
    /// A reason of `status`.
    pub reason: &'static str,
    /// The field at fault.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Unresolved {
    /// Whether another namespace does not permit it.
    #[must_use]
    pub fn is_for_want_of_a_grant(&self) -> bool {
        self.reason == status::REF_NOT_PERMITTED && self.field.ends_with(beyond::FIELD)
    }
}

/// What a target leads to. Both may be there: one endpoint that must not be dialled among others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Sorted, one for each address.
    pub backends: Vec<Backend>,
    /// What could not be used.
    pub unresolved: Option<Unresolved>,
}

impl Resolved {
    fn nothing(reason: &'static str, field: String, message: String) -> Self {
        Self {
            backends: Vec::new(),
            unresolved: Some(Unresolved {
                reason,
                field,
                message,
            }),
        }
    }
}

/// A fixed server.
#[must_use]
pub fn address(target: &str, place: &Place, address: SocketAddr, settings: &Settings) -> Resolved {
    if let Err(forbidden) = guard::check(address.ip(), settings) {
        let message = format!(
            "{}: {} must not be dialled: {forbidden}; {}",
            place.title,
            address.ip(),
            remedy(forbidden)
        );
        let field = format!("{}.host", place.field);
        return Resolved::nothing(status::REF_NOT_PERMITTED, field, message);
    }
    Resolved {
        backends: vec![Backend {
            target: target.to_owned(),
            address,
            state: BackendState::Ready,
            takes_new: TakesNew::Yes,
            nodes: Vec::new(),
            zones: Vec::new(),
        }],
        unresolved: None,
    }
}

fn remedy(forbidden: Forbidden) -> &'static str {
    match forbidden {
        Forbidden::Cluster => {
            "write a service target, or have the DataPlane's spec.addressTargets say Any"
        }
        _ => "name a server of its own",
    }
}

/// A port of a Service, with all slices of that Service.
#[must_use]
pub fn service<'a>(
    target: &str,
    place: &Place,
    reference: &ServiceRef,
    service: Option<&Service>,
    slices: impl Iterator<Item = &'a Slice> + Clone,
    settings: &Settings,
) -> Resolved {
    let port = match named_port(place, reference, service) {
        Ok(port) => port,
        Err(unresolved) => {
            return Resolved {
                backends: Vec::new(),
                unresolved: Some(unresolved),
            };
        }
    };
    let first = service.map_or(Family::V4, |service| service.family);
    let mut candidates = candidates(slices.clone(), first, &port.name);
    if candidates.is_empty() {
        candidates = self::candidates(slices, first.other(), &port.name);
    }
    let mut unresolved = None;
    candidates.retain(|candidate| {
        let verdict = guard::check_of(Origin::Service, candidate.address.ip(), settings);
        if let Err(forbidden) = verdict {
            unresolved.get_or_insert_with(|| Unresolved {
                reason: status::REF_NOT_PERMITTED,
                field: place.field.clone(),
                message: format!(
                    "{}: endpoint {} of Service {} must not be dialled: {forbidden}; correct its \
                     EndpointSlice",
                    place.title, candidate.address, reference.name
                ),
            });
        }
        verdict.is_ok()
    });
    Resolved {
        backends: backends(target, candidates),
        unresolved,
    }
}

/// An endpoint's address with the port of its slice. The order decides which of two with one
/// address is kept: a ready one, then one that still serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    address: SocketAddr,
    not_ready: bool,
    not_serving: bool,
    not_terminating: bool,
    nodes: Vec<String>,
    zones: Vec<String>,
}

/// All endpoints of one family at the named port, sorted, one for each address.
fn candidates<'a>(
    slices: impl Iterator<Item = &'a Slice>,
    family: Family,
    port_name: &str,
) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = slices
        .filter(|slice| slice.family == family)
        .filter_map(|slice| Some((slice.port(port_name)?, slice)))
        .flat_map(|(port, slice)| slice.endpoints.iter().map(move |e| (port, e)))
        .filter(|(_, endpoint)| family.holds(endpoint.address))
        .map(|(port, endpoint)| Candidate {
            address: SocketAddr::new(endpoint.address, port.get()),
            not_ready: !endpoint.ready,
            not_serving: !endpoint.serving,
            not_terminating: !endpoint.terminating,
            nodes: endpoint.nodes.clone(),
            zones: endpoint.zones.clone(),
        })
        .collect();
    candidates.sort();
    candidates.dedup_by_key(|candidate| candidate.address);
    candidates
}

/// Ready ones take new sessions; if there are none, those that terminate and still serve.
fn backends(target: &str, candidates: Vec<Candidate>) -> Vec<Backend> {
    let any_ready = candidates.iter().any(|candidate| !candidate.not_ready);
    let backend = |candidate: Candidate| {
        let takes_new = match any_ready {
            true => !candidate.not_ready,
            false => !candidate.not_serving && !candidate.not_terminating,
        };
        Backend {
            target: target.to_owned(),
            address: candidate.address,
            state: match (candidate.not_terminating, candidate.not_ready) {
                (false, _) => BackendState::Terminating,
                (true, false) => BackendState::Ready,
                (true, true) => BackendState::NotReady,
            },
            takes_new: if takes_new {
                TakesNew::Yes
            } else {
                TakesNew::No
            },
            nodes: candidate.nodes,
            zones: candidate.zones,
        }
    };
    candidates.into_iter().map(backend).collect()
}

fn named_port<'a>(
    place: &Place,
    reference: &ServiceRef,
    service: Option<&'a Service>,
) -> Result<&'a Port, Unresolved> {
    let ServiceRef {
        namespace, name, ..
    } = reference;
    let named = format!("{}.name", place.field);
    let unresolved = |reason, field: &str, message: String| Unresolved {
        reason,
        field: field.to_owned(),
        message: format!("{}: {message}", place.title),
    };
    let Some(service) = service else {
        let message = format!(
            "Service {name} does not exist in namespace {namespace}; create it or correct the name"
        );
        return Err(unresolved(status::BACKEND_NOT_FOUND, &named, message));
    };
    let unsupported = match service.kind {
        Kind::Endpoints => None,
        Kind::ExternalName => Some(
            "is of type ExternalName, which could lead anywhere; name its server by address \
             instead",
        ),
        Kind::NodeLocal => Some(
            "has internalTrafficPolicy Local, but a forward does not know the nodes of its \
             clients; set it to Cluster, or name another Service of the same pods",
        ),
    };
    if let Some(why) = unsupported {
        let message = format!("Service {name} {why}");
        return Err(unresolved(status::UNSUPPORTED_SERVICE, &named, message));
    }
    let (matching, wanted) = matching(service, &reference.port);
    if let Some(port) = matching.iter().copied().find(|port| port.protocol == "TCP") {
        return Ok(port);
    }
    let known = service.tcp_ports();
    Err(match matching.first() {
        Some(Port { protocol, .. }) => {
            let message = format!(
                "port {wanted} of Service {name} is {protocol}, only TCP is forwarded; its TCP \
                 ports: {known}"
            );
            unresolved(status::UNSUPPORTED_SERVICE, &place.port, message)
        }
        None => {
            let message = format!("Service {name} has no port {wanted}; its TCP ports: {known}");
            unresolved(status::PORT_NOT_FOUND, &place.port, message)
        }
    })
}

/// The ports that a reference may mean, and how it names them. One number may serve TCP and UDP.
fn matching<'a>(service: &'a Service, wanted: &ServicePort) -> (Vec<&'a Port>, String) {
    let is = |port: &&Port| match wanted {
        ServicePort::Number(number) => i32::from(port.number) == *number,
        ServicePort::Name(name) => port.name == *name,
    };
    let shown = match wanted {
        ServicePort::Number(number) => number.to_string(),
        ServicePort::Name(name) => format!("{name:?}"),
    };
    (service.ports.iter().filter(is).collect(), shown)
}

impl Family {
    fn holds(self, address: IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

#[cfg(test)]
mod tests;
