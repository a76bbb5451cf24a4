use std::num::NonZeroU32;
use std::time::Duration;

use tcpforward_protocol::snapshot::{HostPattern, LocalTargets, TunnelLimits};

use super::*;

mod naive;
mod speed;

pub(super) const CLUSTER: Settings = Settings::new(LocalTargets::Refuse);
const LAPTOP: Settings = Settings::new(LocalTargets::Allow);

/// Of any length.
pub(super) fn connect(rules: Vec<Rule>) -> HttpConnect {
    HttpConnect {
        rules,
        mode: PolicyMode::Enforce,
        users: None,
        cluster_domain: "cluster.local".to_owned(),
        limits: TunnelLimits {
            tunnels: None,
            tunnels_per_source: NonZeroU32::new(1),
            tunnels_per_subject: None,
            header_timeout: Duration::from_secs(10),
            max_header_size: 16 << 10,
        },
    }
}

/// `allow *.a.example 10.0.0.0/8 shop/db ci :80`: its name is the text. Without a port it is 443.
pub(super) fn rule(text: &str) -> Rule {
    let mut words = text.split(' ');
    let action = match words.next() {
        Some("allow") => Action::Allow,
        _ => Action::Deny,
    };
    let mut rule = Rule {
        name: text.to_owned(),
        action,
        hosts: Vec::new(),
        cidrs: Vec::new(),
        services: Vec::new(),
        ports: Vec::new(),
        subjects: Vec::new(),
    };
    for word in words {
        if let Ok(cidr) = word.parse() {
            rule.cidrs.push(cidr);
        } else if let Some(port) = word.strip_prefix(':') {
            rule.ports.push(port.parse().unwrap());
        } else if let Some((namespace, name)) = word.split_once('/') {
            rule.services.push(ServiceName {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            });
        } else if word.contains(['.', '*']) {
            rule.hosts.push(HostPattern::parse(word).unwrap());
        } else {
            rule.subjects.push(Subject::User(word.to_owned()));
        }
    }
    if rule.ports.is_empty() {
        rule.ports.push(443);
    }
    rule
}

/// What is said of a name, or of an address with `target@address`: `yes` or `no` by which rule.
fn says(rules: &[&str], target: &str, settings: &Settings) -> String {
    let (user, target) = target.split_once('!').unwrap_or(("", target));
    let subject = (!user.is_empty()).then(|| Subject::User(user.to_owned()));
    let policy = Policy::new(&connect(rules.iter().map(|text| rule(text)).collect()));
    let (target, address) = target.split_once('@').unwrap_or((target, ""));
    let ask = Ask {
        target: &Target::parse(target.as_bytes()).unwrap(),
        subject: subject.as_ref(),
    };
    let by = |rule: Option<RuleId>| rule.map_or_else(|| "none".into(), |id| policy.rule_name(id));
    if let Ok(address) = address.parse() {
        return match policy.by_address(&ask, address, settings) {
            Ok(rule) => format!("yes: {}", by(Some(rule))),
            Err(AddressRefused::Denied(rule)) => format!("no: {}", by(rule)),
            Err(AddressRefused::Forbidden(kind)) => format!("{kind:?}"),
            Err(AddressRefused::Private(_)) => "private".to_owned(),
        };
    }
    match policy.by_name(&ask) {
        ByName::Addresses => "addresses".to_owned(),
        ByName::Denied(rule) => format!("no: {}", by(rule)),
        ByName::Service { rule, service } => {
            let target = service.target(ask.target.port);
            format!("{target}: {}", by(Some(rule)))
        }
    }
}

fn check(rules: &[&str], cases: &[(&str, &str)]) {
    for (target, expected) in cases {
        assert_eq!(
            says(rules, target, &CLUSTER),
            *expected,
            "{target} {rules:?}"
        );
    }
}

