//! Pure. What a TcpForward asks for, on the wire.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use super::{Invalid, invalid, present};
use crate::proto;
use crate::snapshot::{ForwardSpec, Timeouts};

mod connect;
mod health;
mod listener;
mod policies;
mod relay;
mod tcp;
mod via;

pub(super) fn spec_to_proto(spec: &ForwardSpec) -> proto::ForwardSpec {
    let timeouts = spec.timeouts;
    proto::ForwardSpec {
        generation: spec.generation,
        requires: spec.requires.clone(),
        listener: Some(listener::to_proto(&spec.listener)),
        relay: Some(relay::to_proto(&spec.relay)),
        http_connect: spec.connect.as_ref().map(connect::to_proto),
        via: spec.via.as_ref().map(via::to_proto),
        timeouts: Some(proto::Timeouts {
            idle_ms: optional_millis(timeouts.idle),
            half_closed_ms: optional_millis(timeouts.half_closed),
            max_connection_age_ms: optional_millis(timeouts.max_connection_age),
        }),
    }
}

pub(super) fn spec_from_proto(message: proto::ForwardSpec) -> Result<ForwardSpec, Invalid> {
    let timeouts = present("spec.timeouts", message.timeouts)?;
    Ok(ForwardSpec {
        generation: message.generation,
        requires: message.requires,
        listener: listener::from_proto(&present("spec.listener", message.listener)?)?,
        relay: relay::from_proto(present("spec.relay", message.relay)?)?,
        connect: message.http_connect.map(connect::from_proto).transpose()?,
        via: message.via.map(via::from_proto).transpose()?,
        timeouts: Timeouts {
            idle: nonzero_millis(timeouts.idle_ms),
            half_closed: nonzero_millis(timeouts.half_closed_ms),
            max_connection_age: nonzero_millis(timeouts.max_connection_age_ms),
        },
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn optional_millis(duration: Option<Duration>) -> u64 {
    duration.map_or(0, millis)
}

fn nonzero_millis(millis: u64) -> Option<Duration> {
    (millis > 0).then(|| Duration::from_millis(millis))
}

fn some_time(field: &'static str, millis: u64) -> Result<Duration, Invalid> {
    nonzero_millis(millis).ok_or_else(|| invalid(field, 0, "expected more than 0"))
}

fn percent(field: &'static str, number: u32) -> Result<u8, Invalid> {
    let percent = u8::try_from(number).ok().filter(|percent| *percent <= 100);
    percent.ok_or_else(|| invalid(field, number, "expected 0 to 100"))
}

fn positive(field: &'static str, number: u32) -> Result<NonZeroU32, Invalid> {
    NonZeroU32::new(number).ok_or_else(|| invalid(field, number, "expected more than 0"))
}

fn optional_count(limit: Option<NonZeroU32>) -> u32 {
    limit.map_or(0, NonZeroU32::get)
}

fn unique<'a>(field: &'static str, names: impl Iterator<Item = &'a str>) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(invalid(field, name, "two of them have this name"));
        }
    }
    Ok(())
}
