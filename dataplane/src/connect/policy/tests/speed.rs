//! As many rules and entries as there may be.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};

use super::*;

/// 256 rules of 256 entries of every kind; no rule but the last holds for a private address.
fn largest() -> HttpConnect {
    let rules = (0..=255_u8).map(|i| {
        let each = 0..=255_u8;
        let name = |j| format!("h{j}.r{i}.{}example", "a.".repeat(100));
        let below = |j: u8| match j {
            0 => HostPattern::Any,
            1..128 => HostPattern::Exact(name(j)),
            _ => HostPattern::Below(name(j)),
        };
        // Every other one, so that none becomes one range with its neighbour.
        let cidr = |j: u8| Ipv4Net::new(Ipv4Addr::new(10, i, j / 128, j << 1), 32).unwrap();
        let service = |j| ServiceName {
            namespace: format!("n{j}"),
            name: "db".to_owned(),
        };
        Rule {
            name: format!("r{i}"),
            action: if i % 2 == 0 {
                Action::Deny
            } else {
                Action::Allow
            },
            hosts: each.clone().map(below).collect(),
            cidrs: each.clone().map(cidr).map(IpNet::V4).collect(),
            services: if i == 7 {
                each.clone().map(service).collect()
            } else {
                Vec::new()
            },
            ports: (1..=256).collect(),
            subjects: each.map(|j| Subject::User(format!("u{j}"))).collect(),
        }
    });
    connect(rules.collect())
}

/// The best of many runs, so that a busy machine doesn't matter.
#[expect(clippy::disallowed_methods, reason = "it is about the time it takes")]
fn best_of(n: usize, verdict: impl Fn()) -> Duration {
    let times = (0..n).map(|_| {
        let begin = Instant::now();
        verdict();
        begin.elapsed()
    });
    times.min().unwrap()
}

/// More than 100 and more than 10,000 patterns.
#[test]
fn pitfall_12_as_many_entries_as_there_may_be_are_judged_as_fast_and_as_right() {
    let largest = largest();
    let policy = Policy::new(&largest);
    let n_hosts: usize = largest.rules.iter().map(|rule| rule.hosts.len()).sum();
    assert_eq!(n_hosts, 256 * 256);
    let deep = format!("X.h200.R255.{}Example.:256", "a.".repeat(100));
    let target = Target::parse(deep.as_bytes()).unwrap();
    let subject = Subject::User("u255".to_owned());
    let ask = Ask {
        target: &target,
        subject: Some(&subject),
    };
    let last = policy.by_address(&ask, [10, 255, 1, 254].into(), &CLUSTER);
    assert_eq!(last.map(|id| policy.rule_name(id)), Ok("r255".into()));
    let none = policy.by_address(&ask, [10, 255, 1, 255].into(), &CLUSTER);
    assert_eq!(none, Err(AddressRefused::Denied(None)));

    let by_name = best_of(500, || assert_eq!(policy.by_name(&ask), ByName::Addresses));
    let by_address = best_of(500, || {
        assert!(
            policy
                .by_address(&ask, [10, 255, 1, 254].into(), &CLUSTER)
                .is_ok()
        );
    });
    println!("by name {by_name:?}, by address {by_address:?}");
    // 20 µs are the aim of a release build; without optimization it is several times as much.
    let limit = Duration::from_micros(if cfg!(debug_assertions) { 1000 } else { 20 });
    assert!(
        by_name < limit && by_address < limit,
        "{by_name:?}, {by_address:?}"
    );
}

#[test]
fn patterns_are_matched_alike_however_many_there_are() {
    for n in [1, 99, 101, 10_001, 65_536_usize] {
        let mut rules: Vec<Rule> = Vec::new();
        let patterns: Vec<HostPattern> = (0..n)
            .map(|i| HostPattern::parse(&format!("*.h{i}.example")).unwrap())
            .collect();
        for chunk in patterns.chunks(256) {
            let mut rule = rule("allow");
            rule.hosts = chunk.to_vec();
            rules.push(rule);
        }
        let policy = Policy::new(&connect(rules));
        let ask = |host: String| {
            let target = Target::parse(host.as_bytes()).unwrap();
            policy.by_name(&Ask {
                target: &target,
                subject: None,
            })
        };
        let last = n - 1;
        assert_eq!(
            ask(format!("A.H{last}.EXAMPLE.:443")),
            ByName::Addresses,
            "{n}"
        );
        assert_eq!(
            ask(format!("h{last}.example:443")),
            ByName::Denied(None),
            "{n}"
        );
        assert_eq!(
            ask(format!("a.h{n}.example:443")),
            ByName::Denied(None),
            "{n}"
        );
    }
}
