//! Pure. How a backend is chosen and reached, parsed.

use std::time::Duration;

use tcpforward_protocol::snapshot::{Dial, Failback, Failover, LoadBalancer, Policy, Topology};

use super::{Rejection, value};
use crate::crd::{self, FailbackMode, LoadBalancerType, defaults};

pub(super) fn dial(dial: crd::Dial) -> Result<Dial, Rejection> {
    let attempts = "spec.relay.dial.attempts";
    Ok(Dial {
        timeout: value::time(dial.timeout.as_deref(), defaults::DIAL_TIMEOUT),
        attempts: value::positive(attempts, dial.attempts, defaults::DIAL_ATTEMPTS)?,
        deadline: value::time(dial.deadline.as_deref(), defaults::DIAL_DEADLINE),
        hedge_after: dial.hedge.map(|hedge| value::duration(&hedge.after)),
    })
}

pub(super) fn load_balancer(balancer: crd::LoadBalancer) -> LoadBalancer {
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

pub(super) fn failover(failover: crd::Failover, annotation: &str) -> Result<Failover, Rejection> {
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
