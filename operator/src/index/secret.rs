//! Pure. A Secret, reduced at the door to what forwards need; nothing prints a hash or a password.

use std::collections::BTreeMap;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tcpforward_protocol::CA_BYTES;
use tcpforward_protocol::snapshot::{Login, User};

use crate::htpasswd;

/// A Secret that a forward may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What is known of it.
    pub contents: Contents,
}

/// What is known of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// There is no such Secret.
    Absent,
    /// It was not looked at: more Secrets are named than an operator watches.
    Beyond,
    /// The operator may not read it.
    Forbidden,
    /// The API server does not hand it out.
    Unreadable,
    /// It was read.
    Read(Box<Held>),
}

/// What a Secret holds of each kind that forwards name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Of a proxy.
    pub users: Result<Vec<User>, NoUsers>,
    /// Who we are to a parent proxy.
    pub login: Result<Login, NoLogin>,
    /// Who may have signed its certificate, as PEM.
    pub ca: Result<String, NoCa>,
}

/// Why a Secret is no login.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLogin {
    /// It has other keys, or none.
    #[error("has no key {0}; it needs username and password, as type kubernetes.io/basic-auth has")]
    KeyNotFound(&'static str),
    /// It can't be sent.
    #[error(
        "is broken: key {0} is not a text of 1 to 253 bytes without control characters, a line's end \
         included, and a username has no colon"
    )]
    Text(&'static str),
}

/// Why a Secret has no certificates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCa {
    /// It has other keys, or none.
    #[error("has no key {CA}; write the certificates there, as PEM")]
    KeyNotFound,
    /// They can't be used.
    #[error(
        "is broken: key {CA} has no certificates of signers as PEM, or more than 64 KiB of them"
    )]
    Fault,
}

/// Why a Secret has no users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoUsers {
    /// Its key can't be used.
    #[error("{}", faulty(.0))]
    Fault(#[from] htpasswd::Fault),
    /// It has other keys, or none.
    #[error("has no key {KEY}; write the lines of htpasswd there")]
    KeyNotFound,
}

fn faulty(fault: &htpasswd::Fault) -> String {
    match fault {
        htpasswd::Fault::Line { .. } => format!("is broken: in key {KEY}, {fault}"),
        _ => format!("is broken: key {KEY} {fault}"),
    }
}

/// The key of users, as ingress-nginx has it.
const KEY: &str = "auth";

/// The keys of a login, as kubernetes.io/basic-auth has them.
const USERNAME: &str = "username";
const PASSWORD: &str = "password";

/// The key of certificates, as cert-manager has it.
const CA: &str = "ca.crt";

impl Contents {
    /// What these entries come to.
    pub fn of<'a>(data: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let kept = [KEY, USERNAME, PASSWORD, CA];
        let data = data.into_iter().filter(|(key, _)| kept.contains(key));
        let data: BTreeMap<&str, &[u8]> = data.collect();
        Self::Read(Box::new(Held {
            users: match data.get(KEY) {
                None => Err(NoUsers::KeyNotFound),
                Some(text) => htpasswd::parse(text).map_err(NoUsers::Fault),
            },
            login: login(&data),
            ca: match data.get(CA) {
                None => Err(NoCa::KeyNotFound),
                Some(text) => ca(text).ok_or(NoCa::Fault),
            },
        }))
    }
}

fn login(data: &BTreeMap<&str, &[u8]>) -> Result<Login, NoLogin> {
    let text = |key| {
        let bytes = data.get(key).ok_or(NoLogin::KeyNotFound(key))?;
        let text = std::str::from_utf8(bytes).ok();
        let is_fine =
            |text: &&str| (1..=253).contains(&text.len()) && !text.chars().any(char::is_control);
        text.filter(is_fine).ok_or(NoLogin::Text(key))
    };
    let (user, password) = (text(USERNAME)?, text(PASSWORD)?);
    if user.contains(':') {
        return Err(NoLogin::Text(USERNAME));
    }
    Ok(Login {
        user: user.to_owned(),
        password: password.to_owned(),
    })
}

/// By the reader that data planes have, so that what is taken here is taken there.
fn ca(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        roots.add(certificate.ok()?).ok()?;
    }
    let is_fine = !roots.is_empty() && bytes.len() <= CA_BYTES;
    is_fine.then(|| text.to_owned())
}

impl Secret {
    /// A Secret of which this is known.
    #[must_use]
    pub fn of(namespace: &str, name: &str, contents: Contents) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            contents,
        }
    }
}
