//! Pure. Forwards for the tests of every crate: plain ones, to change where a test differs, and one
//! that says everything.
#![allow(clippy::unwrap_used, reason = "used by tests only")]

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use crate::snapshot::{
    Action, ActiveCheck, Backend, BackendLimits, BackendState, Dial, EstablishedConnections,
    Failback, Failover, Fate, Forward, ForwardSpec, HealthCheck, Host, HostPattern, HttpConnect,
    HttpProbe, Listener, ListenerLimits, LoadBalancer, Login, Origin, PassiveCheck, Policy,
    PolicyMode, Probe, ProxyMode, ProxyProtocolIn, ProxyVersion, Relay, Rule, ServiceName, Subject,
    TakesNew, Target, Timeouts, Topology, TunnelLimits, User, Via, ViaScheme, WhenNoneHealthy,
};

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

/// A spec in which every field says something.
///
/// # Panics
/// Never.
#[must_use]
pub fn full_spec() -> ForwardSpec {
    let by_name = Target {
        host: Some(Host {
            name: "db.example.com".to_owned(),
            port: NonZeroU16::new(5432).unwrap(),
        }),
        weight: 7,
        priority: 2,
        ..target("b")
    };
    let plain = spec(vec![target("a"), by_name]);
    ForwardSpec {
        listener: full_listener(plain.listener),
        relay: full_relay(plain.relay),
        connect: Some(full_connect()),
        via: Some(full_via()),
        timeouts: Timeouts {
            idle: Some(Duration::from_secs(600)),
            half_closed: Some(Duration::from_secs(60)),
            max_connection_age: Some(Duration::from_secs(3600)),
        },
        ..plain
    }
}

fn full_listener(plain: Listener) -> Listener {
    Listener {
        end_port: NonZeroU16::new(8899),
        address: Some("::1".parse().unwrap()),
        source_ranges: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        proxy_protocol: Some(ProxyProtocolIn {
            mode: ProxyMode::Required,
            trusted_sources: vec!["10.1.0.0/16".parse().unwrap()],
        }),
        limits: ListenerLimits {
            connections: NonZeroU32::new(10_000),
            connections_per_source: NonZeroU32::new(100),
            connections_per_second: NonZeroU32::new(500),
        },
        ..plain
    }
}

fn full_relay(plain: Relay) -> Relay {
    Relay {
        dial: Dial {
            hedge_after: Some(Duration::from_millis(250)),
            ..plain.dial
        },
        load_balancer: LoadBalancer {
            policy: Policy::LeastLatency,
            slow_start: Some(Duration::from_secs(30)),
            topology: Topology::Auto,
        },
        failover: Failover {
            min_healthy_percent: Some(50),
            failback: Failback::Delayed(Duration::from_secs(30)),
        },
        health_check: full_health_check(),
        established_connections: EstablishedConnections {
            on_not_ready: Fate::Drain,
            on_terminating: Fate::Keep,
            on_unhealthy: Fate::Close,
            on_failback: Fate::Drain,
            on_removed: Fate::Close,
            drain_timeout: Duration::from_secs(60),
            closes_per_second: NonZeroU32::new(50).unwrap(),
        },
        backend_limits: Some(BackendLimits {
            connections: NonZeroU32::new(200).unwrap(),
            queue_timeout: Duration::from_secs(2),
        }),
        proxy_protocol: Some(ProxyVersion::V2),
        ..plain
    }
}

fn full_health_check() -> HealthCheck {
    let http = HttpProbe {
        port: NonZeroU16::new(8008),
        path: "/primary".to_owned(),
        statuses: vec![200, 204],
    };
    HealthCheck {
        active: Some(ActiveCheck {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            unhealthy_threshold: NonZeroU32::new(3).unwrap(),
            healthy_threshold: NonZeroU32::new(2).unwrap(),
            probe: Probe::Http(http),
        }),
        passive: PassiveCheck {
            consecutive_dial_failures: NonZeroU32::new(5),
            consecutive_early_resets: NonZeroU32::new(3),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_percent: 50,
        },
        when_none_healthy: WhenNoneHealthy::Refuse,
    }
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

fn full_connect() -> HttpConnect {
    let patterns = ["*", "*.example.com", "example.com"];
    let full = Rule {
        hosts: patterns
            .map(|text| HostPattern::parse(text).unwrap())
            .into(),
        cidrs: vec!["203.0.113.0/24".parse().unwrap()],
        services: vec![ServiceName {
            namespace: "shop".to_owned(),
            name: "db".to_owned(),
        }],
        ports: vec![443, 8443],
        subjects: vec![Subject::User("ci".to_owned())],
        ..rule("crawl")
    };
    let denied = Rule {
        action: Action::Deny,
        ..rule("rest")
    };
    HttpConnect {
        mode: PolicyMode::Report,
        users: Some(vec![User {
            name: "ci".to_owned(),
            hash: "$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234".to_owned(),
        }]),
        limits: TunnelLimits {
            tunnels: NonZeroU32::new(1000),
            tunnels_per_source: NonZeroU32::new(100),
            tunnels_per_subject: NonZeroU32::new(50),
            header_timeout: Duration::from_secs(5),
            max_header_size: 8 << 10,
        },
        ..connect(vec![full, denied])
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

fn full_via() -> Via {
    Via {
        scheme: ViaScheme::Https,
        credentials: Some(Login {
            user: "team".to_owned(),
            password: "hunter2".to_owned(),
        }),
        ca: Some("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".to_owned()),
        unusable: Some("Secret parent does not exist".to_owned()),
        ..via("proxy.corp", 3128)
    }
}
