use proptest::prelude::*;

use super::*;
use crate::answer::{
    Applied, BoundListener, DialError, FailingBackend, Hello, HostError, HostErrorKind, LeftOut,
    Refusal, RefusalCode, Report, ResolvedHost, ServedSpec, Serving, SessionCount, Source,
};
use crate::delta::Scope;
use crate::proto::http_connect;
use crate::snapshot::{Failback, Policy, Probe, ProxyVersion, TcpProbe, Topology, WhenNoneHealthy};
use crate::testing;
pub(crate) use crate::testing::backend;
use crate::version::Version;

pub(crate) fn forward(name: &str, generation: i64) -> Forward {
    let targets = ["a", "b", "t"].map(testing::target).to_vec();
    let spec = ForwardSpec {
        generation,
        ..testing::spec(targets)
    };
    let backends = vec![backend("a", "10.0.0.1:80")];
    Forward::new(name.parse().unwrap(), spec, backends)
}

#[test]
fn a_forward_survives_the_wire() {
    let mut spec = forward("shop/web", 7).spec;
    spec.requires = vec!["tunnel".to_owned()];
    spec.listener.address = Some("::1".parse().unwrap());
    let leaving = Backend {
        state: BackendState::Terminating,
        takes_new: TakesNew::No,
        nodes: vec!["n1".to_owned()],
        zones: vec!["z1".to_owned()],
        ..backend("b", "[2001:db8::1]:443")
    };
    let there = Forward::new(ForwardName::new("shop", "web"), spec, vec![leaving]);
    assert_eq!(forward_from_proto(forward_to_proto(&there)), Ok(there));
}

#[test]
fn everything_that_a_spec_says_survives_the_wire() {
    let mut specs = vec![testing::full_spec()];
    for policy in [Policy::ConsistentHash, Policy::LeastConnections] {
        let mut spec = testing::full_spec();
        spec.relay.load_balancer.policy = policy;
        specs.push(spec);
    }
    let mut other = testing::full_spec();
    other.relay.failover.failback = Failback::Manual("2026-11-23".to_owned());
    other.relay.health_check.when_none_healthy = WhenNoneHealthy::TryAll;
    other.relay.load_balancer.topology = Topology::Ignore;
    other.relay.proxy_protocol = Some(ProxyVersion::V1);
    if let Some(active) = &mut other.relay.health_check.active {
        active.probe = Probe::Tcp(TcpProbe {
            send: b"PING\r\n".to_vec(),
            receive: b"+PONG".to_vec(),
        });
    }
    specs.push(other);
    for spec in specs {
        let there = Forward::new(ForwardName::new("shop", "web"), spec, vec![]);
        assert_eq!(forward_from_proto(forward_to_proto(&there)), Ok(there));
    }
}

#[test]
fn the_bytes_of_backends_add_up() {
    let hinted = Backend {
        zones: vec!["z".repeat(253); 8],
        ..backend("a", "[2001:db8::1]:443")
    };
    let spec = forward("n/f", 1).spec;
    let with = |backends| {
        forward_to_proto(&Forward::new(
            name("f", "n/f").unwrap(),
            spec.clone(),
            backends,
        ))
    };
    let all = vec![backend("a", "10.0.0.1:80"), hinted];
    let sum: usize = all.iter().map(backend_bytes).sum();
    assert_eq!(with(all).encoded_len() - with(vec![]).encoded_len(), sum);
}

type Edit = fn(&mut proto::Forward);
fn spec(f: &mut proto::Forward) -> &mut proto::ForwardSpec {
    f.spec.as_mut().unwrap()
}
fn relay(f: &mut proto::Forward) -> &mut proto::Relay {
    spec(f).relay.as_mut().unwrap()
}
fn active(f: &mut proto::Forward) -> &mut proto::ActiveCheck {
    let check = relay(f).health_check.as_mut().unwrap();
    check.active.as_mut().unwrap()
}
fn http(f: &mut proto::Forward) -> &mut proto::HttpProbe {
    match active(f).probe.as_mut().unwrap() {
        proto::active_check::Probe::Http(http) => http,
        proto::active_check::Probe::Tcp(_) => unreachable!(),
    }
}

fn assert_refused<const N: usize>(cases: [(&str, Edit); N]) {
    for (field, edit) in cases {
        let name = ForwardName::new("n", "f");
        let sound = Forward::new(
            name,
            testing::full_spec(),
            vec![backend("a", "10.0.0.1:80")],
        );
        let mut message = forward_to_proto(&sound);
        edit(&mut message);
        assert_eq!(forward_from_proto(message).map_err(|e| e.field), Err(field));
    }
}

