//! Pure. The users of a proxy, by the Secret that it names. Whatever is wrong with that one, nobody
//! gets in: users of an earlier state may be the very ones that were taken out.

use tcpforward_protocol::snapshot::{ForwardName, ForwardSpec, User};

use crate::forward::Draft;
use crate::index::{Contents, Index};
use crate::resolve::Unresolved;
use crate::status;

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
    let (reason, message) = match contents {
        Some(Contents::Users(Ok(users))) => return Ok(users.clone()),
        Some(Contents::Users(Err(why))) => (
            status::INVALID_SECRET,
            format!("nobody gets in: Secret {secret} of namespace {namespace} {why}"),
        ),
        Some(Contents::Unreadable) => (
            status::INVALID_SECRET,
            format!(
                "nobody gets in: the API server does not hand out Secret {secret} of namespace \
                 {namespace}; the operator's log says why"
            ),
        ),
        None | Some(Contents::Absent) => (
            status::SECRET_NOT_FOUND,
            format!(
                "nobody gets in: Secret {secret} does not exist in namespace {namespace}; create it \
                 with the lines of htpasswd in its key auth, or correct the name"
            ),
        ),
        Some(Contents::Beyond) => (
            status::SECRET_NOT_PERMITTED,
            format!(
                "nobody gets in: Secret {secret} is not read, because TcpForwards name too many of \
                 them; let several name the same one"
            ),
        ),
        Some(Contents::Forbidden) => (
            status::SECRET_NOT_PERMITTED,
            format!(
                "nobody gets in: the operator may not read Secret {secret}; give it a Role in \
                 namespace {namespace} with list and watch of secrets, resourceNames [{secret}]"
            ),
        ),
    };
    Err(Unresolved {
        reason,
        field: "spec.httpConnect.authentication.basic.secretRef.name".to_owned(),
        message,
    })
}
