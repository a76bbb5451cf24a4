//! Pure. The data plane's messages. Whatever a pod sends, its texts are cut before they are kept.

use std::net::SocketAddr;

use super::{Invalid, hash, invalid, name};
use crate::answer::{Applied, Hello, Refusal, RefusalCode, ServedSpec, Serving, Source};
use crate::delta::Scope;
use crate::version::Version;
use crate::{TEXT_CHARS, proto};

/// A hello as it travels.
#[must_use]
pub fn hello_to_proto(hello: &Hello) -> proto::Hello {
    proto::Hello {
        pod: hello.pod.clone(),
        uid: hello.uid.clone(),
        node: hello.node.clone(),
        pool: hello.pool.clone(),
        build: hello.build.clone(),
        features: hello.features.clone(),
        version: version_to_proto(hello.version),
        epoch: hello.epoch,
        source: hello.source == Source::Chosen,
    }
}

/// A hello as it arrived.
///
/// # Errors
/// The pod has no name or uid, the pool no name, or the version is not one.
pub fn hello_from_proto(message: proto::Hello) -> Result<Hello, Invalid> {
    for (field, value) in [
        ("hello.pod", &message.pod),
        ("hello.uid", &message.uid),
        ("hello.pool", &message.pool),
    ] {
        if value.is_empty() || value.len() > 253 {
            return Err(invalid(field, value, "expected 1 to 253 characters"));
        }
    }
    Ok(Hello {
        pod: message.pod,
        uid: message.uid,
        node: cut(&message.node),
        pool: message.pool,
        build: cut(&message.build),
        features: message
            .features
            .iter()
            .take(64)
            .map(|text| cut(text))
            .collect(),
        version: version_from_proto("hello.version", &message.version)?,
        epoch: message.epoch,
        source: if message.source {
            Source::Chosen
        } else {
            Source::Listening
        },
    })
}

/// An answer as it travels.
#[must_use]
pub fn applied_to_proto(applied: &Applied) -> proto::Applied {
    let serving = |serving: &Serving| proto::Serving {
        forward: serving.forward.to_string(),
        spec_hash: serving
            .spec
            .map(|spec| spec.hash.as_bytes().to_vec())
            .unwrap_or_default(),
        generation: serving.spec.map_or(0, |spec| spec.generation),
    };
    let refusal = |refusal: &Refusal| proto::Refusal {
        forward: refusal.forward.to_string(),
        code: match refusal.code {
            RefusalCode::BindFailed => proto::refusal::Code::BindFailed,
            RefusalCode::Invalid => proto::refusal::Code::Invalid,
            RefusalCode::Unsupported => proto::refusal::Code::Unsupported,
        }
        .into(),
        text: cut(&refusal.text),
        spec_hash: refusal.spec_hash.as_bytes().to_vec(),
    };
    proto::Applied {
        nonce: applied.nonce,
        version: version_to_proto(applied.version),
        epoch: applied.epoch,
        full: applied.scope == Scope::Full,
        serving: applied.serving.iter().map(serving).collect(),
        refused: applied.refused.iter().map(refusal).collect(),
    }
}

/// An answer as it arrived. What a newer data plane says beyond what is known here costs no more
/// than itself: an entry without a proper name is left out, a spec that can't be told apart counts
/// as not served, a refusal of an unknown kind as `Invalid`.
///
/// # Errors
/// The version is not one.
pub fn applied_from_proto(message: proto::Applied) -> Result<Applied, Invalid> {
    Ok(Applied {
        nonce: message.nonce,
        version: version_from_proto("applied.version", &message.version)?,
        epoch: message.epoch,
        scope: if message.full {
            Scope::Full
        } else {
            Scope::Change
        },
        serving: known(&message.serving, serving_from_proto),
        refused: known(&message.refused, refusal_from_proto),
    })
}

/// The entries that make sense.
pub(super) fn known<T, U>(list: &[T], convert: impl Fn(&T) -> Result<U, Invalid>) -> Vec<U> {
    list.iter()
        .filter_map(|message| convert(message).ok())
        .collect()
}

fn serving_from_proto(message: &proto::Serving) -> Result<Serving, Invalid> {
    // What was served before is not any more, whatever is now.
    let spec = hash("serving.spec_hash", &message.spec_hash).ok();
    Ok(Serving {
        forward: name("serving.forward", &message.forward)?,
        spec: spec.map(|hash| ServedSpec {
            hash,
            generation: message.generation,
        }),
    })
}

fn refusal_from_proto(message: &proto::Refusal) -> Result<Refusal, Invalid> {
    let code = match message.code() {
        proto::refusal::Code::BindFailed => RefusalCode::BindFailed,
        proto::refusal::Code::Invalid | proto::refusal::Code::Unspecified => RefusalCode::Invalid,
        proto::refusal::Code::Unsupported => RefusalCode::Unsupported,
    };
    Ok(Refusal {
        forward: name("refusal.forward", &message.forward)?,
        spec_hash: hash("refusal.spec_hash", &message.spec_hash)?,
        code,
        text: cut(&message.text),
    })
}

pub(super) fn address(field: &'static str, text: &str) -> Result<SocketAddr, Invalid> {
    text.parse()
        .map_err(|_| invalid(field, text, "expected ip:port"))
}

fn version_to_proto(version: Option<Version>) -> Vec<u8> {
    version.map(|v| v.as_bytes().to_vec()).unwrap_or_default()
}

fn version_from_proto(field: &'static str, bytes: &[u8]) -> Result<Option<Version>, Invalid> {
    match bytes {
        [] => Ok(None),
        _ => Version::try_from(bytes)
            .map(Some)
            .map_err(|_| invalid(field, format!("{bytes:x?}"), "expected 16 bytes or none")),
    }
}

pub(super) fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARS).collect()
}
