//! Pure. One TcpForward, parsed: defaults in place, nothing left that could be wrong by itself.

use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::Value;
use tcpforward_protocol::feature;
use tcpforward_protocol::snapshot::{ForwardSpec, Timeouts};

use crate::crd::{self, ServicePort, TcpForwardSpec, defaults};
use crate::{status, validate};

mod connect;
mod established;
mod expose;
mod health;
mod listener;
mod relay;
mod target;
mod tcp;
mod value;
mod via;

pub use expose::Expose;
pub use via::ViaSecrets;

/// What a valid TcpForward asks for, before its targets are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Its pool of data planes.
    pub pool: String,
    /// The part that data planes get as it is.
    pub spec: ForwardSpec,
    /// Where each target of `spec` leads, in the same order.
    pub destinations: Vec<Destination>,
    /// Where each target of `spec` was written, in the same order.
    pub places: Vec<Place>,
    /// The Secret of a proxy's users, in the forward's own namespace.
    pub secret: Option<String>,
    /// What the parent proxy of `spec` needs, if it has one.
    pub via: Option<ViaSecrets>,
    /// The Service by which clients reach it, as far as it says.
    pub expose: Option<Expose>,
}

impl Draft {
    /// Names of all Secrets that it needs.
    pub fn secrets(&self) -> impl Iterator<Item = &String> {
        let of_via = self.via.iter();
        let of_via = of_via.flat_map(|via| via.credentials.iter().chain(&via.ca));
        self.secret.iter().chain(of_via)
    }
}

/// Where a target was written, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The target for people: "target web", or the field of a rule.
    pub title: String,
    /// The field of its Service or address.
    pub field: String,
    /// The field of its port.
    pub port: String,
}

/// Where a target leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To a fixed server.
    Address(SocketAddr),
    /// To the addresses of `Target.host`, which data planes resolve.
    Host,
    /// To the endpoints of a Service.
    Service(ServiceRef),
}

impl Destination {
    /// Whether it leads to a Service of another namespace.
    fn is_beyond(&self, own: &str) -> bool {
        matches!(self, Self::Service(service) if service.namespace != own)
    }
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
    draft(raw, spec)
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

fn draft(raw: &Value, spec: TcpForwardSpec) -> Result<Draft, Rejection> {
    let timeouts = spec.timeouts.unwrap_or_default();
    let listener = listener::parse(spec.listener)?;
    let (mut proxy, mut secret) = (None, None);
    let via;
    let (relay, targets) = match (spec.relay, spec.http_connect) {
        (Some(mut relay), None) => {
            via = relay
                .via
                .take()
                .map(|via| via::parse("spec.relay.via", via));
            let written = std::mem::take(&mut relay.targets);
            let mut targets = target::parse(written, namespace(raw))?;
            let parsed = std::mem::take(&mut targets.targets);
            let relay = relay::parse(relay, parsed, annotation(raw, crd::FAILBACK))?;
            (relay, targets)
        }
        (None, Some(mut written)) => {
            let parent = written.via.take();
            via = parent.map(|via| via::parse("spec.httpConnect.via", via));
            let authentication = written.authentication.as_ref();
            secret = authentication.map(|by| by.basic.secret_ref.name.clone());
            let parsed = connect::parse(written, namespace(raw))?;
            let mut targets = connect::targets(&parsed)?;
            proxy = Some(parsed);
            let relay = relay::of_proxy(std::mem::take(&mut targets.targets))?;
            (relay, targets)
        }
        _ => return Err(unsupported("spec", "set relay or httpConnect")),
    };
    let (via, via_secrets) = via.transpose()?.unzip();
    let mut wanted = ForwardSpec {
        generation: generation(raw),
        requires: Vec::new(),
        listener,
        relay,
        connect: proxy,
        via,
        timeouts: Timeouts {
            idle: value::silence(timeouts.idle.as_deref(), defaults::IDLE),
            half_closed: value::silence(timeouts.half_closed.as_deref(), defaults::HALF_CLOSED),
            max_connection_age: value::silence(
                timeouts.max_connection_age.as_deref(),
                defaults::MAX_CONNECTION_AGE,
            ),
        },
    };
    wanted.requires = required(&wanted, &targets.destinations, namespace(raw));
    Ok(Draft {
        pool: spec.data_plane_name,
        spec: wanted,
        destinations: targets.destinations,
        places: targets.places,
        secret,
        via: via_secrets,
        expose: spec.expose.map(expose::parse),
    })
}

/// What data planes have to know, by the spec and by where it leads.
fn required(spec: &ForwardSpec, destinations: &[Destination], own: &str) -> Vec<String> {
    let mut required = feature::required(spec);
    if destinations.iter().any(|to| to.is_beyond(own)) {
        required.push(feature::GRANTS.to_owned());
        required.sort();
    }
    required
}

/// The value of an annotation; empty if it has none.
fn annotation<'a>(raw: &'a Value, key: &str) -> &'a str {
    let annotations = raw.pointer("/metadata/annotations");
    let value = annotations.and_then(|annotations| annotations.get(key)?.as_str());
    value.unwrap_or_default()
}

fn unsupported(field: &str, message: impl Into<String>) -> Rejection {
    Rejection {
        reason: status::UNSUPPORTED_VALUE,
        field: field.to_owned(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests;
