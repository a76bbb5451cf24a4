//! Pure. A listener, on the wire.

use std::num::NonZeroU32;

use ipnet::IpNet;

use super::{optional_count, tcp};
use crate::proto::{self, proxy_protocol_in::Mode};
use crate::snapshot::{Listener, ListenerLimits, ProxyMode, ProxyProtocolIn};
use crate::wire::{Invalid, invalid, port};
use crate::{PORTS_PER_LISTENER, RANGES};

pub(super) fn to_proto(listener: &Listener) -> proto::Listener {
    let limits = listener.limits;
    let address = listener.address.map(|ip| ip.to_string());
    proto::Listener {
        port: listener.port.get().into(),
        address: address.unwrap_or_default(),
        end_port: listener.end_port.map_or(0, |port| port.get().into()),
        source_ranges: texts(&listener.source_ranges),
        proxy_protocol: listener.proxy_protocol.as_ref().map(proxy_to_proto),
        limits: (limits != ListenerLimits::default()).then(|| proto::ListenerLimits {
            connections: optional_count(limits.connections),
            connections_per_source: optional_count(limits.connections_per_source),
            connections_per_second: optional_count(limits.connections_per_second),
        }),
        tcp: tcp::to_proto(&listener.tcp),
    }
}

pub(super) fn from_proto(message: &proto::Listener) -> Result<Listener, Invalid> {
    let address = match message.address.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|_| invalid("listener.address", text, "expected an IP address"))?,
        ),
    };
    let first = port("listener.port", message.port)?;
    let end_port = match message.end_port {
        0 => None,
        last => Some(port("listener.end_port", last)?),
    };
    let ports = end_port.map_or(1, |last| {
        (usize::from(last.get()) + 1).saturating_sub(first.get().into())
    });
    if !(1..=PORTS_PER_LISTENER).contains(&ports) {
        let why = "expected the port or one of the 99 behind it";
        return Err(invalid("listener.end_port", message.end_port, why));
    }
    let limits = message.limits.unwrap_or_default();
    Ok(Listener {
        port: first,
        end_port,
        address,
        source_ranges: ranges("listener.source_ranges", &message.source_ranges)?,
        proxy_protocol: match &message.proxy_protocol {
            Some(proxy) => Some(proxy_from_proto(proxy)?),
            None => None,
        },
        limits: ListenerLimits {
            connections: NonZeroU32::new(limits.connections),
            connections_per_source: NonZeroU32::new(limits.connections_per_source),
            connections_per_second: NonZeroU32::new(limits.connections_per_second),
        },
        tcp: tcp::from_proto(message.tcp.as_ref())?,
    })
}

fn proxy_to_proto(proxy: &ProxyProtocolIn) -> proto::ProxyProtocolIn {
    let mode = match proxy.mode {
        ProxyMode::Optional => Mode::Optional,
        ProxyMode::Required => Mode::Required,
    };
    proto::ProxyProtocolIn {
        mode: mode.into(),
        trusted_sources: texts(&proxy.trusted_sources),
    }
}

fn proxy_from_proto(message: &proto::ProxyProtocolIn) -> Result<ProxyProtocolIn, Invalid> {
    let mode = match message.mode() {
        Mode::Optional => ProxyMode::Optional,
        Mode::Required => ProxyMode::Required,
        Mode::Unspecified => {
            return Err(invalid(
                "proxy_protocol.mode",
                message.mode,
                "unknown value",
            ));
        }
    };
    let trusted = "proxy_protocol.trusted_sources";
    Ok(ProxyProtocolIn {
        mode,
        trusted_sources: ranges(trusted, &message.trusted_sources)?,
    })
}

pub(super) fn texts(ranges: &[IpNet]) -> Vec<String> {
    ranges.iter().map(ToString::to_string).collect()
}

pub(super) fn ranges(field: &'static str, texts: &[String]) -> Result<Vec<IpNet>, Invalid> {
    if texts.len() > RANGES {
        return Err(invalid(field, texts.len(), "too many ranges"));
    }
    let range = |text: &String| {
        text.parse()
            .map_err(|_| invalid(field, text, "expected a CIDR"))
    };
    texts.iter().map(range).collect()
}
