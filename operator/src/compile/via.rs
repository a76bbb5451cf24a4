//! Pure. What a parent proxy needs, by the Secrets that are named. Whatever is wrong with one of them,
//! the parent is not asked at all: neither as somebody else, nor trusting somebody else.

use tcpforward_protocol::snapshot::{ForwardName, ForwardSpec};

use super::needed::Needed;
use crate::forward::Draft;
use crate::index::Index;
use crate::resolve::Unresolved;

/// Fills in credentials and certificates; what is wrong with a Secret, if anything.
pub(super) fn equip(
    index: &Index,
    name: &ForwardName,
    draft: &Draft,
    spec: &mut ForwardSpec,
) -> Option<Unresolved> {
    let (secrets, via) = (draft.via.as_ref()?, spec.via.as_mut()?);
    let namespace = name.namespace();
    let needed = |secret, holds| Needed {
        namespace,
        secret,
        without: "the parent proxy is not asked",
        holds,
    };
    let mut unresolved = None;
    let mut miss = |field: &str, (reason, message): (&'static str, String)| {
        unresolved.get_or_insert_with(|| Unresolved {
            reason,
            field: format!("{}.{field}", secrets.field),
            message,
        });
    };
    if let Some(secret) = &secrets.credentials {
        let needed = needed(secret, "the keys username and password");
        match needed.of(index.secret(namespace, secret), |held| held.login.clone()) {
            Ok(login) => via.credentials = Some(login),
            Err(why) => miss("credentials.secretRef.name", why),
        }
    }
    if let Some(secret) = &secrets.ca {
        let needed = needed(secret, "certificates as PEM in its key ca.crt");
        match needed.of(index.secret(namespace, secret), |held| held.ca.clone()) {
            Ok(ca) => via.ca = Some(ca),
            Err(why) => miss("caSecretRef.name", why),
        }
    }
    via.unusable = unresolved.as_ref().map(|why| why.message.clone());
    unresolved
}
