//! Pure. What a forward needs of a Secret, or why it can't be had.

use std::fmt::Display;

use crate::index::{Contents, Held};
use crate::status;

/// What is needed of which Secret.
#[derive(Clone, Copy)]
pub(super) struct Needed<'a> {
    pub(super) namespace: &'a str,
    pub(super) secret: &'a str,
    /// What is so without it.
    pub(super) without: &'a str,
    /// What it should hold.
    pub(super) holds: &'a str,
}

impl Needed<'_> {
    /// That part of the contents, or reason and text.
    pub(super) fn of<T, E: Display>(
        self,
        contents: Option<&Contents>,
        part: impl FnOnce(&Held) -> Result<T, E>,
    ) -> Result<T, (&'static str, String)> {
        let Self {
            namespace,
            secret,
            without,
            holds,
        } = self;
        let (reason, message) = match contents {
            Some(Contents::Read(held)) => match part(held) {
                Ok(found) => return Ok(found),
                Err(why) => (
                    status::INVALID_SECRET,
                    format!("Secret {secret} of namespace {namespace} {why}"),
                ),
            },
            Some(Contents::Unreadable) => (
                status::INVALID_SECRET,
                format!(
                    "the API server does not hand out Secret {secret} of namespace {namespace}; the \
                     operator's log says why"
                ),
            ),
            None | Some(Contents::Absent) => (
                status::SECRET_NOT_FOUND,
                format!(
                    "Secret {secret} does not exist in namespace {namespace}; create it with \
                     {holds}, or correct the name"
                ),
            ),
            Some(Contents::Beyond) => (
                status::SECRET_NOT_PERMITTED,
                format!(
                    "Secret {secret} is not read, because TcpForwards name too many of them; let \
                     several name the same one"
                ),
            ),
            Some(Contents::Forbidden) => (
                status::SECRET_NOT_PERMITTED,
                format!(
                    "the operator may not read Secret {secret}; give it a Role in namespace \
                     {namespace} with list and watch of secrets, resourceNames [{secret}]"
                ),
            ),
        };
        Err((reason, format!("{without}: {message}")))
    }
}
