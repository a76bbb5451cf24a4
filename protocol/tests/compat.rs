//! Golden messages of every past version still decode to what they meant, and what is unknown
//! is passed over. A golden file is never changed; a new one is added when a message grows.

use std::fs;
use std::path::Path;

use prost::Message;
use tcpforward_protocol::snapshot::{
    Forward, ForwardName, ForwardSpec, Grant, Listener, LocalTargets, Permission, Protected, Relay,
    Settings, TcpOptions, Via,
};
use tcpforward_protocol::{proto, testing, wire};

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    // What can't be read decodes to something else, and the comparison shows it.
    let text = fs::read_to_string(path).unwrap_or_default();
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    let byte = |pair: &[u32]| pair.iter().fold(0, |byte, digit| byte * 16 + digit);
    let bytes = digits.chunks(2).map(byte);
    bytes.filter_map(|byte| u8::try_from(byte).ok()).collect()
}

fn update() -> proto::Update {
    proto::Update {
        nonce: 7,
        epoch: 29_700_000,
        version: vec![0xab; 16],
        full: true,
        last: true,
        settings: Some(proto::Settings {
            local_targets: proto::settings::LocalTargets::Refuse.into(),
            protected: vec![],
        }),
        upserts: vec![proto::Forward {
            name: "shop/web".to_owned(),
            spec_hash: vec![1; 16],
            hash: vec![2; 16],
            spec: Some(proto::ForwardSpec {
                generation: 3,
                requires: vec![],
                listener: Some(proto::Listener {
                    port: 8888,
                    address: String::new(),
                    ..Default::default()
                }),
                relay: Some(proto::Relay {
                    targets: vec![proto::Target {
                        name: "primary".to_owned(),
                        weight: 3,
                        priority: 1,
                        host: None,
                        service: false,
                    }],
                    dial: Some(proto::Dial {
                        timeout_ms: 1000,
                        attempts: 3,
                        deadline_ms: 5000,
                        hedge_after_ms: 0,
                    }),
                    load_balancer: proto::LoadBalancer::RoundRobin.into(),
                    ..Default::default()
                }),
                timeouts: Some(proto::Timeouts {
                    idle_ms: 0,
                    half_closed_ms: 3_600_000,
                    max_connection_age_ms: 0,
                }),
                http_connect: None,
                via: None,
            }),
            backends: vec![proto::Backend {
                target: "primary".to_owned(),
                ip: "10.244.1.7".to_owned(),
                port: 80,
                state: proto::backend::State::Ready.into(),
                takes_new: true,
                nodes: vec!["n1".to_owned()],
                zones: vec!["z1".to_owned()],
            }],
            grants: Vec::new(),
        }],
        removals: vec!["shop/old".to_owned()],
    }
}

fn applied() -> proto::Applied {
    proto::Applied {
        nonce: 7,
        version: vec![0xab; 16],
        epoch: 29_700_000,
        full: false,
        serving: vec![proto::Serving {
            forward: "shop/web".to_owned(),
            spec_hash: vec![1; 16],
            generation: 3,
        }],
        refused: vec![proto::Refusal {
            forward: "shop/db".to_owned(),
            code: proto::refusal::Code::BindFailed.into(),
            text: "port 5432 is taken".to_owned(),
            spec_hash: vec![4; 16],
        }],
    }
}

#[test]
fn a_golden_update_means_what_it_meant() {
    let decoded = proto::Update::decode(golden("update-1.hex").as_slice()).unwrap();
    assert_eq!(decoded, update());
    wire::forward_from_proto(decoded.upserts[0].clone()).unwrap();
    wire::settings_from_proto(decoded.settings).unwrap();
}

#[test]
fn a_golden_answer_means_what_it_meant() {
    let decoded = proto::Applied::decode(golden("applied-1.hex").as_slice()).unwrap();
    assert_eq!(decoded, applied());
    wire::applied_from_proto(decoded).unwrap();
}

fn full(spec: ForwardSpec) -> proto::Forward {
    let name = ForwardName::new("shop", "web");
    wire::forward_to_proto(&Forward::new(name, spec, vec![]))
}

/// Everything that a spec said before it had socket options.
fn before_tcp() -> ForwardSpec {
    let full = testing::full_spec();
    ForwardSpec {
        listener: Listener {
            tcp: TcpOptions::default(),
            ..full.listener
        },
        relay: Relay {
            tcp: TcpOptions::default(),
            ..full.relay
        },
        ..full
    }
}

