//! Pure. Targets, parsed: what data planes get of them, and where they lead.

use std::net::{IpAddr, SocketAddr};

use tcpforward_protocol::snapshot::{Host, Origin, Target};

use super::{Destination, Place, Rejection, ServiceRef, unsupported, value};
use crate::crd::{self, defaults};

/// Targets, where they lead and where they were written, in the same order.
#[derive(Default)]
pub(super) struct Targets {
    pub(super) targets: Vec<Target>,
    pub(super) destinations: Vec<Destination>,
    pub(super) places: Vec<Place>,
}

pub(super) fn parse(written: Vec<crd::Target>, namespace: &str) -> Result<Targets, Rejection> {
    let mut targets = Targets::default();
    for (i, target) in written.into_iter().enumerate() {
        let (target, destination) = one(i, target, namespace)?;
        targets.places.push(place(i, &target, &destination));
        targets.targets.push(target);
        targets.destinations.push(destination);
    }
    Ok(targets)
}

fn place(i: usize, target: &Target, destination: &Destination) -> Place {
    let kind = match destination {
        Destination::Address(_) | Destination::Host => "address",
        Destination::Service(_) => "service",
    };
    let field = format!("spec.relay.targets[{i}].{kind}");
    Place {
        title: format!("target {}", target.name),
        port: format!("{field}.port"),
        field,
    }
}

fn one(i: usize, target: crd::Target, namespace: &str) -> Result<(Target, Destination), Rejection> {
    let at = |field: &str| format!("spec.relay.targets[{i}].{field}");
    let mut parsed = Target {
        weight: value::count(&at("weight"), target.weight, defaults::WEIGHT)?,
        priority: value::count(&at("priority"), target.priority, defaults::PRIORITY)?,
        name: target.name,
        host: None,
        origin: Origin::Author,
    };
    let destination = match (target.service, target.address) {
        (Some(service), None) => {
            parsed.origin = Origin::Service;
            Destination::Service(ServiceRef {
                namespace: service.namespace.unwrap_or_else(|| namespace.to_owned()),
                name: service.name,
                port: service.port,
            })
        }
        (None, Some(address)) => {
            let port = value::port(&at("address.port"), address.port)?;
            match address.host.parse::<IpAddr>() {
                Ok(ip) => Destination::Address(SocketAddr::new(ip, port.get())),
                Err(_) => {
                    let name = address.host;
                    parsed.host = Some(Host { name, port });
                    Destination::Host
                }
            }
        }
        _ => return Err(unsupported(&at("service"), "set service or address")),
    };
    Ok((parsed, destination))
}
