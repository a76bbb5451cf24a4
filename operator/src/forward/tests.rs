use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use serde_json::json;
use tcpforward_protocol::snapshot::{
    ActiveCheck, BackendLimits, Dial, EstablishedConnections, Failback, Failover, Fate,
    HealthCheck, Host, HttpProbe, Listener, ListenerLimits, LoadBalancer, Origin, PassiveCheck,
    Policy, Probe, ProxyMode, ProxyProtocolIn, ProxyVersion, Relay, Target, TcpKeepalive,
    TcpOptions, TcpProbe, Topology, WhenNoneHealthy,
};

use super::*;

fn raw(spec: &Value) -> Value {
    json!({
        "apiVersion": "tcpforward.dev/v1alpha1",
        "kind": "TcpForward",
        "metadata": {"name": "web", "namespace": "shop", "generation": 7},
        "spec": spec,
    })
}

const PASSIVE: PassiveCheck = PassiveCheck {
    consecutive_dial_failures: NonZeroU32::new(5),
    consecutive_early_resets: None,
    base_ejection_time: Duration::from_secs(30),
    max_ejection_percent: 50,
};

fn established() -> EstablishedConnections {
    EstablishedConnections {
        on_not_ready: Fate::Keep,
        on_terminating: Fate::Keep,
        on_unhealthy: Fate::Keep,
        on_failback: Fate::Keep,
        on_removed: Fate::Drain,
        drain_timeout: Duration::from_secs(30),
        closes_per_second: NonZeroU32::new(100).unwrap(),
    }
}

fn place(title: &str, field: &str) -> Place {
    Place {
        title: title.into(),
        field: field.into(),
        port: format!("{field}.port"),
    }
}

/// The effective defaults of v1alpha1: a change here is a change of the API.
#[test]
fn what_is_absent_means_this() {
    let minimal = raw(&json!({
        "listener": {"port": 8888},
        "relay": {"targets": [{"name": "a", "service": {"name": "web", "port": "http"}}]},
    }));
    let expected = Draft {
        pool: "default".into(),
        spec: ForwardSpec {
            generation: 7,
            requires: vec![feature::BALANCING.into(), feature::HEALTH.into()],
            listener: Listener::plain(NonZeroU16::new(8888).unwrap(), None),
            relay: Relay {
                targets: vec![Target {
                    origin: Origin::Service,
                    ..tcpforward_protocol::testing::target("a")
                }],
                dial: Dial {
                    timeout: Duration::from_secs(1),
                    attempts: NonZeroU32::new(3).unwrap(),
                    deadline: Duration::from_secs(5),
                    hedge_after: None,
                },
                load_balancer: LoadBalancer {
                    policy: Policy::RoundRobin,
                    slow_start: None,
                    topology: Topology::Auto,
                },
                failover: Failover {
                    min_healthy_percent: None,
                    failback: Failback::Immediate,
                },
                health_check: HealthCheck {
                    active: None,
                    passive: PASSIVE,
                    when_none_healthy: WhenNoneHealthy::Refuse,
                },
                established_connections: established(),
                backend_limits: None,
                proxy_protocol: None,
                tcp: TcpOptions::default(),
            },
            connect: None,
            via: None,
            timeouts: Timeouts {
                idle: None,
                half_closed: Some(Duration::from_secs(3600)),
                max_connection_age: None,
            },
        },
        destinations: vec![Destination::Service(ServiceRef {
            namespace: "shop".into(),
            name: "web".into(),
            port: ServicePort::Name("http".into()),
        })],
        places: vec![place("target a", "spec.relay.targets[0].service")],
        secret: None,
        via: None,
        expose: None,
    };
    assert_eq!(parse(&minimal), Ok(expected));
}

