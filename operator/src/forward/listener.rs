//! Pure. Where clients connect, parsed.

use ipnet::IpNet;
use tcpforward_protocol::snapshot::{Listener, ListenerLimits, ProxyMode, ProxyProtocolIn};

use super::{Rejection, tcp, unsupported, value};
use crate::crd;

pub(super) fn parse(listener: crd::Listener) -> Result<Listener, Rejection> {
    let limits = listener.limits.unwrap_or_default();
    let at = |field: &str| format!("spec.listener.{field}");
    let limit = |field: &str, number| value::limit(&at(&format!("limits.{field}")), number);
    Ok(Listener {
        port: value::port(&at("port"), listener.port)?,
        end_port: match listener.end_port {
            // A range of one port is that port.
            Some(last) if last != listener.port => Some(value::port(&at("endPort"), last)?),
            _ => None,
        },
        address: match listener.address {
            Some(text) => Some(value::ip(&at("address"), &text)?),
            None => None,
        },
        source_ranges: ranges(
            &at("sourceRanges"),
            &listener.source_ranges.unwrap_or_default(),
        )?,
        proxy_protocol: match listener.proxy_protocol {
            None => None,
            Some(proxy) => Some(ProxyProtocolIn {
                mode: match proxy.mode {
                    crd::ProxyMode::Optional => ProxyMode::Optional,
                    crd::ProxyMode::Required => ProxyMode::Required,
                },
                trusted_sources: ranges(
                    &at("proxyProtocol.trustedSources"),
                    &proxy.trusted_sources,
                )?,
            }),
        },
        limits: ListenerLimits {
            connections: limit("connections", limits.connections)?,
            connections_per_source: limit("connectionsPerSource", limits.connections_per_source)?,
            connections_per_second: limit("connectionsPerSecond", limits.connections_per_second)?,
        },
        tcp: tcp::parse("spec.listener", listener.tcp.unwrap_or_default())?,
    })
}

/// One way to write each: 10.1.2.3/8 is 10.0.0.0/8, the order and repetitions mean nothing.
pub(super) fn ranges(field: &str, texts: &[crd::Cidr]) -> Result<Vec<IpNet>, Rejection> {
    let mut ranges = Vec::with_capacity(texts.len());
    for (i, crd::Cidr(text)) in texts.iter().enumerate() {
        let Ok(range) = text.parse::<IpNet>() else {
            let field = format!("{field}[{i}]");
            return Err(unsupported(&field, format!("{field} is {text:?}: no CIDR")));
        };
        ranges.push(range.trunc());
    }
    ranges.sort();
    ranges.dedup();
    Ok(ranges)
}