#[test]
fn a_forward_that_makes_no_sense_names_the_field() {
    assert_refused([
        ("forward.name", |f| f.name = "web".to_owned()),
        ("forward.hash", |f| f.hash.truncate(3)),
        ("forward.spec_hash", |f| f.spec_hash.clear()),
        ("forward.spec", |f| f.spec = None),
        ("forward.backends", |f| {
            f.backends = vec![proto::Backend::default(); 10_001]
        }),
        ("spec.listener", |f| spec(f).listener = None),
        ("spec.relay", |f| spec(f).relay = None),
        ("spec.timeouts", |f| spec(f).timeouts = None),
        ("listener.port", |f| {
            spec(f).listener.as_mut().unwrap().port = 70_000
        }),
        ("listener.address", |f| {
            spec(f).listener.as_mut().unwrap().address = "x".to_owned()
        }),
        ("relay.load_balancer", |f| relay(f).load_balancer = 99),
        ("dial.timeout_ms", |f| {
            relay(f).dial.as_mut().unwrap().timeout_ms = 0
        }),
        ("dial.attempts", |f| {
            relay(f).dial.as_mut().unwrap().attempts = 0
        }),
        ("target.name", |f| relay(f).targets[1].name = "a".to_owned()),
        ("backend.state", |f| f.backends[0].state = 99),
        ("backend.target", |f| {
            f.backends[0].target = "nobody".to_owned()
        }),
        ("grant.service", |f| {
            f.grants = vec![proto::Grant::default()]
        }),
        ("grant.target", |f| {
            let grant = proto::Grant {
                service: Some(http_connect::Service::default()),
                ..Default::default()
            };
            f.grants = vec![grant; 2];
        }),
    ]);
}

#[test]
fn a_policy_that_makes_no_sense_names_the_field() {
    assert_refused([
        ("listener.end_port", |f| {
            spec(f).listener.as_mut().unwrap().end_port = 8887
        }),
        ("listener.end_port", |f| {
            spec(f).listener.as_mut().unwrap().end_port = 8988
        }),
        ("listener.source_ranges", |f| {
            spec(f).listener.as_mut().unwrap().source_ranges[0] = "10/8".to_owned()
        }),
        ("proxy_protocol.mode", |f| {
            let listener = spec(f).listener.as_mut().unwrap();
            listener.proxy_protocol.as_mut().unwrap().mode = 99;
        }),
        ("relay.proxy_protocol", |f| relay(f).proxy_protocol = 99),
        ("host.port", |f| {
            relay(f).targets[1].host.as_mut().unwrap().port = 0
        }),
        ("backend_limits.connections", |f| {
            relay(f).backend_limits.as_mut().unwrap().connections = 0
        }),
        ("balancing.topology", |f| {
            relay(f).balancing.as_mut().unwrap().topology = 99
        }),
        ("failover.failback", |f| {
            relay(f).failover.as_mut().unwrap().failback = 99
        }),
        ("failover.min_healthy_percent", |f| {
            relay(f).failover.as_mut().unwrap().min_healthy_percent = 101
        }),
        ("established_connections.on_removed", |f| {
            let policy = relay(f).established_connections.as_mut().unwrap();
            policy.on_removed = 99;
        }),
        ("active.timeout_ms", |f| active(f).timeout_ms = 6000),
        ("active.probe", |f| active(f).probe = None),
        ("passive.max_ejection_percent", |f| {
            let check = relay(f).health_check.as_mut().unwrap();
            check.passive.as_mut().unwrap().max_ejection_percent = 101;
        }),
        ("tcp.receive", |f| {
            let receive = vec![0; 4097];
            let tcp = proto::TcpProbe {
                receive,
                ..Default::default()
            };
            active(f).probe = Some(proto::active_check::Probe::Tcp(tcp));
        }),
        ("listener.source_ranges", |f| {
            let ranges = vec!["10.0.0.0/8".to_owned(); 257];
            spec(f).listener.as_mut().unwrap().source_ranges = ranges;
        }),
        ("established_connections.drain_timeout_ms", |f| {
            let policy = relay(f).established_connections.as_mut().unwrap();
            policy.drain_timeout_ms = 0;
        }),
        ("http.statuses", |f| http(f).statuses[0] = 99),
        ("http.path", |f| http(f).path = "/a b".to_owned()),
    ]);
}

