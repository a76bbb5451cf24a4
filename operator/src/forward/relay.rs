//! Pure. How a backend is chosen and reached, parsed.

use std::time::Duration;

use tcpforward_protocol::snapshot::{
    Dial, Failback, Failover, LoadBalancer, Policy, ProxyVersion, Relay, Target, Topology,
};

use super::{Rejection, established, health, tcp, value};
use crate::crd::{self, FailbackMode, LoadBalancerType, defaults};

/// All of it but for the targets; `failback` is the annotation.
pub(super) fn parse(
    relay: crd::Relay,
    targets: Vec<Target>,
    failback: &str,
) -> Result<Relay, Rejection> {
    Ok(Relay {
        targets,
        dial: dial(relay.dial.unwrap_or_default())?,
        load_balancer: load_balancer(relay.load_balancer.unwrap_or_default()),
        failover: failover(relay.failover.unwrap_or_default(), failback)?,
        health_check: health::parse(relay.health_check.unwrap_or_default())?,
        established_connections: established::parse(
            relay.established_connections.unwrap_or_default(),
        )?,
        backend_limits: match relay.backend_limits {
            Some(limits) => Some(established::limits(limits)?),
            None => None,
        },
        proxy_protocol: relay.proxy_protocol.map(|proxy| match proxy.version {
            crd::ProxyVersion::V1 => ProxyVersion::V1,
            crd::ProxyVersion::V2 => ProxyVersion::V2,
        }),
        tcp: tcp::parse("spec.relay", relay.tcp.unwrap_or_default())?,
    })
}

/// How a proxy's Services are reached: as a relay that says nothing, and hedged, for its client
/// waits for an answer.
pub(super) fn of_proxy(targets: Vec<Target>) -> Result<Relay, Rejection> {
    let mut relay = parse(crd::Relay::default(), targets, "")?;
    relay.dial.hedge_after = Some(defaults::TUNNEL_HEDGE);
    Ok(relay)
}

fn dial(dial: crd::Dial) -> Result<Dial, Rejection> {
    let attempts = "spec.relay.dial.attempts";
    Ok(Dial {
        timeout: value::time(dial.timeout.as_deref(), defaults::DIAL_TIMEOUT),
        attempts: value::positive(attempts, dial.attempts, defaults::DIAL_ATTEMPTS)?,
        deadline: value::time(dial.deadline.as_deref(), defaults::DIAL_DEADLINE),
        hedge_after: dial.hedge.map(|hedge| value::duration(&hedge.after)),
    })
}

fn load_balancer(balancer: crd::LoadBalancer) -> LoadBalancer {
    LoadBalancer {
        policy: match balancer.kind {
            None | Some(LoadBalancerType::RoundRobin) => Policy::RoundRobin,
            Some(LoadBalancerType::ConsistentHash) => Policy::ConsistentHash,
            Some(LoadBalancerType::LeastConnections) => Policy::LeastConnections,
            Some(LoadBalancerType::LeastLatency) => Policy::LeastLatency,
        },
        slow_start: balancer
            .slow_start
            .map(|slow_start| value::duration(&slow_start.window)),
        topology: match balancer.topology {
            None => defaults::TOPOLOGY,
            Some(crd::Topology::Auto) => Topology::Auto,
            Some(crd::Topology::Ignore) => Topology::Ignore,
        },
    }
}

fn failover(failover: crd::Failover, annotation: &str) -> Result<Failover, Rejection> {
    let least = "spec.relay.failover.minHealthyPercent";
    Ok(Failover {
        min_healthy_percent: match failover.min_healthy_percent {
            Some(number) => Some(value::percent(least, number)?),
            None => None,
        },
        failback: match failover.failback {
            None => defaults::FAILBACK,
            Some(crd::Failback { mode, delay }) => match mode {
                FailbackMode::Delayed => {
                    Failback::Delayed(value::time(delay.as_deref(), Duration::ZERO))
                }
                FailbackMode::Immediate => Failback::Immediate,
                FailbackMode::Manual => Failback::Manual(token(annotation)),
            },
        },
    })
}

/// An annotation may be 256 KiB long; nobody needs that to say something new, and refusing a long one
/// would take the forward down.
fn token(annotation: &str) -> String {
    annotation.chars().take(TOKEN_CHARS).collect()
}

const TOKEN_CHARS: usize = 64;
