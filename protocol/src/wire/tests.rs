use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::answer::{
    Applied, BoundListener, DialError, FailingBackend, Hello, Refusal, RefusalCode, Report,
    ServedSpec, Serving, SessionCount, Source,
};
use crate::delta::Scope;
use crate::snapshot::{Dial, Listener, LoadBalancer, Relay, Target, Timeouts};
use crate::version::Version;

pub(crate) fn backend(target: &str, address: &str) -> Backend {
    Backend {
        target: target.to_owned(),
        address: address.parse().unwrap(),
        state: BackendState::Ready,
        takes_new: TakesNew::Yes,
        nodes: vec![],
        zones: vec![],
    }
}

pub(crate) fn forward(name: &str, generation: i64) -> Forward {
    let target = |name: &str| Target {
        name: name.to_owned(),
        weight: 1,
        priority: 0,
    };
    let spec = ForwardSpec {
        generation,
        requires: vec![],
        listener: Listener {
            port: NonZeroU16::new(8888).unwrap(),
            address: None,
        },
        relay: Relay {
            targets: vec![target("a"), target("b"), target("t")],
            dial: Dial {
                timeout: Duration::from_secs(1),
                attempts: NonZeroU32::new(3).unwrap(),
                deadline: Duration::from_secs(5),
            },
            load_balancer: LoadBalancer::RoundRobin,
        },
        timeouts: Timeouts {
            idle: None,
            half_closed: Some(Duration::from_secs(3600)),
        },
    };
    Forward::new(
        name.parse().unwrap(),
        spec,
        vec![backend("a", "10.0.0.1:80")],
    )
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

#[test]
fn a_forward_that_makes_no_sense_names_the_field() {
    type Edit = fn(&mut proto::Forward);
    fn spec(f: &mut proto::Forward) -> &mut proto::ForwardSpec {
        f.spec.as_mut().unwrap()
    }
    fn relay(f: &mut proto::Forward) -> &mut proto::Relay {
        spec(f).relay.as_mut().unwrap()
    }
    let cases: [(&str, Edit); 16] = [
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
    ];
    for (field, edit) in cases {
        let mut message = forward_to_proto(&forward("n/f", 1));
        edit(&mut message);
        assert_eq!(forward_from_proto(message).map_err(|e| e.field), Err(field));
    }
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
    let report = Report {
        failing: vec![FailingBackend {
            forward: ForwardName::new("n", "f"),
            target: "a".to_owned(),
            address: "10.0.0.1:80".parse().unwrap(),
            reason: DialError::Timeout,
            message: "no answer".to_owned(),
            since_ms: 5,
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
    });
    let [failing] = report.failing.try_into().unwrap();
    assert_eq!(failing.reason, DialError::Other);
    assert_eq!((report.listeners.len(), report.sessions.len()), (1, 0));
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
