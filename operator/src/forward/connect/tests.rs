use serde_json::{Value, json};
use tcpforward_protocol::feature;
use tcpforward_protocol::snapshot::Relay;

use super::*;
use crate::forward::{Draft, parse};

fn proxy(connect: &Value) -> Result<Draft, Rejection> {
    parse(&json!({
        "apiVersion": "tcpforward.dev/v1alpha1",
        "kind": "TcpForward",
        "metadata": {"name": "proxy", "namespace": "shop"},
        "spec": {
            "listener": {"port": 3128, "sourceRanges": ["10.0.0.0/8"]},
            "httpConnect": connect,
        },
    }))
}

fn rules(rules: &Value) -> Result<Draft, Rejection> {
    proxy(&json!({"rules": rules}))
}

fn names(relay: &Relay) -> Vec<&str> {
    relay.targets.iter().map(|t| t.name.as_str()).collect()
}

/// The effective defaults of a proxy: a change here is a change of the API.
#[test]
fn what_is_absent_means_this() {
    let draft = rules(&json!([{"name": "all", "action": "Allow"}])).unwrap();
    let expected = HttpConnect {
        rules: vec![Rule {
            name: "all".into(),
            action: Action::Allow,
            hosts: vec![],
            cidrs: vec![],
            services: vec![],
            ports: vec![443],
            subjects: vec![],
        }],
        mode: PolicyMode::Enforce,
        users: None,
        cluster_domain: String::new(),
        limits: TunnelLimits {
            tunnels: None,
            tunnels_per_source: None,
            tunnels_per_subject: None,
            header_timeout: std::time::Duration::from_secs(10),
            max_header_size: 16384,
        },
    };
    assert_eq!(draft.spec.connect, Some(expected));
    let relay = draft.spec.relay;
    assert_eq!(relay.targets, []);
    assert_eq!(relay.dial.timeout.as_millis(), 1000);
    assert_eq!(relay.dial.attempts.get(), 3);
    assert_eq!(relay.dial.deadline.as_millis(), 5000);
    assert_eq!(relay.dial.hedge_after.unwrap().as_millis(), 250);
    assert!(draft.spec.requires.contains(&feature::HTTP_CONNECT.into()));
    assert_eq!(draft.secret, None);
}

#[test]
fn what_is_written_is_taken_in_one_order() {
    let draft = proxy(&json!({
        "rules": [{
            "name": "crawl",
            "action": "Deny",
            "hosts": ["example.com", "*", "*.example.com", "*"],
            "cidrs": ["10.1.2.3/8", "10.0.0.0/8"],
            "services": [{"name": "db"}, {"namespace": "other", "name": "web"}],
            "ports": [8443, 443, 443],
            "subjects": [{"kind": "User", "name": "b"}, {"kind": "User", "name": "a"}],
        }],
        "authentication": {"basic": {"secretRef": {"name": "users"}}},
        "mode": "Report",
        "limits": {
            "tunnels": 1000, "tunnelsPerSource": 100, "tunnelsPerSubject": 50,
            "headerTimeout": "1m", "maxHeaderSize": "8k",
        },
    }))
    .unwrap();
    let service = |namespace: &str, name: &str| ServiceName {
        namespace: namespace.into(),
        name: name.into(),
    };
    let expected = HttpConnect {
        rules: vec![Rule {
            name: "crawl".into(),
            action: Action::Deny,
            hosts: ["*", "*.example.com", "example.com"]
                .map(|text| HostPattern::parse(text).unwrap())
                .into(),
            cidrs: vec!["10.0.0.0/8".parse().unwrap()],
            services: vec![service("shop", "db"), service("other", "web")],
            ports: vec![443, 8443],
            subjects: ["a", "b"].map(|name| Subject::User(name.into())).into(),
        }],
        mode: PolicyMode::Report,
        users: Some(vec![]),
        cluster_domain: String::new(),
        limits: TunnelLimits {
            tunnels: NonZeroU32::new(1000),
            tunnels_per_source: NonZeroU32::new(100),
            tunnels_per_subject: NonZeroU32::new(50),
            header_timeout: std::time::Duration::from_secs(60),
            max_header_size: 8000,
        },
    };
    assert_eq!(draft.spec.connect, Some(expected));
    assert_eq!(draft.secret, Some("users".into()));
    // A rule that denies leads nowhere.
    assert_eq!(draft.spec.relay.targets, []);
}

