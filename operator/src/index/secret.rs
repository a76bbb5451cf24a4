//! Pure. A Secret, reduced at the door: what is kept of it are users, and nothing prints a hash.

use tcpforward_protocol::snapshot::User;

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
    /// What its key of users holds.
    Users(Result<Vec<User>, NoUsers>),
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

/// The key whose value is read, as ingress-nginx has it.
const KEY: &str = "auth";

impl Contents {
    /// What these entries come to.
    pub fn of<'a>(data: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let found = data.into_iter().find(|(key, _)| *key == KEY);
        Self::Users(match found {
            None => Err(NoUsers::KeyNotFound),
            Some((_, text)) => htpasswd::parse(text).map_err(NoUsers::Fault),
        })
    }
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
