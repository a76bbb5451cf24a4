//! Pure. The users of a proxy, by the Secret that it names. Whatever is wrong with that one, nobody
//! gets in: users of an earlier state may be the very ones that were taken out.

use tcpforward_protocol::snapshot::{ForwardName, ForwardSpec, User};

use crate::forward::Draft;
use crate::index::{Contents, Index};
use crate::resolve::Unresolved;

use super::needed::Needed;

/// Fills in the users of a proxy; what is wrong with their Secret, if anything.
pub(super) fn sign_up(
    index: &Index,
    name: &ForwardName,
    draft: &Draft,
    spec: &mut ForwardSpec,
) -> Option<Unresolved> {
    let secret = draft.secret.as_deref()?;
    let contents = index.secret(name.namespace(), secret);
    let (users, unresolved) = match of(contents, name.namespace(), secret) {
        Ok(users) => (users, None),
        Err(unresolved) => (Vec::new(), Some(unresolved)),
    };
    if let Some(connect) = &mut spec.connect {
        connect.users = Some(users);
    }
    unresolved
}

/// The users that a Secret holds.
fn of(contents: Option<&Contents>, namespace: &str, secret: &str) -> Result<Vec<User>, Unresolved> {
    let needed = Needed {
        namespace,
        secret,
        without: "nobody gets in",
        holds: "the lines of htpasswd in its key auth",
    };
    let users = needed.of(contents, |held| held.users.clone());
    users.map_err(|(reason, message)| Unresolved {
        reason,
        field: "spec.httpConnect.authentication.basic.secretRef.name".to_owned(),
        message,
    })
}