#[test]
fn what_is_written_is_taken() {
    let full = raw(&json!({
        "dataPlaneName": "edge",
        "listener": {"port": 1, "address": "fd00::7"},
        "relay": {
            "targets": [
                {"name": "a", "address": {"host": "172.16.100.101", "port": 80}, "weight": 0},
                {"name": "b", "priority": 2,
                 "service": {"name": "web", "namespace": "other", "port": 8080}},
            ],
            "dial": {"timeout": "250ms", "attempts": 1, "deadline": "1m30s"},
            "loadBalancer": {"type": "RoundRobin"},
        },
        "timeouts": {"idle": "1h2m3s4ms", "halfClosed": "0s"},
    }));
    let draft = parse(&full).unwrap();
    assert_eq!(draft.pool, "edge");
    assert_eq!(
        draft.spec.listener.address,
        Some("fd00::7".parse().unwrap())
    );
    assert_eq!(
        draft.spec.relay.dial,
        Dial {
            timeout: Duration::from_millis(250),
            attempts: NonZeroU32::new(1).unwrap(),
            deadline: Duration::from_secs(90),
            hedge_after: None,
        }
    );
    assert_eq!(
        draft.spec.timeouts,
        Timeouts {
            idle: Some(Duration::from_millis(3_723_004)),
            half_closed: None,
            max_connection_age: None,
        }
    );
    let weights: Vec<_> = draft
        .spec
        .relay
        .targets
        .iter()
        .map(|t| (t.weight, t.priority))
        .collect();
    assert_eq!(weights, [(0, 0), (1, 2)]);
    assert_eq!(
        draft.destinations,
        [
            Destination::Address("172.16.100.101:80".parse().unwrap()),
            Destination::Service(ServiceRef {
                namespace: "other".into(),
                name: "web".into(),
                port: ServicePort::Number(8080),
            }),
        ]
    );
}

fn relay_of(relay: &Value) -> Relay {
    let mut relay = relay.clone();
    relay["targets"] = json!([{"name": "a", "address": {"host": "10.0.0.1", "port": 80}}]);
    let spec = json!({"listener": {"port": 1}, "relay": relay});
    parse(&raw(&spec)).unwrap().spec.relay
}

/// The effective defaults inside of what is written as an empty object.
#[test]
fn what_is_absent_within_an_object_means_this() {
    let relay = relay_of(&json!({
        "loadBalancer": {}, "failover": {}, "establishedConnections": {},
        "healthCheck": {"active": {"type": "HTTP"}, "passive": {}},
        "backendLimits": {"connections": 7},
    }));
    let expected = LoadBalancer {
        policy: Policy::RoundRobin,
        slow_start: None,
        topology: Topology::Auto,
    };
    assert_eq!(relay.load_balancer, expected);
    let expected = Failover {
        min_healthy_percent: None,
        failback: Failback::Immediate,
    };
    assert_eq!(relay.failover, expected);
    assert_eq!(relay.established_connections, established());
    let expected = HealthCheck {
        active: Some(ActiveCheck {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            unhealthy_threshold: NonZeroU32::new(3).unwrap(),
            healthy_threshold: NonZeroU32::new(2).unwrap(),
            probe: Probe::Http(HttpProbe {
                port: None,
                path: "/".into(),
                statuses: vec![],
            }),
        }),
        passive: PASSIVE,
        when_none_healthy: WhenNoneHealthy::Refuse,
    };
    assert_eq!(relay.health_check, expected);
    let expected = BackendLimits {
        connections: NonZeroU32::new(7).unwrap(),
        queue_timeout: Duration::ZERO,
    };
    assert_eq!(relay.backend_limits, Some(expected));
}

#[test]
fn a_listener_is_taken_whole() {
    let spec = json!({
        "listener": {
            "port": 8888, "endPort": 8899, "sourceRanges": ["fd00::/8", "10.1.2.3/8", "10.0.0.0/8"],
            "proxyProtocol": {"mode": "Required", "trustedSources": ["10.1.0.0/16"]},
            "limits": {"connections": 10, "connectionsPerSource": 2, "connectionsPerSecond": 5},
        },
        "relay": {"targets": [{"name": "a", "address": {"host": "10.0.0.1", "port": 80}}]},
    });
    let expected = Listener {
        port: NonZeroU16::new(8888).unwrap(),
        end_port: NonZeroU16::new(8899),
        address: None,
        source_ranges: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        proxy_protocol: Some(ProxyProtocolIn {
            mode: ProxyMode::Required,
            trusted_sources: vec!["10.1.0.0/16".parse().unwrap()],
        }),
        limits: ListenerLimits {
            connections: NonZeroU32::new(10),
            connections_per_source: NonZeroU32::new(2),
            connections_per_second: NonZeroU32::new(5),
        },
        tcp: TcpOptions::default(),
    };
    assert_eq!(parse(&raw(&spec)).unwrap().spec.listener, expected);
}

