//! Pure. Forwards for the tests of every crate: plain ones, to change where a test differs, and one
//! that says everything.
#![allow(clippy::unwrap_used, reason = "used by tests only")]

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use crate::snapshot::{
    Action, Backend, BackendState, Dial, EstablishedConnections, Failover, Forward, ForwardSpec,
    HealthCheck, HttpConnect, Listener, LoadBalancer, Origin, PolicyMode, Relay, Rule, ServiceName,
    TakesNew, Target, TcpOptions, Timeouts, TunnelLimits, Via, ViaScheme,
};

mod full;

pub use full::{full_spec, full_tcp};

/// A ready backend.
///
/// # Panics
/// `address` is not one.
#[must_use]
pub fn backend(target: &str, address: &str) -> Backend {
    Backend {
        target: target.to_owned(),
        address: address.parse().unwrap(),
        state: BackendState::Ready,
        takes_new: TakesNew::Yes,
        nodes: Vec::new(),
        zones: Vec::new(),
    }
}

/// A target of weight 1 and priority 0.
#[must_use]
pub fn target(name: &str) -> Target {
    Target {
        name: name.to_owned(),
        weight: 1,
        priority: 0,
        host: None,
        origin: Origin::Author,
    }
}

/// A Service.
#[must_use]
pub fn service(namespace: &str, name: &str) -> ServiceName {
    ServiceName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// Port 8888, one second a dial, three attempts in five seconds; nothing of `feature::ALL`.
#[must_use]
pub fn spec(targets: Vec<Target>) -> ForwardSpec {
    ForwardSpec {
        generation: 1,
        requires: Vec::new(),
        listener: Listener::plain(NonZeroU16::new(8888).unwrap(), None),
        relay: Relay {
            targets,
            dial: Dial {
                timeout: Duration::from_secs(1),
                attempts: NonZeroU32::new(3).unwrap(),
                deadline: Duration::from_secs(5),
                hedge_after: None,
            },
            load_balancer: LoadBalancer::default(),
            failover: Failover::default(),
            health_check: HealthCheck::default(),
            established_connections: EstablishedConnections::default(),
            backend_limits: None,
            proxy_protocol: None,
            tcp: TcpOptions::default(),
        },
        connect: None,
        via: None,
        timeouts: Timeouts {
            idle: None,
            half_closed: None,
            max_connection_age: None,
        },
    }
}

/// A forward of such a spec, with the targets that its backends name.
///
/// # Panics
/// `name` is not namespace/name.
#[must_use]
pub fn forward(name: &str, backends: Vec<Backend>) -> Forward {
    let mut names: Vec<&str> = backends.iter().map(|b| b.target.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let spec = spec(names.into_iter().map(target).collect());
    Forward::new(name.parse().unwrap(), spec, backends)
}

/// A proxy whose rules allow nothing, with nothing that is not needed.
#[must_use]
pub fn connect(rules: Vec<Rule>) -> HttpConnect {
    HttpConnect {
        rules,
        mode: PolicyMode::Enforce,
        users: None,
        cluster_domain: "cluster.local".to_owned(),
        limits: TunnelLimits {
            tunnels: None,
            tunnels_per_source: None,
            tunnels_per_subject: None,
            header_timeout: Duration::from_secs(10),
            max_header_size: 16 << 10,
        },
    }
}

/// A rule that allows everything on port 443 that needs no CIDR.
#[must_use]
pub fn rule(name: &str) -> Rule {
    Rule {
        name: name.to_owned(),
        action: Action::Allow,
        hosts: Vec::new(),
        cidrs: Vec::new(),
        services: Vec::new(),
        ports: vec![443],
        subjects: Vec::new(),
    }
}

/// A parent proxy that is spoken to in the clear and wants no credentials.
///
/// # Panics
/// `port` is 0.
#[must_use]
pub fn via(host: &str, port: u16) -> Via {
    Via {
        scheme: ViaScheme::Http,
        host: host.to_owned(),
        port: NonZeroU16::new(port).unwrap(),
        credentials: None,
        ca: None,
        unusable: None,
    }
}
