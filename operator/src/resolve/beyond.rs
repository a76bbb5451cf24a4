//! Pure. What is said of a Service of another namespace that may not be used.

use super::Resolved;
use crate::forward::{Place, ServiceRef};
use crate::index::Sight;
use crate::status;

/// A Service of another namespace, which does not permit it. Whether it exists is not said.
#[must_use]
pub fn not_permitted(place: &Place, reference: &ServiceRef, own: &str, sight: Sight) -> Resolved {
    let ServiceRef {
        namespace, name, ..
    } = reference;
    let grant = format!(
        "ReferenceGrant from {{group: tcpforward.dev, kind: TcpForward, namespace: {own}}} to \
         {{group: \"\", kind: Service, name: {name}}}"
    );
    let what_to_do = match sight {
        Sight::Seen => format!("which does not permit it: apply there a {grant}"),
        Sight::Absent => format!(
            "and this cluster has no ReferenceGrants: install the CRDs of Gateway API, and apply \
             there a {grant}"
        ),
        Sight::Unread => "and the operator can't read ReferenceGrants: give it list and watch of \
                          referencegrants.gateway.networking.k8s.io, or look at its log"
            .to_owned(),
    };
    let message = format!(
        "{}: Service {name} is in namespace {namespace}, {what_to_do}",
        place.title
    );
    let field = format!("{}{FIELD}", place.field);
    Resolved::nothing(status::REF_NOT_PERMITTED, field, message)
}

/// At the end of the field that is at fault.
pub(super) const FIELD: &str = ".namespace";