#[test]
fn services_that_rules_allow_are_targets_of_their_own() {
    let draft = rules(&json!([
        {"name": "a", "action": "Allow", "services": [{"name": "web"}, {"name": "db"}], "ports": [80, 5432]},
        {"name": "b", "action": "Deny", "services": [{"name": "no"}]},
        {"name": "c", "action": "Allow", "services": [{"name": "mq", "namespace": "other"}, {"name": "db"}],
         "ports": [5432]},
    ]))
    .unwrap();
    let relay = &draft.spec.relay;
    assert_eq!(
        names(relay),
        [
            "other/mq:5432",
            "shop/db:80",
            "shop/db:5432",
            "shop/web:80",
            "shop/web:5432"
        ]
    );
    let priorities: Vec<_> = relay
        .targets
        .iter()
        .map(|t| (t.priority, t.weight))
        .collect();
    assert_eq!(priorities, [(0, 1); 5]);
    let fields: Vec<_> = draft
        .places
        .iter()
        .map(|place| place.field.as_str())
        .collect();
    assert_eq!(
        fields,
        [
            "spec.httpConnect.rules[2].services[0]",
            "spec.httpConnect.rules[0].services[1]",
            "spec.httpConnect.rules[0].services[1]",
            "spec.httpConnect.rules[0].services[0]",
            "spec.httpConnect.rules[0].services[0]",
        ]
    );
    assert_eq!(draft.places[0].port, "spec.httpConnect.rules[2].ports");
    let Destination::Service(reference) = &draft.destinations[0] else {
        panic!("a Service")
    };
    assert_eq!(
        (
            reference.namespace.as_str(),
            reference.name.as_str(),
            &reference.port
        ),
        ("other", "mq", &ServicePort::Number(5432))
    );
}

#[test]
fn ports_of_services_are_bounded() {
    let with = |services: usize, ports: u16| {
        let services: Vec<_> = (0..services)
            .map(|i| json!({"name": format!("s{i}")}))
            .collect();
        let ports: Vec<_> = (1..=ports).collect();
        let rule = |name: &str| json!({"name": name, "action": "Allow", "services": services, "ports": ports});
        rules(&json!([rule("a"), rule("b")]))
    };
    assert_eq!(
        with(256, 2).unwrap().spec.relay.targets.len(),
        SERVICE_PORTS
    );
    let rejection = with(171, 3).unwrap_err();
    assert_eq!(rejection.field, "spec.httpConnect.rules");
    assert_eq!(
        rejection.message,
        "spec.httpConnect.rules lead to 513 ports of Services, and at most 512 are allowed; name \
         fewer services or ports, or use hosts and cidrs"
    );
    let message = with(256, 256).unwrap_err().message;
    assert!(message.contains("more than 4096 ports"), "{message}");
}

/// What the schema takes is a pattern, and what it refuses is none.
#[test]
fn the_schema_and_the_protocol_agree_on_patterns() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
    let texts = [
        "*",
        "*.example.com",
        "example.com",
        "a",
        "_dmarc.a-b.example",
        "1.example",
        "-.a",
        &longest,
        "",
        ".",
        "*.",
        "**",
        "a.*",
        "*a.example",
        "EXAMPLE.com",
        "example.com.",
        ".example.com",
        "a..b",
        "10.0.0.1",
        "*.1",
        "0x7f.1",
        "1",
        "ex ample.com",
        "bücher.example",
        "a%b",
        "[::1]",
        &format!("a{label}.example"),
        "a.example\n",
    ];
    for text in texts {
        let taken = rules(&json!([{"name": "a", "action": "Allow", "hosts": [text]}])).is_ok();
        assert_eq!(taken, HostPattern::parse(text).is_ok(), "{text:?}");
    }
}
