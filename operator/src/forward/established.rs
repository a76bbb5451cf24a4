//! Pure. What happens to open sessions, and what a backend gets, parsed.

use tcpforward_protocol::snapshot::{BackendLimits, EstablishedConnections, Fate};

use super::{Rejection, value};
use crate::crd::{self, defaults};

pub(super) fn parse(
    written: crd::EstablishedConnections,
) -> Result<EstablishedConnections, Rejection> {
    let absent = defaults::established_connections();
    let field = "spec.relay.establishedConnections.closesPerSecond";
    let closes = absent.closes_per_second.get();
    Ok(EstablishedConnections {
        on_not_ready: fate(written.on_not_ready, absent.on_not_ready),
        on_terminating: fate(written.on_terminating, absent.on_terminating),
        on_unhealthy: fate(written.on_unhealthy, absent.on_unhealthy),
        on_failback: fate(written.on_failback, absent.on_failback),
        on_removed: fate(written.on_removed, absent.on_removed),
        drain_timeout: value::time(written.drain_timeout.as_deref(), absent.drain_timeout),
        closes_per_second: value::positive(field, written.closes_per_second, closes)?,
    })
}

pub(super) fn limits(written: crd::BackendLimits) -> Result<BackendLimits, Rejection> {
    let field = "spec.relay.backendLimits.connections";
    Ok(BackendLimits {
        connections: value::positive(field, Some(written.connections), 0)?,
        queue_timeout: value::time(written.queue_timeout.as_deref(), defaults::QUEUE_TIMEOUT),
    })
}

fn fate(written: Option<crd::Fate>, absent: Fate) -> Fate {
    match written {
        None => absent,
        Some(crd::Fate::Close) => Fate::Close,
        Some(crd::Fate::Drain) => Fate::Drain,
        Some(crd::Fate::Keep) => Fate::Keep,
    }
}
