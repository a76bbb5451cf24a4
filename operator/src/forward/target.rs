//! Pure. Targets, parsed: what data planes get of them, and where they lead.

use std::net::{IpAddr, SocketAddr};

use tcpforward_protocol::snapshot::{Host, Target};

use super::{Destination, Rejection, ServiceRef, unsupported, value};
use crate::crd::{self, defaults};

pub(super) fn parse(
    targets: Vec<crd::Target>,
    namespace: &str,
) -> Result<(Vec<Target>, Vec<Destination>), Rejection> {
    let parsed = targets.into_iter().enumerate();
    let parsed = parsed.map(|(i, target)| one(i, target, namespace));
    let parsed: Vec<(Target, Destination)> = parsed.collect::<Result<_, _>>()?;
    Ok(parsed.into_iter().unzip())
}

fn one(i: usize, target: crd::Target, namespace: &str) -> Result<(Target, Destination), Rejection> {
    let at = |field: &str| format!("spec.relay.targets[{i}].{field}");
    let mut parsed = Target {
        weight: value::count(&at("weight"), target.weight, defaults::WEIGHT)?,
        priority: value::count(&at("priority"), target.priority, defaults::PRIORITY)?,
        name: target.name,
        host: None,
    };
    let destination = match (target.service, target.address) {
        (Some(service), None) => Destination::Service(ServiceRef {
            namespace: service.namespace.unwrap_or_else(|| namespace.to_owned()),
            name: service.name,
            port: service.port,
        }),
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
