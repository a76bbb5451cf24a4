use serde_json::json;

use super::*;

fn raw(spec: &Value) -> Value {
    json!({
        "apiVersion": "tcpforward.dev/v1alpha1",
        "kind": "TcpForward",
        "metadata": {"name": "web", "namespace": "shop", "generation": 7},
        "spec": spec,
    })
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
            requires: vec![],
            listener: Listener::plain(NonZeroU16::new(8888).unwrap(), None),
            relay: Relay {
                targets: vec![Target {
                    name: "a".into(),
                    weight: 1,
                    priority: 0,
                    host: None,
                }],
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

#[test]
fn an_undecodable_one_is_a_rejection_with_field_and_text() {
    let rejection = parse(&raw(&json!({"listener": "here"}))).unwrap_err();
    assert_eq!(rejection.reason, "UnsupportedValue");
    assert_eq!(rejection.field, "spec.listener");
    assert_eq!(
        rejection.message,
        "spec.listener is \"here\": has the wrong type; write an object with address, port"
    );
    assert_eq!(parse(&json!(7)).unwrap_err().field, "metadata");
}
