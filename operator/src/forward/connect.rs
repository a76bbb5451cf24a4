//! Pure. A CONNECT proxy, parsed. The Services that its rules lead to become targets of its relay.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use tcpforward_protocol::snapshot::{
    Action, HostPattern, HttpConnect, Origin, PolicyMode, Rule, ServiceName, Subject, Target,
    TunnelLimits,
};
use tcpforward_protocol::{HEAD_BYTES, SERVICE_PORTS};

use super::target::Targets;
use super::{Destination, Place, Rejection, ServiceRef, listener, unsupported, value};
use crate::crd::{self, ServicePort, defaults};

/// What data planes get, without what is not the author's: users are read from a Secret, and the
/// cluster's domain is known to the operator.
pub(super) fn parse(written: crd::HttpConnect, namespace: &str) -> Result<HttpConnect, Rejection> {
    let rules = written.rules.into_iter().enumerate();
    Ok(HttpConnect {
        rules: rules
            .map(|(i, written)| rule(&format!("{RULES}[{i}]"), written, namespace))
            .collect::<Result<_, _>>()?,
        mode: match written.mode {
            None => defaults::POLICY_MODE,
            Some(crd::PolicyMode::Enforce) => PolicyMode::Enforce,
            Some(crd::PolicyMode::Report) => PolicyMode::Report,
        },
        users: written.authentication.map(|_| Vec::new()),
        cluster_domain: String::new(),
        limits: limits(written.limits.unwrap_or_default())?,
    })
}

/// Of each list one way to write it: the order and repetitions of its entries mean nothing.
fn rule(field: &str, written: crd::ConnectRule, namespace: &str) -> Result<Rule, Rejection> {
    let at = |list: &str| format!("{field}.{list}");
    let ports = written.ports.unwrap_or_else(|| vec![defaults::TUNNEL_PORT]);
    let subjects = written.subjects.into_iter().flatten();
    let services = written.services.into_iter().flatten();
    Ok(Rule {
        name: written.name,
        action: match written.action {
            crd::RuleAction::Allow => Action::Allow,
            crd::RuleAction::Deny => Action::Deny,
        },
        hosts: set(
            written.hosts.into_iter().flatten().enumerate(),
            |(i, text)| {
                HostPattern::parse(&text).map_err(|error| {
                    let field = format!("{}[{i}]", at("hosts"));
                    unsupported(&field, format!("{field} is {text:?}: {error}"))
                })
            },
        )?,
        cidrs: listener::ranges(&at("cidrs"), &written.cidrs.unwrap_or_default())?,
        // In the order of the author, so that messages can name the field.
        services: services
            .map(|service| ServiceName {
                namespace: service.namespace.unwrap_or_else(|| namespace.to_owned()),
                name: service.name,
            })
            .collect(),
        ports: set(ports.into_iter(), |number| {
            value::port(&at("ports"), number).map(std::num::NonZeroU16::get)
        })?,
        subjects: set(subjects, |subject| match subject.kind {
            crd::SubjectKind::User => Ok(Subject::User(subject.name)),
        })?,
    })
}

fn set<A, B: Ord>(
    entries: impl Iterator<Item = A>,
    parse: impl FnMut(A) -> Result<B, Rejection>,
) -> Result<Vec<B>, Rejection> {
    let set: BTreeSet<B> = entries.map(parse).collect::<Result<_, _>>()?;
    Ok(set.into_iter().collect())
}

fn limits(written: crd::TunnelLimits) -> Result<TunnelLimits, Rejection> {
    let at = |field: &str| format!("spec.httpConnect.limits.{field}");
    let limit = |field: &str, number| -> Result<Option<NonZeroU32>, Rejection> {
        value::limit(&at(field), number)
    };
    Ok(TunnelLimits {
        tunnels: limit("tunnels", written.tunnels)?,
        tunnels_per_source: limit("tunnelsPerSource", written.tunnels_per_source)?,
        tunnels_per_subject: limit("tunnelsPerSubject", written.tunnels_per_subject)?,
        header_timeout: value::time(written.header_timeout.as_deref(), defaults::HEADER_TIMEOUT),
        max_header_size: match written.max_header_size {
            None => defaults::MAX_HEADER_SIZE,
            Some(size) => {
                let bytes = value::bytes(&size).filter(|bytes| HEAD_BYTES.contains(bytes));
                let field = at("maxHeaderSize");
                bytes.ok_or_else(|| {
                    unsupported(&field, format!("{field} is not a size from 1Ki to 64Ki"))
                })?
            }
        },
    })
}

/// The ports of Services that rules lead to, as targets. Data planes never mix them: clients say to
/// which one they go.
pub(super) fn targets(connect: &HttpConnect) -> Result<Targets, Rejection> {
    let mut found: BTreeMap<(&ServiceName, u16), (usize, usize)> = BTreeMap::new();
    let rules = connect.rules.iter().enumerate();
    for (i, rule) in rules.filter(|(_, rule)| rule.action == Action::Allow) {
        let services = rule.services.iter().enumerate();
        // Each pair once, so that a rule costs no more than what is found.
        let services: BTreeMap<&ServiceName, usize> = services.rev().map(|(j, s)| (s, j)).collect();
        for (service, j) in services {
            for port in &rule.ports {
                found.entry((service, *port)).or_insert((i, j));
            }
            if found.len() > COUNTED {
                return Err(too_many(&format!("more than {COUNTED}")));
            }
        }
    }
    if found.len() > SERVICE_PORTS {
        return Err(too_many(&found.len().to_string()));
    }
    let mut targets = Targets::default();
    for ((service, port), (i, j)) in found {
        targets.targets.push(Target {
            name: service.target(port),
            weight: defaults::WEIGHT,
            priority: defaults::PRIORITY,
            host: None,
            origin: Origin::Service,
        });
        targets.destinations.push(Destination::Service(ServiceRef {
            namespace: service.namespace.clone(),
            name: service.name.clone(),
            port: ServicePort::Number(port.into()),
        }));
        let field = format!("{RULES}[{i}].services[{j}]");
        targets.places.push(Place {
            title: field.clone(),
            port: format!("{RULES}[{i}].ports"),
            field,
        });
    }
    Ok(targets)
}

fn too_many(found: &str) -> Rejection {
    let message = format!(
        "{RULES} lead to {found} ports of Services, and at most {SERVICE_PORTS} are allowed; name \
         fewer services or ports, or use hosts and cidrs"
    );
    unsupported(RULES, message)
}

const RULES: &str = "spec.httpConnect.rules";

/// Nobody needs the exact number of more than this, which takes time to count.
const COUNTED: usize = 8 * SERVICE_PORTS;

#[cfg(test)]
mod tests;