#[test]
fn a_proxy_that_makes_no_sense_names_the_field() {
    fn connect(forward: &mut proto::Forward) -> &mut proto::HttpConnect {
        spec(forward).http_connect.as_mut().unwrap()
    }
    fn rule(forward: &mut proto::Forward) -> &mut http_connect::Rule {
        &mut connect(forward).rules[0]
    }
    assert_refused([
        ("http_connect.mode", |f| connect(f).mode = 0),
        ("http_connect.header_timeout_ms", |f| {
            connect(f).header_timeout_ms = 0
        }),
        ("http_connect.max_header_size", |f| {
            connect(f).max_header_size = 1 << 20
        }),
        ("http_connect.users", |f| {
            connect(f).users = vec![http_connect::User::default(); 4097]
        }),
        ("user.name", |f| {
            let user = connect(f).users[0].clone();
            connect(f).users.push(user);
        }),
        ("http_connect.rules", |f| {
            connect(f).rules = vec![http_connect::Rule::default(); 257]
        }),
        ("rule.name", |f| {
            let copy = rule(f).clone();
            connect(f).rules.push(copy);
        }),
        ("rule.action", |f| rule(f).action = 3),
        ("rule.hosts", |f| rule(f).hosts[0] = "*.*".to_owned()),
        ("rule.cidrs", |f| rule(f).cidrs[0] = "10/8".to_owned()),
        ("rule.services", |f| {
            rule(f).services = vec![http_connect::Service::default(); 257]
        }),
        ("rule.ports", |f| rule(f).ports[0] = 65_536),
        ("rule.ports", |f| rule(f).ports.clear()),
        ("rule.users", |f| rule(f).users = vec!["x".to_owned(); 257]),
    ]);
}

