//! The rules, one by one and entry by entry, say the same.

use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const WORDS: [&str; 20] = [
    "*",
    "*.example",
    "*.a.example",
    "a.example",
    "x.a.example",
    "db.shop.svc",
    "*.svc",
    "shop/db",
    "shop/web",
    "ci",
    "cd",
    ":443",
    ":80",
    "8.8.0.0/16",
    "8.8.8.8/32",
    "10.0.0.0/8",
    "127.0.0.0/8",
    "0.0.0.0/0",
    "::/0",
    "fd00::/8",
];

const HOSTS: [&str; 9] = [
    "a.example",
    "x.a.example",
    "y.x.a.example",
    "example",
    "db.shop.svc",
    "web.shop.svc.cluster.local",
    "8.8.8.8",
    "10.0.0.1",
    "[fd00::1]",
];

const ADDRESSES: [&str; 10] = [
    "8.8.8.8",
    "8.8.1.1",
    "9.9.9.9",
    "10.0.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "::ffff:10.0.0.1",
    "2600::1",
    "fd00::1",
    "2600::5efe:10.0.0.1",
];

fn matches(pattern: &HostPattern, host: &Host) -> bool {
    match (pattern, host) {
        (_, Host::Address(_)) => false,
        (HostPattern::Any, _) => true,
        (HostPattern::Exact(exact), Host::Name(name)) => exact == name,
        (HostPattern::Below(parent), Host::Name(name)) => name.ends_with(&format!(".{parent}")),
    }
}

fn holds_but_for_cidrs(rule: &Rule, ask: &Ask<'_>) -> bool {
    let service = ask.target.host.service("cluster.local");
    let is_service = |wanted| service.as_ref() == Some(wanted);
    rule.ports.contains(&ask.target.port)
        && (rule.hosts.is_empty() || rule.hosts.iter().any(|h| matches(h, &ask.target.host)))
        && (rule.services.is_empty() || rule.services.iter().any(is_service))
        && (rule.subjects.is_empty() || rule.subjects.iter().any(|s| ask.subject == Some(s)))
}

fn by_address(rules: &[Rule], ask: &Ask<'_>, address: IpAddr) -> Result<usize, AddressRefused> {
    let forbidden = guard::check(address, &CLUSTER);
    let is_in = |rule: &Rule, a: IpAddr| rule.cidrs.iter().any(|net: &IpNet| net.contains(&a));
    let mut refused = AddressRefused::Denied(None);
    for (i, rule) in rules.iter().enumerate() {
        if !holds_but_for_cidrs(rule, ask) {
            continue;
        }
        let readings = guard::readings(address);
        match rule.action {
            Action::Deny => {
                let id = RuleId(u8::try_from(i).unwrap());
                let named = [address]
                    .into_iter()
                    .chain(readings)
                    .any(|a| is_in(rule, a));
                if rule.cidrs.is_empty() || named {
                    return Err(AddressRefused::Denied(Some(id)));
                }
            }
            Action::Allow if rule.cidrs.is_empty() => {
                if !guard::is_private(address) && forbidden.is_ok() {
                    return Ok(i);
                }
                if let AddressRefused::Denied(_) = refused {
                    let id = RuleId(u8::try_from(i).unwrap());
                    let private = |()| AddressRefused::Private(id);
                    refused = forbidden.map_or_else(AddressRefused::Forbidden, private);
                }
            }
            Action::Allow => {
                if readings.into_iter().all(|a| is_in(rule, a)) {
                    return forbidden.map(|()| i).map_err(AddressRefused::Forbidden);
                }
            }
        }
    }
    Err(refused)
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let rule = (
        select(vec!["allow", "deny"]),
        vec(select(WORDS.to_vec()), 0..4),
    )
        .prop_map(|(action, words)| rule(&[&[action][..], &words].concat().join(" ")));
    vec(rule, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn sets_say_what_rules_say(
        rules in rules(),
        host in select(HOSTS.to_vec()),
        port in select(vec![443, 80]),
        user in select(vec![None, Some("ci"), Some("eve")]),
    ) {
        let policy = Policy::new(&connect(rules.clone()));
        let target = Target::parse(format!("{host}:{port}").as_bytes()).unwrap();
        let subject = user.map(|name| Subject::User(name.to_owned()));
        let ask = Ask { target: &target, subject: subject.as_ref() };
        let by_name = policy.by_name(&ask);
        if let ByName::Service { rule, service } = &by_name {
            let rule = &rules[usize::from(rule.0)];
            prop_assert!(rule.action == Action::Allow && rule.services.contains(service));
            prop_assert!(holds_but_for_cidrs(rule, &ask));
        }
        for address in ADDRESSES {
            let address = match target.host {
                Host::Address(address) => address,
                Host::Name(_) => address.parse().unwrap(),
            };
            let said = policy.by_address(&ask, address, &CLUSTER);
            let expected = by_address(&rules, &ask, address);
            prop_assert_eq!(said.map(|RuleId(id)| usize::from(id)), expected);
            // A no before the dial is never taken back.
            if let ByName::Denied(_) = by_name {
                prop_assert!(matches!(said, Err(AddressRefused::Denied(_))));
            }
        }
    }
}