#[test]
fn the_first_rule_that_holds_decides() {
    let rules = [
        "deny bad.a.example",
        "allow *.a.example",
        "allow a.example :443 :8443",
        "allow ci :22",
        "deny *.b.example",
        "allow *.b.example",
    ];
    check(
        &rules,
        &[
            ("bad.a.example:443", "no: deny bad.a.example"),
            ("BAD.a.example.:443", "no: deny bad.a.example"),
            ("x.a.example:443", "addresses"),
            ("x.y.a.example:443", "addresses"),
            ("x.a.example:443@8.8.8.8", "yes: allow *.a.example"),
            ("a.example:443@8.8.8.8", "yes: allow a.example :443 :8443"),
            ("a.example:8443", "addresses"),
            ("a.example:80", "no: none"),
            ("xa.example:443", "no: none"),
            ("ci!c.example:22", "addresses"),
            ("cd!c.example:22", "no: none"),
            ("c.example:22", "no: none"),
            ("x.b.example:443", "no: deny *.b.example"),
            ("8.8.8.8:443", "no: none"),
            ("ci!8.8.8.8:22@8.8.8.8", "yes: allow ci :22"),
        ],
    );
    check(
        &[],
        &[
            ("a.example:443", "no: none"),
            ("8.8.8.8:443@8.8.8.8", "no: none"),
        ],
    );
}

/// The verdict is about the address that is dialled, each time.
#[test]
fn pitfall_8_a_name_does_not_lend_its_right_to_every_address() {
    let rules = [
        "allow *.example 8.8.0.0/16",
        "deny 9.9.9.0/24",
        "allow *.example",
    ];
    check(
        &rules,
        &[
            ("a.example:443", "addresses"),
            ("a.example:443@8.8.8.8", "yes: allow *.example 8.8.0.0/16"),
            ("a.example:443@9.9.9.9", "no: deny 9.9.9.0/24"),
            ("a.example:443@1.1.1.1", "yes: allow *.example"),
            ("a.example:443@10.0.0.1", "private"),
            ("a.example:443@127.0.0.1", "Loopback"),
            ("a.example:443@169.254.169.254", "Metadata"),
        ],
    );
}

#[test]
fn pitfall_9_no_spelling_of_an_address_goes_around_a_rule() {
    let rules = [
        "deny 10.0.0.0/8 7.7.7.7/32",
        "allow 0.0.0.0/0 2000::/3 fd00::/8",
    ];
    let denied = format!("no: {}", rules[0]);
    for address in [
        "10.0.0.1",
        "::ffff:10.0.0.1",
        "::10.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "64:ff9b:1:fffe::a00:1",
        "2002:a00:1::",
        "2001:0:808:808::f5ff:fffe",
        "2001:0:a00:1::f7f7:f7f7",
        "2600::5efe:10.0.0.1",
        "fd00::200:5efe:10.0.0.1",
        "2002:707:707::",
    ] {
        let target = format!("a.example:443@{address}");
        check(&rules, &[(&target, &denied)]);
        let literal = match address.contains(':') {
            true => format!("[{address}]:443"),
            false => format!("{address}:443"),
        };
        check(&rules, &[(&literal, &denied)]);
    }
    let rules = ["allow * 10.0.0.0/8 2000::/3"];
    let allowed = format!("yes: {}", rules[0]);
    check(
        &rules,
        &[
            ("a.example:443@::ffff:10.0.0.1", &allowed),
            ("a.example:443@64:ff9b:1::a00:1", &allowed),
            ("a.example:443@2600::5efe:10.0.0.1", &allowed),
            // Both readings have to be allowed.
            ("a.example:443@2600::5efe:11.0.0.1", "no: none"),
            ("a.example:443@fd00::5efe:10.0.0.1", "no: none"),
            ("a.example:443@2002:b00:1::", "no: none"),
            ("a.example:443@fd00:ec2::254", "no: none"),
        ],
    );
    check(
        &["deny 64:ff9b::/96", "deny ::ffff:8.8.8.0/120", "allow *"],
        &[
            ("a.example:443@64:ff9b::808:808", "no: deny 64:ff9b::/96"),
            ("a.example:443@8.8.8.8", "no: deny ::ffff:8.8.8.0/120"),
            ("a.example:443@9.9.9.9", "yes: allow *"),
        ],
    );
}