#[test]
fn a_parent_that_makes_no_sense_names_the_field_and_repeats_no_secret() {
    fn via(forward: &mut proto::Forward) -> &mut proto::Via {
        spec(forward).via.as_mut().unwrap()
    }
    fn login(forward: &mut proto::Forward) -> &mut proto::via::Credentials {
        via(forward).credentials.as_mut().unwrap()
    }
    assert_refused([
        ("via.scheme", |f| via(f).scheme = 0),
        ("via.host", |f| via(f).host.clear()),
        ("via.host", |f| via(f).host = "a".repeat(254)),
        ("via.port", |f| via(f).port = 0),
        ("via.ca", |f| via(f).ca = "x".repeat((64 << 10) + 1)),
        ("via.ca", |f| {
            via(f).scheme = proto::via::Scheme::Http.into();
        }),
        ("via.unusable", |f| via(f).unusable = "x".repeat(1025)),
        ("credentials.user", |f| login(f).user.clear()),
        ("credentials.user", |f| login(f).user.push(':')),
        ("credentials.password", |f| login(f).password.clear()),
        ("credentials.password", |f| login(f).password.push('\n')),
    ]);
    let mut message = forward_to_proto(&Forward::new(
        ForwardName::new("n", "f"),
        testing::full_spec(),
        vec![],
    ));
    login(&mut message).password.push('\r');
    let error = forward_from_proto(message).unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

fn refusal(text: &str) -> Refusal {
    Refusal {
        forward: ForwardName::new("n", "f"),
        spec_hash: Hash::of([b"spec".as_slice()]),
        code: RefusalCode::BindFailed,
        text: text.to_owned(),
    }
}

#[test]
fn answers_survive_the_wire() {
    let version = Some(Version::try_from([7; 16].as_slice()).unwrap());
    let hello = Hello {
        pod: "p".to_owned(),
        uid: "u".to_owned(),
        node: "n1".to_owned(),
        pool: "default".to_owned(),
        build: "1".to_owned(),
        features: vec!["x".to_owned()],
        version,
        epoch: 3,
        source: Source::Chosen,
    };
    assert_eq!(hello_from_proto(hello_to_proto(&hello)), Ok(hello));
    let served = ServedSpec {
        hash: Hash::of([b"s".as_slice()]),
        generation: 4,
    };
    let applied = Applied {
        nonce: 9,
        version,
        epoch: 3,
        scope: Scope::Full,
        serving: vec![
            Serving {
                forward: ForwardName::new("n", "f"),
                spec: Some(served),
            },
            Serving {
                forward: ForwardName::new("n", "gone"),
                spec: None,
            },
        ],
        refused: vec![refusal("port 80 is taken")],
    };
    assert_eq!(applied_from_proto(applied_to_proto(&applied)), Ok(applied));
}

#[test]
fn a_report_survives_the_wire() {
    let report = Report {
        failing: vec![FailingBackend {
            forward: ForwardName::new("n", "f"),
            target: "a".to_owned(),
            address: "10.0.0.1:80".parse().unwrap(),
            reason: DialError::Timeout,
            message: "no answer".to_owned(),
            since_ms: 5,
            left_out: LeftOut::Ejected,
        }],
        hosts: vec![ResolvedHost {
            forward: ForwardName::new("n", "f"),
            target: "b".to_owned(),
            addresses: vec!["10.0.0.9".parse().unwrap()],
            error: Some(HostError::new(HostErrorKind::Forbidden, "not there")),
        }],
        listeners: vec![BoundListener {
            forward: ForwardName::new("n", "f"),
            address: "127.0.0.1:8888".parse().unwrap(),
        }],
        sessions: vec![SessionCount {
            forward: ForwardName::new("n", "f"),
            open: 1,
            total: 2,
        }],
    };
    assert_eq!(report_from_proto(report_to_proto(&report)), report);
}

#[test]
fn what_a_pod_says_is_cut() {
    let message = applied_to_proto(&Applied {
        nonce: 1,
        version: None,
        epoch: 0,
        scope: Scope::Change,
        serving: vec![],
        refused: vec![refusal(&"ä".repeat(5000))],
    });
    let [cut] = applied_from_proto(message)
        .unwrap()
        .refused
        .try_into()
        .unwrap();
    assert_eq!(cut.text.chars().count(), crate::TEXT_CHARS);
}

#[test]
fn what_a_newer_data_plane_says_costs_no_more_than_itself() {
    let serving = |forward: &str, bytes: usize| proto::Serving {
        forward: forward.to_owned(),
        spec_hash: vec![1; bytes],
        generation: 2,
    };
    let refused = |forward: &str, bytes: usize| proto::Refusal {
        forward: forward.to_owned(),
        code: 99,
        text: "new".to_owned(),
        spec_hash: vec![1; bytes],
    };
    let applied = applied_from_proto(proto::Applied {
        serving: vec![
            serving("n/f", 16),
            serving("nameless", 16),
            serving("n/long", 32),
        ],
        refused: vec![
            refused("n/f", 16),
            refused("nameless", 16),
            refused("n/long", 32),
        ],
        ..Default::default()
    })
    .unwrap();
    let served: Vec<_> = applied.serving.iter().map(|s| s.forward.name()).collect();
    assert_eq!(served, ["f", "long"]);
    assert_eq!(applied.serving[1].spec, None);
    let [refusal] = applied.refused.try_into().unwrap();
    assert_eq!(refusal.code, RefusalCode::Invalid);

    let failing = |address: &str| proto::FailingBackend {
        forward: "n/f".to_owned(),
        address: address.to_owned(),
        reason: 99,
        ..Default::default()
    };
    let listener = |address: &str| proto::BoundListener {
        forward: "n/f".to_owned(),
        address: address.to_owned(),
    };
    let report = report_from_proto(proto::Report {
        failing: vec![failing("10.0.0.1:80"), failing("unix:/socket")],
        listeners: vec![listener("127.0.0.1:80"), listener("unix:/socket")],
        sessions: vec![proto::SessionCount::default()],
        hosts: vec![proto::ResolvedHost::default()],
    });
    let [failing] = report.failing.try_into().unwrap();
    assert_eq!(failing.reason, DialError::Other);
    assert_eq!((report.listeners.len(), report.sessions.len()), (1, 0));
    assert_eq!(report.hosts, []);
}

#[test]
fn a_hello_without_a_name_is_refused() {
    let refused = hello_from_proto(proto::Hello::default());
    assert_eq!(refused.map_err(|e| e.field), Err("hello.pod"));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(message) = proto::Forward::decode(bytes.as_slice()) {
            let _ = forward_from_proto(message);
        }
        if let Ok(message) = proto::Applied::decode(bytes.as_slice()) {
            let _ = applied_from_proto(message);
        }
        if let Ok(message) = proto::Report::decode(bytes.as_slice()) {
            let _ = report_from_proto(message);
        }
    }
}