#[test]
fn policies_are_taken_whole() {
    let relay = relay_of(&json!({
        "dial": {"hedge": {"after": "250ms"}},
        "loadBalancer": {
            "type": "ConsistentHash", "consistentHash": {"type": "SourceIP"},
            "slowStart": {"window": "20s"}, "topology": "Ignore",
        },
        "failover": {"minHealthyPercent": 70, "failback": {"mode": "Delayed", "delay": "40s"}},
        "establishedConnections": {
            "onNotReady": "Drain", "onTerminating": "Close", "onUnhealthy": "Close",
            "onFailback": "Drain", "onRemoved": "Keep", "drainTimeout": "2h", "closesPerSecond": 9,
        },
        "backendLimits": {"connections": 7, "queueTimeout": "2s"},
        "proxyProtocol": {"version": "V2"},
    }));
    assert_eq!(relay.dial.hedge_after, Some(Duration::from_millis(250)));
    let expected = LoadBalancer {
        policy: Policy::ConsistentHash,
        slow_start: Some(Duration::from_secs(20)),
        topology: Topology::Ignore,
    };
    assert_eq!(relay.load_balancer, expected);
    let expected = Failover {
        min_healthy_percent: Some(70),
        failback: Failback::Delayed(Duration::from_secs(40)),
    };
    assert_eq!(relay.failover, expected);
    let expected = EstablishedConnections {
        on_not_ready: Fate::Drain,
        on_terminating: Fate::Close,
        on_unhealthy: Fate::Close,
        on_failback: Fate::Drain,
        on_removed: Fate::Keep,
        drain_timeout: Duration::from_secs(7200),
        closes_per_second: NonZeroU32::new(9).unwrap(),
    };
    assert_eq!(relay.established_connections, expected);
    let limits = relay.backend_limits.unwrap();
    assert_eq!(limits.queue_timeout, Duration::from_secs(2));
    assert_eq!(relay.proxy_protocol, Some(ProxyVersion::V2));
}

#[test]
fn socket_options_are_taken_whole() {
    let written = json!({
        "noDelay": false, "tcpKeepalive": {"idleTime": "2m", "interval": "20s", "probes": 6},
        "userTimeout": "30s", "maxSegmentSize": 1360, "sendBuffer": "256Ki",
        "receiveBuffer": 131_072, "congestionControl": "reno", "notSentLowat": "16Ki",
        "fastOpen": true, "multipath": true, "trafficClass": 184,
    });
    let expected = tcpforward_protocol::testing::full_tcp();
    let mut of_relay = written.clone();
    of_relay["fastOpen"] = json!(false);
    let relay = relay_of(&json!({"tcp": of_relay}));
    assert_eq!(
        relay.tcp,
        TcpOptions {
            fast_open: false,
            ..expected.clone()
        }
    );
    let targets = json!([{"name": "a", "address": {"host": "10.0.0.1", "port": 80}}]);
    let spec = json!({"listener": {"port": 1, "tcp": written}, "relay": {"targets": targets}});
    assert_eq!(parse(&raw(&spec)).unwrap().spec.listener.tcp, expected);
    // What is absent is what it was before there were options, and asks for no feature.
    for nothing in [json!({}), json!({"tcpKeepalive": {}})] {
        let relay = relay_of(&json!({"tcp": nothing}));
        assert_eq!(relay.tcp, TcpOptions::default());
    }
    let probes = relay_of(&json!({"tcp": {"tcpKeepalive": {"probes": 9}}}))
        .tcp
        .keepalive;
    let default = TcpKeepalive::default();
    assert_eq!(
        (probes.idle_time, probes.probes.get()),
        (default.idle_time, 9)
    );
    let large = relay_of(&json!({"tcp": {"sendBuffer": "4Mi", "receiveBuffer": "5M"}})).tcp;
    assert_eq!(large.send_buffer, NonZeroU32::new(4 << 20));
    assert_eq!(large.receive_buffer, NonZeroU32::new(5_000_000));
}