/// Everything that a spec said before a parent proxy could be out of use.
fn before_unusable() -> ForwardSpec {
    let full = before_tcp();
    let usable = |via| Via {
        unusable: None,
        ..via
    };
    ForwardSpec {
        via: full.via.map(usable),
        ..full
    }
}

/// Everything that a spec said before it could be reached through a parent proxy.
fn before_via() -> ForwardSpec {
    ForwardSpec {
        via: None,
        ..before_tcp()
    }
}

/// Everything that a spec said when `feature::ALL` came.
fn before_connect() -> ForwardSpec {
    ForwardSpec {
        connect: None,
        ..before_via()
    }
}

#[test]
fn a_golden_forward_means_what_it_meant() {
    for (file, spec) in [
        ("forward-2.hex", before_connect()),
        ("forward-3.hex", before_via()),
        ("forward-4.hex", before_unusable()),
        ("forward-5.hex", before_tcp()),
        ("forward-7.hex", testing::full_spec()),
    ] {
        let decoded = proto::Forward::decode(golden(file).as_slice()).unwrap();
        assert_eq!(decoded, full(spec.clone()));
        let forward = wire::forward_from_proto(decoded).unwrap();
        assert_eq!(forward.spec, spec);
    }
}

/// A forward with a target in another namespace.
fn granted() -> Forward {
    let name = ForwardName::new("shop", "web");
    let spec = testing::spec(vec![testing::target("a"), testing::target("b")]);
    let grant = |target: &str, permission| Grant {
        target: target.to_owned(),
        service: testing::service("data", "db"),
        permission,
    };
    let grants = vec![
        grant("a", Permission::Given),
        grant("b", Permission::Missing),
    ];
    Forward::granted(name, spec, Vec::new(), grants)
}

#[test]
fn a_golden_grant_means_what_it_meant() {
    let decoded = proto::Forward::decode(golden("forward-6.hex").as_slice()).unwrap();
    assert_eq!(wire::forward_from_proto(decoded), Ok(granted()));
}

#[test]
fn a_permission_of_the_future_is_none() {
    let mut message = wire::forward_to_proto(&granted());
    message.grants[0].permission = 7;
    let forward = wire::forward_from_proto(message).unwrap();
    assert_eq!(forward.grants[0].permission, Permission::Missing);
}

#[test]
fn protected_networks_and_who_leads_there_mean_what_they_meant() {
    let settings = proto::Settings::decode(golden("settings-1.hex").as_slice()).unwrap();
    let written = Settings {
        local_targets: LocalTargets::Refuse,
        protected: Protected::new(["10.96.0.0/16".parse().unwrap()]),
    };
    assert_eq!(wire::settings_to_proto(&written), settings);
    assert_eq!(wire::settings_from_proto(Some(settings)), Ok(written));
    let target = proto::Target::decode(golden("target-1.hex").as_slice()).unwrap();
    let expected = proto::Target {
        name: "a".to_owned(),
        weight: 1,
        service: true,
        ..Default::default()
    };
    assert_eq!(target, expected);
    assert_eq!(expected.encode_to_vec(), golden("target-1.hex"));
}

#[test]
fn a_spec_that_says_nothing_new_is_what_it_was() {
    let decoded = proto::Update::decode(golden("update-1.hex").as_slice()).unwrap();
    let old = decoded.upserts.into_iter().next().unwrap();
    let parsed = wire::forward_from_proto(old.clone()).unwrap();
    assert_eq!(wire::forward_to_proto(&parsed), old);
}

#[test]
fn a_field_of_the_future_is_passed_over() {
    let mut bytes = update().encode_to_vec();
    let unknown = [0xfa, 0x3e, 3, b'n', b'e', b'w'];
    bytes.extend(unknown);
    assert_eq!(proto::Update::decode(bytes.as_slice()), Ok(update()));
}

#[test]
fn what_we_write_today_is_the_newest_golden() {
    assert_eq!(update().encode_to_vec(), golden("update-1.hex"));
    assert_eq!(applied().encode_to_vec(), golden("applied-1.hex"));
    let full = full(testing::full_spec());
    assert_eq!(full.encode_to_vec(), golden("forward-7.hex"));
    let granted = wire::forward_to_proto(&granted());
    assert_eq!(granted.encode_to_vec(), golden("forward-6.hex"));
}
