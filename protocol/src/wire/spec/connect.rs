//! Pure. What an HTTP CONNECT proxy lets through, on the wire.

use std::num::NonZeroU32;
use std::time::Duration;

use super::listener::{ranges, texts};
use super::{millis, optional_count, some_time, unique};
use crate::proto;
use crate::proto::http_connect::{self, rule};
use crate::snapshot::{
    Action, HostPattern, HttpConnect, PolicyMode, Rule, ServiceName, Subject, TunnelLimits, User,
};
use crate::wire::{Invalid, invalid, port};
use crate::{HEAD_BYTES, RANGES, RULES, USERS};

pub(super) fn to_proto(connect: &HttpConnect) -> proto::HttpConnect {
    let mode = match connect.mode {
        PolicyMode::Enforce => http_connect::Mode::Enforce,
        PolicyMode::Report => http_connect::Mode::Report,
    };
    let limits = connect.limits;
    let users = connect.users.iter().flatten();
    proto::HttpConnect {
        rules: connect.rules.iter().map(rule_to_proto).collect(),
        mode: mode.into(),
        authenticates: connect.users.is_some(),
        users: users
            .map(|user| http_connect::User {
                name: user.name.clone(),
                hash: user.hash.clone(),
            })
            .collect(),
        cluster_domain: connect.cluster_domain.clone(),
        tunnels: optional_count(limits.tunnels),
        tunnels_per_source: optional_count(limits.tunnels_per_source),
        tunnels_per_subject: optional_count(limits.tunnels_per_subject),
        header_timeout_ms: millis(limits.header_timeout),
        max_header_size: limits.max_header_size,
    }
}

pub(super) fn from_proto(message: proto::HttpConnect) -> Result<HttpConnect, Invalid> {
    let mode = match message.mode() {
        http_connect::Mode::Enforce => PolicyMode::Enforce,
        http_connect::Mode::Report => PolicyMode::Report,
        http_connect::Mode::Unspecified => {
            return Err(invalid("http_connect.mode", message.mode, "unknown value"));
        }
    };
    bounded("http_connect.rules", &message.rules, RULES)?;
    bounded("http_connect.users", &message.users, USERS)?;
    let rules = message.rules.into_iter().map(rule_from_proto);
    let rules: Vec<Rule> = rules.collect::<Result<_, _>>()?;
    unique("rule.name", rules.iter().map(|rule| rule.name.as_str()))?;
    unique(
        "user.name",
        message.users.iter().map(|user| user.name.as_str()),
    )?;
    let (field, size) = ("http_connect.max_header_size", message.max_header_size);
    if !HEAD_BYTES.contains(&size) {
        return Err(invalid(field, size, "expected 1 KiB to 64 KiB"));
    }
    let users = message.users.into_iter().map(|user| User {
        name: user.name,
        hash: user.hash,
    });
    Ok(HttpConnect {
        rules,
        mode,
        users: message.authenticates.then(|| users.collect()),
        cluster_domain: message.cluster_domain,
        limits: TunnelLimits {
            tunnels: NonZeroU32::new(message.tunnels),
            tunnels_per_source: NonZeroU32::new(message.tunnels_per_source),
            tunnels_per_subject: NonZeroU32::new(message.tunnels_per_subject),
            header_timeout: header_timeout(message.header_timeout_ms)?,
            max_header_size: size,
        },
    })
}

fn header_timeout(millis: u64) -> Result<Duration, Invalid> {
    some_time("http_connect.header_timeout_ms", millis)
}

fn rule_to_proto(rule: &Rule) -> http_connect::Rule {
    let action = match rule.action {
        Action::Allow => rule::Action::Allow,
        Action::Deny => rule::Action::Deny,
    };
    http_connect::Rule {
        name: rule.name.clone(),
        action: action.into(),
        hosts: rule.hosts.iter().map(ToString::to_string).collect(),
        cidrs: texts(&rule.cidrs),
        services: rule
            .services
            .iter()
            .map(|service| http_connect::Service {
                namespace: service.namespace.clone(),
                name: service.name.clone(),
            })
            .collect(),
        ports: rule.ports.iter().map(|port| (*port).into()).collect(),
        users: rule
            .subjects
            .iter()
            .map(|Subject::User(name)| name.clone())
            .collect(),
    }
}

fn rule_from_proto(message: http_connect::Rule) -> Result<Rule, Invalid> {
    let action = match message.action() {
        rule::Action::Allow => Action::Allow,
        rule::Action::Deny => Action::Deny,
        rule::Action::Unspecified => {
            return Err(invalid("rule.action", message.action, "unknown value"));
        }
    };
    bounded("rule.hosts", &message.hosts, RANGES)?;
    bounded("rule.services", &message.services, RANGES)?;
    bounded("rule.ports", &message.ports, RANGES)?;
    bounded("rule.users", &message.users, RANGES)?;
    if message.ports.is_empty() {
        return Err(invalid("rule.ports", "empty", "expected a port"));
    }
    let host = |text: &String| {
        HostPattern::parse(text).map_err(|_| invalid("rule.hosts", text, "expected a name or glob"))
    };
    let services = message.services.into_iter().map(|service| ServiceName {
        namespace: service.namespace,
        name: service.name,
    });
    let ports = message.ports.into_iter();
    Ok(Rule {
        name: message.name,
        action,
        hosts: message.hosts.iter().map(host).collect::<Result<_, _>>()?,
        cidrs: ranges("rule.cidrs", &message.cidrs)?,
        services: services.collect(),
        ports: ports
            .map(|number| Ok(port("rule.ports", number)?.get()))
            .collect::<Result<_, Invalid>>()?,
        subjects: message.users.into_iter().map(Subject::User).collect(),
    })
}

fn bounded<T>(field: &'static str, list: &[T], most: usize) -> Result<(), Invalid> {
    if list.len() > most {
        return Err(invalid(field, list.len(), "too many entries"));
    }
    Ok(())
}
