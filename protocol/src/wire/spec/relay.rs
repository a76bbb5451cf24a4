//! Pure. Where sessions go and how, on the wire.

use std::time::Duration;

use super::{
    health, millis, nonzero_millis, optional_millis, policies, positive, some_time, tcp, unique,
};
use crate::proto::{self, relay};
use crate::snapshot::{BackendLimits, Dial, Host, Origin, ProxyVersion, Relay, Target, TcpOptions};
use crate::wire::{Invalid, invalid, port, present};

pub(super) fn to_proto(relay: &Relay) -> proto::Relay {
    let proxy_protocol = match relay.proxy_protocol {
        None => relay::ProxyVersion::None,
        Some(ProxyVersion::V1) => relay::ProxyVersion::V1,
        Some(ProxyVersion::V2) => relay::ProxyVersion::V2,
    };
    proto::Relay {
        targets: relay.targets.iter().map(target_to_proto).collect(),
        dial: Some(proto::Dial {
            timeout_ms: millis(relay.dial.timeout),
            attempts: relay.dial.attempts.get(),
            deadline_ms: millis(relay.dial.deadline),
            hedge_after_ms: optional_millis(relay.dial.hedge_after),
        }),
        load_balancer: policies::policy_to_proto(relay.load_balancer.policy).into(),
        balancing: policies::balancing_to_proto(relay.load_balancer),
        failover: policies::failover_to_proto(&relay.failover),
        health_check: health::to_proto(&relay.health_check),
        established_connections: policies::established_to_proto(relay.established_connections),
        backend_limits: relay.backend_limits.map(|limits| proto::BackendLimits {
            connections: limits.connections.get(),
            queue_timeout_ms: millis(limits.queue_timeout),
        }),
        proxy_protocol: proxy_protocol.into(),
        tcp: tcp::to_proto(&relay.tcp),
    }
}

pub(super) fn from_proto(message: proto::Relay) -> Result<Relay, Invalid> {
    let dial = dial_from_proto(present("relay.dial", message.dial)?)?;
    let load_balancer = policies::load_balancer_from_proto(&message)?;
    let proxy_protocol = match relay::ProxyVersion::try_from(message.proxy_protocol) {
        Ok(relay::ProxyVersion::None) => None,
        Ok(relay::ProxyVersion::V1) => Some(ProxyVersion::V1),
        Ok(relay::ProxyVersion::V2) => Some(ProxyVersion::V2),
        Err(_) => {
            let (field, number) = ("relay.proxy_protocol", message.proxy_protocol);
            return Err(invalid(field, number, "unknown value"));
        }
    };
    let backend_limits = match message.backend_limits {
        None => None,
        Some(limits) => Some(BackendLimits {
            connections: positive("backend_limits.connections", limits.connections)?,
            queue_timeout: Duration::from_millis(limits.queue_timeout_ms),
        }),
    };
    let targets = message.targets.into_iter().map(target_from_proto);
    let targets: Vec<Target> = targets.collect::<Result<_, _>>()?;
    unique(
        "target.name",
        targets.iter().map(|target| target.name.as_str()),
    )?;
    Ok(Relay {
        targets,
        dial,
        load_balancer,
        failover: policies::failover_from_proto(message.failover)?,
        health_check: health::from_proto(message.health_check)?,
        established_connections: policies::established_from_proto(message.established_connections)?,
        backend_limits,
        proxy_protocol,
        tcp: tcp_from_proto(message.tcp.as_ref())?,
    })
}

/// Nothing is sent before there is an answer: else no other backend could take its place.
fn tcp_from_proto(message: Option<&proto::TcpOptions>) -> Result<TcpOptions, Invalid> {
    let options = tcp::from_proto(message)?;
    match options.fast_open {
        true => Err(invalid("relay.tcp.fast_open", true, "expected false")),
        false => Ok(options),
    }
}

fn target_to_proto(target: &Target) -> proto::Target {
    proto::Target {
        name: target.name.clone(),
        weight: target.weight,
        priority: target.priority,
        host: target.host.as_ref().map(|host| proto::Host {
            name: host.name.clone(),
            port: host.port.get().into(),
        }),
        service: target.origin == Origin::Service,
    }
}

fn target_from_proto(message: proto::Target) -> Result<Target, Invalid> {
    let host = match message.host {
        None => None,
        Some(host) if host.name.is_empty() => {
            return Err(invalid("host.name", "", "expected a DNS name"));
        }
        Some(host) => Some(Host {
            port: port("host.port", host.port)?,
            name: host.name,
        }),
    };
    Ok(Target {
        name: message.name,
        weight: message.weight,
        priority: message.priority,
        host,
        origin: match message.service {
            true => Origin::Service,
            false => Origin::Author,
        },
    })
}

fn dial_from_proto(dial: proto::Dial) -> Result<Dial, Invalid> {
    Ok(Dial {
        timeout: some_time("dial.timeout_ms", dial.timeout_ms)?,
        attempts: positive("dial.attempts", dial.attempts)?,
        deadline: some_time("dial.deadline_ms", dial.deadline_ms)?,
        hedge_after: nonzero_millis(dial.hedge_after_ms),
    })
}
