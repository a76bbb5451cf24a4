//! Pure. A parent proxy, on the wire.

use crate::CA_BYTES;
use crate::proto;
use crate::proto::via::{Credentials, Scheme};
use crate::snapshot::{Login, Via, ViaScheme};
use crate::wire::{Invalid, invalid, port};

/// Bytes of a DNS name at most, and of a user or a password that Basic authentication is used with.
const TEXT_BYTES: usize = 253;

/// Bytes of a reason at most: a sentence with two names in it.
const REASON_BYTES: usize = 1 << 10;

pub(super) fn to_proto(via: &Via) -> proto::Via {
    let scheme = match via.scheme {
        ViaScheme::Http => Scheme::Http,
        ViaScheme::Https => Scheme::Https,
    };
    proto::Via {
        scheme: scheme.into(),
        host: via.host.clone(),
        port: via.port.get().into(),
        credentials: via.credentials.as_ref().map(|login| Credentials {
            user: login.user.clone(),
            password: login.password.clone(),
        }),
        ca: via.ca.clone().unwrap_or_default(),
        unusable: via.unusable.clone().unwrap_or_default(),
    }
}

pub(super) fn from_proto(message: proto::Via) -> Result<Via, Invalid> {
    let scheme = match message.scheme() {
        Scheme::Http => ViaScheme::Http,
        Scheme::Https => ViaScheme::Https,
        Scheme::Unspecified => {
            return Err(invalid("via.scheme", message.scheme, "unknown value"));
        }
    };
    if !(1..=TEXT_BYTES).contains(&message.host.len()) {
        let why = "expected a DNS name or an IP address";
        return Err(invalid("via.host", message.host, why));
    }
    if message.ca.len() > CA_BYTES {
        return Err(invalid("via.ca", message.ca.len(), "too many bytes"));
    }
    if message.unusable.len() > REASON_BYTES {
        return Err(invalid("via.unusable", message.unusable, "too long"));
    }
    if !message.ca.is_empty() && scheme == ViaScheme::Http {
        return Err(invalid("via.ca", "present", "only https has certificates"));
    }
    Ok(Via {
        scheme,
        port: port("via.port", message.port)?,
        host: message.host,
        credentials: message.credentials.map(login).transpose()?,
        ca: Some(message.ca).filter(|ca| !ca.is_empty()),
        unusable: Some(message.unusable).filter(|why| !why.is_empty()),
    })
}

/// What is refused is not repeated: it is a secret, or in the wrong field.
fn login(message: Credentials) -> Result<Login, Invalid> {
    let Credentials { user, password } = message;
    let is_fine =
        |text: &str| (1..=TEXT_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
    if !is_fine(&user) || user.contains(':') {
        let why = "expected 1 to 253 bytes without a colon or a control character";
        return Err(invalid("credentials.user", "hidden", why));
    }
    if !is_fine(&password) {
        let why = "expected 1 to 253 bytes without a control character";
        return Err(invalid("credentials.password", "hidden", why));
    }
    Ok(Login { user, password })
}
