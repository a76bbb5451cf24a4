//! Pure. One TcpForward, parsed: defaults in place, nothing left that could be wrong by itself.

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tcpforward_protocol::snapshot::{
    Dial, EstablishedConnections, Failover, ForwardSpec, HealthCheck, Listener, LoadBalancer,
    Policy, Relay, Target, Timeouts,
};

use crate::crd::{self, ServicePort, TcpForwardSpec, defaults};
use crate::{status, validate};

/// What a valid TcpForward asks for, before its targets are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Its pool of data planes.
    pub pool: String,
    /// The part that data planes get as it is.
    pub spec: ForwardSpec,
    /// Where each target of `spec` leads, in the same order.
    pub destinations: Vec<Destination>,
}

/// Where a target leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To a fixed server.
    Address(SocketAddr),
    /// To the endpoints of a Service.
    Service(ServiceRef),
}

/// A port of a Service, as a target names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRef {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub name: String,
    /// Which of its ports.
    pub port: ServicePort,
}

/// Why a forward is not served at all: reason and text of `Accepted=False`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Rejection {
    /// A reason of `status`.
    pub reason: &'static str,
    /// The field at fault.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Parses a TcpForward as it was written.
///
/// # Errors
/// The first thing that the schema, the rules or a type refuse.
pub fn parse(raw: &Value) -> Result<Draft, Rejection> {
    if let Some(finding) = validate::tcp_forward(raw).into_iter().next() {
        return Err(Rejection {
            reason: status::UNSUPPORTED_VALUE,
            message: finding.to_string(),
            field: finding.path,
        });
    }
    let plain = validate::without_nulls(raw);
    let spec = plain.get("spec").unwrap_or(&Value::Null);
    let spec = TcpForwardSpec::deserialize(spec)
        .map_err(|error| unsupported("spec", format!("spec can't be read: {error}")))?;
    draft(spec, generation(raw), namespace(raw))
}

/// The pool that an object names, whether or not the rest of it is valid.
#[must_use]
pub fn pool(raw: &Value) -> &str {
    raw.pointer("/spec/dataPlaneName")
        .and_then(Value::as_str)
        .unwrap_or(defaults::DATA_PLANE_NAME)
}

/// `metadata.generation`; 0 for a manifest on disk.
#[must_use]
pub fn generation(raw: &Value) -> i64 {
    raw.pointer("/metadata/generation")
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// `metadata.namespace`.
#[must_use]
pub fn namespace(raw: &Value) -> &str {
    raw.pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .unwrap_or("default")
}

fn draft(spec: TcpForwardSpec, generation: i64, namespace: &str) -> Result<Draft, Rejection> {
    let dial = spec.relay.dial.unwrap_or_default();
    let timeouts = spec.timeouts.unwrap_or_default();
    let attempts = dial
        .attempts
        .map_or(Some(defaults::DIAL_ATTEMPTS), |n| n.try_into().ok());
    let (mut targets, mut destinations) = (Vec::new(), Vec::new());
    for (i, target) in spec.relay.targets.into_iter().enumerate() {
        let at = |field: &str| format!("spec.relay.targets[{i}].{field}");
        targets.push(Target {
            weight: count(&at("weight"), target.weight, defaults::WEIGHT)?,
            priority: count(&at("priority"), target.priority, defaults::PRIORITY)?,
            name: target.name,
            host: None,
        });
        destinations.push(match (target.service, target.address) {
            (Some(service), None) => Destination::Service(ServiceRef {
                namespace: service.namespace.unwrap_or_else(|| namespace.to_owned()),
                name: service.name,
                port: service.port,
            }),
            (None, Some(address)) => Destination::Address(SocketAddr::new(
                ip(&at("address.host"), &address.host)?,
                port(&at("address.port"), address.port)?.get(),
            )),
            _ => return Err(unsupported(&at("service"), "set service or address")),
        });
    }
    Ok(Draft {
        pool: spec.data_plane_name,
        spec: ForwardSpec {
            generation,
            requires: Vec::new(),
            listener: Listener::plain(
                port("spec.listener.port", spec.listener.port)?,
                match spec.listener.address {
                    Some(text) => Some(ip("spec.listener.address", &text)?),
                    None => None,
                },
            ),
            relay: Relay {
                targets,
                dial: Dial {
                    timeout: time(dial.timeout.as_deref(), defaults::DIAL_TIMEOUT),
                    attempts: attempts.and_then(NonZeroU32::new).ok_or_else(|| {
                        unsupported("spec.relay.dial.attempts", "write a number from 1 to 16")
                    })?,
                    deadline: time(dial.deadline.as_deref(), defaults::DIAL_DEADLINE),
                    hedge_after: None,
                },
                load_balancer: LoadBalancer {
                    policy: match spec.relay.load_balancer.unwrap_or_default().kind {
                        None | Some(crd::LoadBalancerType::RoundRobin) => Policy::RoundRobin,
                    },
                    ..LoadBalancer::default()
                },
                failover: Failover::default(),
                health_check: HealthCheck::default(),
                established_connections: EstablishedConnections::default(),
                backend_limits: None,
                proxy_protocol: None,
            },
            timeouts: Timeouts {
                idle: silence(timeouts.idle.as_deref(), defaults::IDLE),
                half_closed: silence(timeouts.half_closed.as_deref(), defaults::HALF_CLOSED),
                max_connection_age: None,
            },
        },
        destinations,
    })
}

fn unsupported(field: &str, message: impl Into<String>) -> Rejection {
    Rejection {
        reason: status::UNSUPPORTED_VALUE,
        field: field.to_owned(),
        message: message.into(),
    }
}

fn port(field: &str, number: i32) -> Result<NonZeroU16, Rejection> {
    u16::try_from(number)
        .ok()
        .and_then(NonZeroU16::new)
        .ok_or_else(|| unsupported(field, format!("{field} is {number}: no TCP port")))
}

fn ip(field: &str, text: &str) -> Result<IpAddr, Rejection> {
    text.parse()
        .map_err(|_| unsupported(field, format!("{field} is {text:?}: no IP address")))
}

fn count(field: &str, number: Option<i32>, absent: u32) -> Result<u32, Rejection> {
    number.map_or(Ok(absent), |number| {
        u32::try_from(number)
            .map_err(|_| unsupported(field, format!("{field} is {number}: less than 0")))
    })
}

fn time(text: Option<&str>, absent: Duration) -> Duration {
    text.map_or(absent, duration)
}

/// 0s means none.
fn silence(text: Option<&str>, absent: Option<Duration>) -> Option<Duration> {
    text.map_or(absent, |text| Some(duration(text)).filter(|d| !d.is_zero()))
}

/// The sum of what the schema's pattern lets through: numbers with h, m, s or ms.
fn duration(text: &str) -> Duration {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while let Some(end) = rest.find(|c: char| !c.is_ascii_digit()) {
        let (digits, tail) = rest.split_at(end);
        let number: u64 = digits.parse().unwrap_or_default();
        let (unit, length) = match tail {
            _ if tail.starts_with("ms") => (Duration::from_millis(number), 2),
            _ if tail.starts_with('h') => (Duration::from_secs(3600 * number), 1),
            _ if tail.starts_with('m') => (Duration::from_secs(60 * number), 1),
            _ => (Duration::from_secs(number), 1),
        };
        total += unit;
        rest = tail.get(length..).unwrap_or_default();
    }
    total
}

#[cfg(test)]
mod tests;
