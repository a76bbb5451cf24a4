//! Pure. Specs that say everything.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use super::{connect, rule, spec, target, via};
use crate::snapshot::{
    Action, ActiveCheck, BackendLimits, Dial, EstablishedConnections, Failback, Failover, Fate,
    ForwardSpec, HealthCheck, Host, HostPattern, HttpConnect, HttpProbe, Listener, ListenerLimits,
    LoadBalancer, Login, PassiveCheck, Policy, PolicyMode, Probe, ProxyMode, ProxyProtocolIn,
    ProxyVersion, Relay, Rule, ServiceName, Subject, Target, TcpKeepalive, TcpOptions, Timeouts,
    Topology, TunnelLimits, User, Via, ViaScheme, WhenNoneHealthy,
};

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
        tcp: full_tcp(),
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
        tcp: TcpOptions {
            fast_open: false,
            ..full_tcp()
        },
        ..plain
    }
}

/// Options of which none is the default.
///
/// # Panics
/// Never.
#[must_use]
pub fn full_tcp() -> TcpOptions {
    TcpOptions {
        no_delay: false,
        keepalive: TcpKeepalive {
            idle_time: Duration::from_secs(120),
            interval: Duration::from_secs(20),
            probes: NonZeroU32::new(6).unwrap(),
        },
        user_timeout: Some(Duration::from_secs(30)),
        max_segment_size: NonZeroU16::new(1360),
        send_buffer: NonZeroU32::new(256 << 10),
        receive_buffer: NonZeroU32::new(128 << 10),
        congestion_control: Some("reno".to_owned()),
        not_sent_lowat: NonZeroU32::new(16 << 10),
        fast_open: true,
        multipath: true,
        traffic_class: Some(184),
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