/// Those never become a target; an address is no name for any pattern.
#[test]
fn pitfalls_10_to_14_patterns_match_names_and_never_addresses() {
    for text in [
        "127.1:443",
        "[a.example]:443",
        "[::1%25.a.example]:443",
        "a.example@b:443",
    ] {
        assert!(Target::parse(text.as_bytes()).is_err(), "{text}");
    }
    check(
        &["allow *", "allow *.example a.example"],
        &[
            ("8.8.8.8:443", "no: none"),
            ("[2600::1]:443", "no: none"),
            ("8.8.8.8:443@8.8.8.8", "no: none"),
            ("localhost:443", "addresses"),
            // Pitfall 35.
            ("localhost:443@127.0.0.1", "Loopback"),
            ("kubernetes:443@10.96.0.1", "private"),
            // Pitfall 12.
            ("xn--bcher-kva.example:443", "addresses"),
        ],
    );
    check(
        &["allow *.xn--bcher-kva.example"],
        &[
            ("a.xn--bcher-kva.example:443", "addresses"),
            ("a.bcher.example:443", "no: none"),
        ],
    );
}

/// Nothing but the order decides.
#[test]
fn pitfall_30_a_deny_before_an_allow_wins_and_behind_it_does_not() {
    let deny = "deny *.a.example 9.9.9.9/32";
    let allow = "allow x.a.example 9.9.9.0/24";
    check(
        &[deny, allow],
        &[("x.a.example:443@9.9.9.9", &format!("no: {deny}"))],
    );
    check(
        &[allow, deny],
        &[("x.a.example:443@9.9.9.9", &format!("yes: {allow}"))],
    );
    check(
        &["deny *.a.example", "allow x.a.example"],
        &[("x.a.example:443", "no: deny *.a.example")],
    );
}

#[test]
fn pitfall_31_private_addresses_need_an_entry_and_protected_ones_the_pools_leave() {
    let rules = [
        "allow *.corp.example 10.0.0.0/8 127.0.0.0/8 fd00::/8 169.254.0.0/16",
        "allow *",
    ];
    let allowed = format!("yes: {}", rules[0]);
    let cases = [
        (
            "x.corp.example:443@10.1.2.3",
            allowed.as_str(),
            allowed.as_str(),
        ),
        ("x.corp.example:443@fd12::1", &allowed, &allowed),
        ("x.corp.example:443@192.168.0.1", "private", "private"),
        ("x.corp.example:443@127.0.0.1", "Loopback", &allowed),
        ("x.corp.example:443@::1", "Loopback", "private"),
        ("x.corp.example:443@169.254.1.1", "LinkLocal", &allowed),
        ("x.corp.example:443@169.254.169.254", "Metadata", "Metadata"),
        ("x.corp.example:443@fd00:ec2::254", "Metadata", "Metadata"),
        ("x.corp.example:443@8.8.8.8", "yes: allow *", "yes: allow *"),
        ("x.example:443@10.1.2.3", "private", "private"),
        ("10.1.2.3:443@10.1.2.3", "no: none", "no: none"),
    ];
    for (target, cluster, laptop) in cases {
        assert_eq!(
            says(&rules, target, &CLUSTER),
            cluster,
            "{target} in a cluster"
        );
        assert_eq!(
            says(&rules, target, &LAPTOP),
            laptop,
            "{target} on a laptop"
        );
    }
    check(
        &["allow :22", "deny 192.168.0.0/16", "allow 10.0.0.0/8 :22"],
        &[
            ("10.0.0.1:22", "addresses"),
            ("10.0.0.1:22@10.0.0.1", "yes: allow 10.0.0.0/8 :22"),
            ("172.16.0.1:22", "addresses"),
            ("172.16.0.1:22@172.16.0.1", "private"),
        ],
    );
}

