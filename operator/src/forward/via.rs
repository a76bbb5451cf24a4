//! Pure. A parent proxy, parsed. What its Secrets hold is filled in when they are known.

use tcpforward_protocol::snapshot::{Via, ViaScheme};

use super::{Rejection, value};
use crate::crd;

/// The Secrets that a parent proxy needs, in the forward's own namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViaSecrets {
    /// The field of the parent proxy.
    pub field: String,
    /// Who we are to it.
    pub credentials: Option<String>,
    /// Who may have signed its certificate.
    pub ca: Option<String>,
}

/// `field`: where it was written.
pub(super) fn parse(field: &str, written: crd::Via) -> Result<(Via, ViaSecrets), Rejection> {
    let crd::ParentProxy { scheme, host, port } = written.proxy;
    let via = Via {
        scheme: match scheme {
            crd::Scheme::Http => ViaScheme::Http,
            crd::Scheme::Https => ViaScheme::Https,
        },
        host,
        port: value::port(&format!("{field}.proxy.port"), port)?,
        credentials: None,
        ca: None,
        unusable: None,
    };
    let secrets = ViaSecrets {
        field: field.to_owned(),
        credentials: written.credentials.map(|by| by.secret_ref.name),
        ca: written.ca_secret_ref.map(|secret| secret.name),
    };
    Ok((via, secrets))
}
