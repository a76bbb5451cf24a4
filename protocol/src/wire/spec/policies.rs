//! Pure. Choosing, failing over and what happens to open sessions, on the wire. What is as it was
//! before these messages travels as nothing, so that its hash is what it was.

use std::time::Duration;

use super::{millis, nonzero_millis, optional_millis, percent, positive, some_time};
use crate::proto;
use crate::proto::{balancing, established_connections as established, failover};
use crate::snapshot::{
    EstablishedConnections, Failback, Failover, Fate, LoadBalancer, Policy, Topology,
};
use crate::wire::{Invalid, invalid};

pub(super) fn policy_to_proto(policy: Policy) -> proto::LoadBalancer {
    match policy {
        Policy::ConsistentHash => proto::LoadBalancer::ConsistentHash,
        Policy::LeastConnections => proto::LoadBalancer::LeastConnections,
        Policy::LeastLatency => proto::LoadBalancer::LeastLatency,
        Policy::RoundRobin => proto::LoadBalancer::RoundRobin,
    }
}

pub(super) fn balancing_to_proto(load_balancer: LoadBalancer) -> Option<proto::Balancing> {
    let LoadBalancer {
        slow_start,
        topology,
        policy: _,
    } = load_balancer;
    let topology = match topology {
        Topology::Auto => balancing::Topology::Auto,
        Topology::Ignore if slow_start.is_none() => return None,
        Topology::Ignore => balancing::Topology::Ignore,
    };
    Some(proto::Balancing {
        slow_start_ms: optional_millis(slow_start),
        topology: topology.into(),
    })
}

pub(super) fn load_balancer_from_proto(message: &proto::Relay) -> Result<LoadBalancer, Invalid> {
    let policy = match message.load_balancer() {
        proto::LoadBalancer::ConsistentHash => Policy::ConsistentHash,
        proto::LoadBalancer::LeastConnections => Policy::LeastConnections,
        proto::LoadBalancer::LeastLatency => Policy::LeastLatency,
        proto::LoadBalancer::RoundRobin => Policy::RoundRobin,
        proto::LoadBalancer::Unspecified => {
            let (field, number) = ("relay.load_balancer", message.load_balancer);
            return Err(invalid(field, number, "unknown value"));
        }
    };
    let Some(balancing) = message.balancing else {
        return Ok(LoadBalancer {
            policy,
            ..LoadBalancer::default()
        });
    };
    let topology = match balancing.topology() {
        balancing::Topology::Auto => Topology::Auto,
        balancing::Topology::Ignore => Topology::Ignore,
        balancing::Topology::Unspecified => {
            let (field, number) = ("balancing.topology", balancing.topology);
            return Err(invalid(field, number, "unknown value"));
        }
    };
    Ok(LoadBalancer {
        policy,
        slow_start: nonzero_millis(balancing.slow_start_ms),
        topology,
    })
}

pub(super) fn failover_to_proto(failover: &Failover) -> Option<proto::Failover> {
    if *failover == Failover::default() {
        return None;
    }
    let (failback, delay, token) = match &failover.failback {
        Failback::Delayed(delay) => (failover::Failback::Delayed, millis(*delay), ""),
        Failback::Immediate => (failover::Failback::Immediate, 0, ""),
        Failback::Manual(token) => (failover::Failback::Manual, 0, token.as_str()),
    };
    Some(proto::Failover {
        min_healthy_percent: failover.min_healthy_percent.unwrap_or_default().into(),
        failback: failback.into(),
        delay_ms: delay,
        manual_token: token.to_owned(),
    })
}

pub(super) fn failover_from_proto(message: Option<proto::Failover>) -> Result<Failover, Invalid> {
    let Some(message) = message else {
        return Ok(Failover::default());
    };
    let failback = match message.failback() {
        failover::Failback::Delayed => Failback::Delayed(Duration::from_millis(message.delay_ms)),
        failover::Failback::Immediate => Failback::Immediate,
        failover::Failback::Manual => Failback::Manual(message.manual_token),
        failover::Failback::Unspecified => {
            let (field, number) = ("failover.failback", message.failback);
            return Err(invalid(field, number, "unknown value"));
        }
    };
    let least = percent("failover.min_healthy_percent", message.min_healthy_percent)?;
    Ok(Failover {
        min_healthy_percent: Some(least).filter(|percent| *percent > 0),
        failback,
    })
}

pub(super) fn established_to_proto(
    policy: EstablishedConnections,
) -> Option<proto::EstablishedConnections> {
    let fate = |fate: Fate| -> i32 {
        let fate = match fate {
            Fate::Close => established::Fate::Close,
            Fate::Drain => established::Fate::Drain,
            Fate::Keep => established::Fate::Keep,
        };
        fate.into()
    };
    (policy != EstablishedConnections::default()).then(|| proto::EstablishedConnections {
        on_not_ready: fate(policy.on_not_ready),
        on_terminating: fate(policy.on_terminating),
        on_unhealthy: fate(policy.on_unhealthy),
        on_failback: fate(policy.on_failback),
        on_removed: fate(policy.on_removed),
        drain_timeout_ms: millis(policy.drain_timeout),
        closes_per_second: policy.closes_per_second.get(),
    })
}

pub(super) fn established_from_proto(
    message: Option<proto::EstablishedConnections>,
) -> Result<EstablishedConnections, Invalid> {
    let Some(message) = message else {
        return Ok(EstablishedConnections::default());
    };
    Ok(EstablishedConnections {
        on_not_ready: fate("established_connections.on_not_ready", message.on_not_ready)?,
        on_terminating: fate(
            "established_connections.on_terminating",
            message.on_terminating,
        )?,
        on_unhealthy: fate("established_connections.on_unhealthy", message.on_unhealthy)?,
        on_failback: fate("established_connections.on_failback", message.on_failback)?,
        on_removed: fate("established_connections.on_removed", message.on_removed)?,
        drain_timeout: some_time(
            "established_connections.drain_timeout_ms",
            message.drain_timeout_ms,
        )?,
        closes_per_second: positive(
            "established_connections.closes_per_second",
            message.closes_per_second,
        )?,
    })
}

fn fate(field: &'static str, number: i32) -> Result<Fate, Invalid> {
    match established::Fate::try_from(number) {
        Ok(established::Fate::Close) => Ok(Fate::Close),
        Ok(established::Fate::Drain) => Ok(Fate::Drain),
        Ok(established::Fate::Keep) => Ok(Fate::Keep),
        Ok(established::Fate::Unspecified) | Err(_) => Err(invalid(field, number, "unknown value")),
    }
}
