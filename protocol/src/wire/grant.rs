//! Pure. Grants on the wire.

use super::{Invalid, invalid, present};
use crate::proto::{self, grant};
use crate::snapshot::{Grant, Permission, ServiceName};

pub(super) fn to_proto(given: &Grant) -> proto::Grant {
    let permission = match given.permission {
        Permission::Given => grant::Permission::Given,
        Permission::Missing => grant::Permission::Missing,
    };
    proto::Grant {
        target: given.target.clone(),
        service: Some(proto::http_connect::Service {
            namespace: given.service.namespace.clone(),
            name: given.service.name.clone(),
        }),
        permission: permission.into(),
    }
}

/// Sorted. One whose target is not there concerns nobody: it may come beside a spec that is refused.
pub(super) fn all_from_proto(messages: Vec<proto::Grant>) -> Result<Vec<Grant>, Invalid> {
    let grants = messages.into_iter().map(from_proto);
    let mut grants = grants.collect::<Result<Vec<_>, _>>()?;
    grants.sort();
    let targets = grants.iter().zip(grants.iter().skip(1));
    for (one, next) in targets {
        if one.target == next.target {
            return Err(invalid(
                "grant.target",
                &one.target,
                "two of them have this name",
            ));
        }
    }
    Ok(grants)
}

/// A permission of the future is none: nobody goes where it is not known that they may.
fn from_proto(message: proto::Grant) -> Result<Grant, Invalid> {
    let permission = match message.permission() {
        grant::Permission::Given => Permission::Given,
        grant::Permission::Missing | grant::Permission::Unspecified => Permission::Missing,
    };
    let service = present("grant.service", message.service)?;
    Ok(Grant {
        target: message.target,
        service: ServiceName {
            namespace: service.namespace,
            name: service.name,
        },
        permission,
    })
}