#[test]
fn checks_are_taken_whole() {
    let probe = |active: Value| {
        let relay = relay_of(&json!({"healthCheck": {"active": active}}));
        relay.health_check.active.unwrap().probe
    };
    let talk = json!({"type": "TCP", "tcp": {
        "send": {"type": "Text", "text": "PING\r\n"},
        "receive": {"type": "Binary", "binary": "2b504F4e47"},
    }});
    let expected = TcpProbe {
        send: b"PING\r\n".to_vec(),
        receive: b"+PONG".to_vec(),
    };
    assert_eq!(probe(talk), Probe::Tcp(expected));
    let connect = json!({"type": "TCP", "interval": "1s"});
    assert_eq!(probe(connect), Probe::Tcp(TcpProbe::default()));
    let http = json!({"port": 8008, "path": "/primary", "statuses": [204, 200, 204]});
    let expected = HttpProbe {
        port: NonZeroU16::new(8008),
        path: "/primary".into(),
        statuses: vec![200, 204],
    };
    let asked = json!({"type": "HTTP", "http": http});
    assert_eq!(probe(asked), Probe::Http(expected));
}

#[test]
fn a_name_is_a_host_and_an_address_is_not() {
    let targets = json!([
        {"name": "a", "address": {"host": "db.example.com", "port": 5432}},
        {"name": "b", "address": {"host": "fd00::7", "port": 5432}},
    ]);
    let draft = parse(&raw(
        &json!({"listener": {"port": 1}, "relay": {"targets": targets}}),
    ));
    let draft = draft.unwrap();
    let expected = Host {
        name: "db.example.com".into(),
        port: NonZeroU16::new(5432).unwrap(),
    };
    let hosts: Vec<_> = draft.spec.relay.targets.iter().map(|t| &t.host).collect();
    assert_eq!(hosts, [&Some(expected), &None]);
    let address = Destination::Address("[fd00::7]:5432".parse().unwrap());
    assert_eq!(draft.destinations, [Destination::Host, address]);
}

#[test]
fn the_annotation_is_the_token_of_a_manual_failback() {
    let token = |mode: &str, value: Value| {
        let mut raw = raw(&json!({
            "listener": {"port": 1},
            "relay": {
                "targets": [{"name": "a", "address": {"host": "10.0.0.1", "port": 80}}],
                "failover": {"failback": {"mode": mode}},
            },
        }));
        raw["metadata"]["annotations"] = json!({"tcpforward.dev/failback": value});
        parse(&raw).unwrap().spec.relay.failover.failback
    };
    let manual = |text: &str| Failback::Manual(text.into());
    assert_eq!(token("Manual", json!("monday")), manual("monday"));
    assert_eq!(token("Manual", Value::Null), manual(""));
    let long = "x".repeat(300);
    assert_eq!(token("Manual", json!(long)), manual(&long[..64]));
    assert_eq!(token("Immediate", json!("monday")), Failback::Immediate);
}

#[test]
fn a_forward_names_the_features_that_it_needs() {
    let wanted = json!({
        "listener": {"port": 1},
        "relay": {
            "targets": [{"name": "a", "address": {"host": "db.example.com", "port": 80}}],
            "loadBalancer": {"type": "LeastConnections"},
        },
    });
    let spec = parse(&raw(&wanted)).unwrap().spec;
    assert_eq!(spec.requires, feature::required(&spec));
    assert!(spec.requires.contains(&feature::HOSTS.to_owned()));
}

#[test]
fn an_undecodable_one_is_a_rejection_with_field_and_text() {
    let rejection = parse(&raw(&json!({"listener": "here"}))).unwrap_err();
    assert_eq!(rejection.reason, "UnsupportedValue");
    assert_eq!(rejection.field, "spec.listener");
    assert_eq!(
        rejection.message,
        "spec.listener is \"here\": has the wrong type; write an object with address, \
         endPort, limits, port, proxyProtocol, sourceRanges, tcp"
    );
    assert_eq!(parse(&json!(7)).unwrap_err().field, "metadata");
}
