//! Pure. Messages to validated types and back. Every refusal names the field, the value and why.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use prost::Message;

use crate::snapshot::{Backend, BackendState, Forward, ForwardName, ForwardSpec, Grant, TakesNew};
use crate::version::Hash;
use crate::{BACKENDS_PER_FORWARD, proto};

mod answer;
mod grant;
mod report;
mod settings;
mod spec;

use spec::{spec_from_proto, spec_to_proto};

pub use answer::{applied_from_proto, applied_to_proto, hello_from_proto, hello_to_proto};
pub use report::{report_from_proto, report_to_proto};
pub(crate) use settings::settings_bytes;
pub use settings::{settings_from_proto, settings_to_proto};

/// A message that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value:?}: {why}")]
pub struct Invalid {
    /// Path of the field in the message.
    pub field: &'static str,
    /// What it was, cut.
    pub value: String,
    /// What it should have been.
    pub why: &'static str,
}

pub(crate) fn invalid(field: &'static str, value: impl ToString, why: &'static str) -> Invalid {
    Invalid {
        field,
        value: value.to_string().chars().take(80).collect(),
        why,
    }
}

fn present<T>(field: &'static str, value: Option<T>) -> Result<T, Invalid> {
    value.ok_or_else(|| invalid(field, "absent", "it is required"))
}

pub(crate) fn name(field: &'static str, text: &str) -> Result<ForwardName, Invalid> {
    text.parse()
        .map_err(|_| invalid(field, text, "expected namespace/name"))
}

pub(crate) fn hash(field: &'static str, bytes: &[u8]) -> Result<Hash, Invalid> {
    Hash::try_from(bytes).map_err(|_| invalid(field, format!("{bytes:x?}"), "expected 16 bytes"))
}

/// The name and hash of a forward, which count for the set's version even when the rest is refused.
///
/// # Errors
/// The name or the hash is not one.
pub fn forward_identity(message: &proto::Forward) -> Result<(ForwardName, Hash), Invalid> {
    Ok((
        name("forward.name", &message.name)?,
        hash("forward.hash", &message.hash)?,
    ))
}

/// A forward as it travels.
#[must_use]
pub fn forward_to_proto(forward: &Forward) -> proto::Forward {
    proto::Forward {
        name: forward.name.to_string(),
        spec_hash: forward.spec_hash.as_bytes().to_vec(),
        hash: forward.hash.as_bytes().to_vec(),
        spec: Some(spec_to_proto(&forward.spec)),
        backends: forward.backends.iter().map(backend_to_proto).collect(),
        grants: forward.grants.iter().map(grant::to_proto).collect(),
    }
}

/// A forward as it arrived; its hashes are taken as they are.
///
/// # Errors
/// The first field that makes no sense.
pub fn forward_from_proto(message: proto::Forward) -> Result<Forward, Invalid> {
    let (name, hash_of_all) = forward_identity(&message)?;
    if message.backends.len() > BACKENDS_PER_FORWARD {
        return Err(invalid(
            "forward.backends",
            message.backends.len(),
            "too many backends",
        ));
    }
    let spec = spec_from_proto(present("forward.spec", message.spec)?)?;
    let backends: Vec<Backend> = message
        .backends
        .into_iter()
        .map(backend_from_proto)
        .collect::<Result<_, _>>()?;
    if let Some(stray) = backends
        .iter()
        .find(|b| spec.relay.targets.iter().all(|t| t.name != b.target))
    {
        return Err(invalid(
            "backend.target",
            &stray.target,
            "no target has this name",
        ));
    }
    Ok(Forward {
        name,
        spec_hash: hash("forward.spec_hash", &message.spec_hash)?,
        hash: hash_of_all,
        spec,
        backends,
        grants: grant::all_from_proto(message.grants)?,
    })
}

/// Hash of the spec and hash of the whole. The encoding has no maps, so it is the same everywhere.
pub(crate) fn content_hashes(
    spec: &ForwardSpec,
    backends: &[Backend],
    grants: &[Grant],
) -> (Hash, Hash) {
    let spec_hash = Hash::of([spec_to_proto(spec).encode_to_vec().as_slice()]);
    let mut content = spec_hash.as_bytes().to_vec();
    for backend in backends {
        content.extend(backend_to_proto(backend).encode_length_delimited_to_vec());
    }
    if !grants.is_empty() {
        // No backend has no bytes: here they end.
        content.push(0);
    }
    for grant in grants {
        content.extend(grant::to_proto(grant).encode_length_delimited_to_vec());
    }
    (spec_hash, Hash::of([content.as_slice()]))
}

/// Bytes that a backend adds to the message of its forward.
#[must_use]
pub fn backend_bytes(backend: &Backend) -> usize {
    let message = proto::Forward {
        backends: vec![backend_to_proto(backend)],
        ..Default::default()
    };
    message.encoded_len()
}

fn backend_to_proto(backend: &Backend) -> proto::Backend {
    let state = match backend.state {
        BackendState::Ready => proto::backend::State::Ready,
        BackendState::Terminating => proto::backend::State::Terminating,
        BackendState::NotReady => proto::backend::State::NotReady,
    };
    proto::Backend {
        target: backend.target.clone(),
        ip: backend.address.ip().to_string(),
        port: backend.address.port().into(),
        state: state.into(),
        takes_new: backend.takes_new == TakesNew::Yes,
        nodes: backend.nodes.clone(),
        zones: backend.zones.clone(),
    }
}

fn backend_from_proto(message: proto::Backend) -> Result<Backend, Invalid> {
    let state = match message.state() {
        proto::backend::State::Ready => BackendState::Ready,
        proto::backend::State::Terminating => BackendState::Terminating,
        proto::backend::State::NotReady => BackendState::NotReady,
        proto::backend::State::Unspecified => {
            return Err(invalid("backend.state", message.state, "unknown value"));
        }
    };
    let ip = message
        .ip
        .parse()
        .map_err(|_| invalid("backend.ip", &message.ip, "expected an IP address"))?;
    Ok(Backend {
        target: message.target,
        address: SocketAddr::new(ip, port("backend.port", message.port)?.get()),
        state,
        takes_new: if message.takes_new {
            TakesNew::Yes
        } else {
            TakesNew::No
        },
        nodes: message.nodes,
        zones: message.zones,
    })
}

fn port(field: &'static str, port: u32) -> Result<NonZeroU16, Invalid> {
    u16::try_from(port)
        .ok()
        .and_then(NonZeroU16::new)
        .ok_or_else(|| invalid(field, port, "expected 1 to 65535"))
}

#[cfg(test)]
pub(crate) mod tests;