#[test]
fn services_go_to_their_backends_by_the_first_rule_that_holds() {
    let rules = [
        "deny shop/secret :5432",
        "deny 10.0.0.0/8 :5432",
        "allow shop/db shop/secret :5432",
        "allow db.shop.svc :6432",
        "allow shop/db :6432",
        "allow shop/db 10.0.0.0/8 :7432",
        "deny 0.0.0.0/0 ::/0 :8432",
        "allow shop/db :8432",
    ];
    let db = "shop/db:5432: allow shop/db shop/secret :5432";
    check(
        &rules,
        &[
            ("db.shop.svc:5432", db),
            ("DB.shop.svc.cluster.local.:5432", db),
            ("secret.shop.svc:5432", "no: deny shop/secret :5432"),
            ("db.shop:5432", "no: none"),
            ("db.shop.svc.other.local:5432", "no: none"),
            ("other.shop.svc:5432", "no: none"),
            // A rule without services sees an ordinary name.
            ("db.shop.svc:6432", "addresses"),
            (
                "db.shop.svc.cluster.local:6432",
                "shop/db:6432: allow shop/db :6432",
            ),
            // With cidrs it is about addresses.
            ("db.shop.svc:7432", "addresses"),
            (
                "db.shop.svc:7432@10.0.0.1",
                "yes: allow shop/db 10.0.0.0/8 :7432",
            ),
            ("other.shop.svc:7432@10.0.0.1", "no: none"),
            ("db.shop.svc:8432", "no: deny 0.0.0.0/0 ::/0 :8432"),
        ],
    );
}

#[test]
fn a_no_that_no_address_can_change_is_said_at_once() {
    check(
        &["allow *.a.example 9.0.0.0/8", "deny *"],
        &[
            ("x.a.example:443", "addresses"),
            ("b.example:443", "no: deny *"),
        ],
    );
    check(
        &["deny 9.0.0.0/8", "deny 0.0.0.0/0 ::/0", "allow *"],
        &[
            ("b.example:443", "no: deny 0.0.0.0/0 ::/0"),
            ("9.0.0.1:443", "no: deny 9.0.0.0/8"),
        ],
    );
    check(&["deny 9.0.0.0/8"], &[("b.example:443", "no: none")]);
}

/// What becomes of a name that a parent proxy will look up.
#[test]
fn a_name_alone_is_judged_until_a_rule_wants_to_see_addresses() {
    let cases: [(&[&str], &str, &str); 8] = [
        (
            &["allow *.example"],
            "a.example:443",
            "yes: allow *.example",
        ),
        (&["allow *.example"], "a.test:443", "no"),
        (&["allow *.example"], "a.example:80", "no"),
        (&["deny a.example", "allow *"], "a.example:443", "no"),
        (
            &["deny a.example", "allow *"],
            "b.example:443",
            "yes: allow *",
        ),
        (&["deny 10.0.0.0/8", "allow *"], "b.example:443", "unknown"),
        (
            &["allow *", "deny 10.0.0.0/8"],
            "b.example:443",
            "yes: allow *",
        ),
        (&["allow a.example 10.0.0.0/8"], "a.example:443", "unknown"),
    ];
    for (rules, target, expected) in cases {
        let policy = Policy::new(&connect(rules.iter().map(|text| rule(text)).collect()));
        let target = Target::parse(target.as_bytes()).unwrap();
        let ask = Ask {
            target: &target,
            subject: None,
        };
        let said = match policy.by_name_alone(&ask) {
            ByNameAlone::Allowed(rule) => format!("yes: {}", policy.rule_name(rule)),
            ByNameAlone::Denied => "no".to_owned(),
            ByNameAlone::Unknown => "unknown".to_owned(),
        };
        assert_eq!(said, expected, "{rules:?} {target}");
    }
}

#[test]
fn rules_beyond_the_last_one_never_hold() {
    let mut rules: Vec<Rule> = (0..300)
        .map(|i| rule(&format!("allow h{i}.example")))
        .collect();
    rules.push(rule("allow *"));
    let policy = Policy::new(&connect(rules));
    for (host, expected) in [("h255", ByName::Addresses), ("h256", ByName::Denied(None))] {
        let target = Target::parse(format!("{host}.example:443").as_bytes()).unwrap();
        let ask = Ask {
            target: &target,
            subject: None,
        };
        assert_eq!(policy.by_name(&ask), expected);
    }
    assert_eq!(policy.mode(), PolicyMode::Enforce);
}
