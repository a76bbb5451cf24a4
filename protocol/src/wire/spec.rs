//! Pure. What a TcpForward asks for, on the wire.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{Invalid, invalid, port, present};
use crate::proto;
use crate::snapshot::{Dial, ForwardSpec, Listener, LoadBalancer, Relay, Target, Timeouts};

pub(super) fn spec_to_proto(spec: &ForwardSpec) -> proto::ForwardSpec {
    let relay = &spec.relay;
    let target = |t: &Target| proto::Target {
        name: t.name.clone(),
        weight: t.weight,
        priority: t.priority,
    };
    let load_balancer = match relay.load_balancer {
        LoadBalancer::RoundRobin => proto::LoadBalancer::RoundRobin,
    };
    proto::ForwardSpec {
        generation: spec.generation,
        requires: spec.requires.clone(),
        listener: Some(proto::Listener {
            port: spec.listener.port.get().into(),
            address: spec
                .listener
                .address
                .map(|ip| ip.to_string())
                .unwrap_or_default(),
        }),
        relay: Some(proto::Relay {
            targets: relay.targets.iter().map(target).collect(),
            dial: Some(proto::Dial {
                timeout_ms: millis(relay.dial.timeout),
                attempts: relay.dial.attempts.get(),
                deadline_ms: millis(relay.dial.deadline),
            }),
            load_balancer: load_balancer.into(),
        }),
        timeouts: Some(proto::Timeouts {
            idle_ms: spec.timeouts.idle.map_or(0, millis),
            half_closed_ms: spec.timeouts.half_closed.map_or(0, millis),
        }),
    }
}

pub(super) fn spec_from_proto(message: proto::ForwardSpec) -> Result<ForwardSpec, Invalid> {
    let timeouts = present("spec.timeouts", message.timeouts)?;
    Ok(ForwardSpec {
        generation: message.generation,
        requires: message.requires,
        listener: listener_from_proto(&present("spec.listener", message.listener)?)?,
        relay: relay_from_proto(present("spec.relay", message.relay)?)?,
        timeouts: Timeouts {
            idle: nonzero_millis(timeouts.idle_ms),
            half_closed: nonzero_millis(timeouts.half_closed_ms),
        },
    })
}

fn listener_from_proto(message: &proto::Listener) -> Result<Listener, Invalid> {
    let address = match message.address.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|_| invalid("listener.address", text, "expected an IP address"))?,
        ),
    };
    Ok(Listener {
        port: port("listener.port", message.port)?,
        address,
    })
}

fn relay_from_proto(message: proto::Relay) -> Result<Relay, Invalid> {
    let load_balancer = match message.load_balancer() {
        proto::LoadBalancer::RoundRobin => LoadBalancer::RoundRobin,
        proto::LoadBalancer::Unspecified => {
            return Err(invalid(
                "relay.load_balancer",
                message.load_balancer,
                "unknown value",
            ));
        }
    };
    let dial = present("relay.dial", message.dial)?;
    let targets: Vec<Target> = message
        .targets
        .into_iter()
        .map(|t| Target {
            name: t.name,
            weight: t.weight,
            priority: t.priority,
        })
        .collect();
    for (i, target) in targets.iter().enumerate() {
        if targets
            .iter()
            .skip(i + 1)
            .any(|other| other.name == target.name)
        {
            return Err(invalid(
                "target.name",
                &target.name,
                "two targets have this name",
            ));
        }
    }
    Ok(Relay {
        targets,
        dial: Dial {
            timeout: nonzero_millis(dial.timeout_ms)
                .ok_or_else(|| invalid("dial.timeout_ms", 0, "expected more than 0"))?,
            attempts: NonZeroU32::new(dial.attempts)
                .ok_or_else(|| invalid("dial.attempts", 0, "expected more than 0"))?,
            deadline: nonzero_millis(dial.deadline_ms)
                .ok_or_else(|| invalid("dial.deadline_ms", 0, "expected more than 0"))?,
        },
        load_balancer,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn nonzero_millis(millis: u64) -> Option<Duration> {
    (millis > 0).then(|| Duration::from_millis(millis))
}
