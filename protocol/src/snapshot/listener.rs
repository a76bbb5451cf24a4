//! Pure. Where clients connect, and which of them may.

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};

use ipnet::IpNet;

use crate::snapshot::TcpOptions;

/// A port or a range of ports, and perhaps an address, to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// TCP port; the first one of a range.
    pub port: NonZeroU16,
    /// The last one of a range, not below `port`; absent: `port` alone. A backend's port moves by
    /// the same offset.
    pub end_port: Option<NonZeroU16>,
    /// Absent: the data plane's own default.
    pub address: Option<IpAddr>,
    /// Whose clients are served; empty: anyone's.
    pub source_ranges: Vec<IpNet>,
    /// Whether clients come with a PROXY header; absent: they don't.
    pub proxy_protocol: Option<ProxyProtocolIn>,
    /// How many connections are served.
    pub limits: ListenerLimits,
    /// Options of the sockets that clients connect to.
    pub tcp: TcpOptions,
}

impl Listener {
    /// The listener of one port without anything else.
    #[must_use]
    pub fn plain(port: NonZeroU16, address: Option<IpAddr>) -> Self {
        Self {
            port,
            end_port: None,
            address,
            source_ranges: Vec::new(),
            proxy_protocol: None,
            limits: ListenerLimits::default(),
            tcp: TcpOptions::default(),
        }
    }

    /// Whether a client from there is served. An IPv4 address in IPv6 form is an IPv4 address.
    #[must_use]
    pub fn allows(&self, source: IpAddr) -> bool {
        self.source_ranges.is_empty() || is_in(&self.source_ranges, source)
    }

    /// Whether that peer may say, by a PROXY header, whose connection it is.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let proxy = self.proxy_protocol.as_ref();
        proxy.is_some_and(|proxy| proxy.trusts(peer))
    }

    /// How far a port, to which a client connected, is from the first one. Without a range that is
    /// nothing, whatever the port is. Absent: it is in the range no more.
    #[must_use]
    pub fn offset(&self, port: u16) -> Option<u16> {
        let Some(last) = self.end_port else {
            return Some(0);
        };
        let offset = port.checked_sub(self.port.get())?;
        (port <= last.get()).then_some(offset)
    }

    /// All ports, the first one first.
    pub fn ports(&self) -> impl Iterator<Item = NonZeroU16> + use<> {
        let last = self.end_port.unwrap_or(self.port).get();
        (self.port.get()..=last).filter_map(NonZeroU16::new)
    }
}

/// The PROXY header that clients, load balancers mostly, send before their first byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProtocolIn {
    /// Whether it may be left out.
    pub mode: ProxyMode,
    /// Who may send one; nobody else's word is taken.
    pub trusted_sources: Vec<IpNet>,
}

impl ProxyProtocolIn {
    /// Whether that peer may send a header.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        is_in(&self.trusted_sources, peer)
    }
}

/// An IPv4 address in IPv6 form is an IPv4 address.
fn is_in(ranges: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ranges.iter().any(|range| range.contains(&ip))
}

/// Whether a PROXY header may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyMode {
    /// Trusted sources may send one; everybody else is taken as they come.
    Optional,
    /// A connection without one is refused, and so is one from elsewhere.
    Required,
}

/// Bounds of what is served; absent: none below the descriptor budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Sessions at a time, over the whole pool.
    pub connections: Option<NonZeroU32>,
    /// Sessions at a time of one client address, on each data plane.
    pub connections_per_source: Option<NonZeroU32>,
    /// New sessions per second, over the whole pool.
    pub connections_per_second: Option<NonZeroU32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clients_of_the_ranges_are_allowed() {
        let mut listener = Listener::plain(NonZeroU16::MIN, None);
        let allows = |listener: &Listener, ip: &str| listener.allows(ip.parse().unwrap());
        assert!(allows(&listener, "192.0.2.1"), "without ranges anyone is");
        listener.source_ranges = ["10.0.0.0/8", "fd00::/8"]
            .map(|r| r.parse().unwrap())
            .into();
        for ip in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1"] {
            assert!(allows(&listener, ip), "{ip}");
        }
        for ip in ["11.0.0.1", "::ffff:11.0.0.1", "fe80::1", "::10.1.2.3"] {
            assert!(!allows(&listener, ip), "{ip}");
        }
        listener.source_ranges = vec!["::/0".parse().unwrap()];
        assert!(!allows(&listener, "::ffff:10.1.2.3"), "that is IPv4");
    }

    #[test]
    fn only_trusted_peers_are_believed() {
        let mut listener = Listener::plain(NonZeroU16::MIN, None);
        let trusts = |listener: &Listener, ip: &str| listener.trusts(ip.parse().unwrap());
        assert!(!trusts(&listener, "10.1.2.3"), "no header is expected");
        listener.proxy_protocol = Some(ProxyProtocolIn {
            mode: ProxyMode::Optional,
            trusted_sources: vec!["10.0.0.0/8".parse().unwrap()],
        });
        assert!(trusts(&listener, "::ffff:10.1.2.3"));
        assert!(!trusts(&listener, "11.0.0.1"));
    }

    #[test]
    fn a_port_of_a_range_is_so_far_from_the_first() {
        let port = |port| NonZeroU16::new(port).unwrap();
        let mut listener = Listener::plain(port(8888), None);
        assert_eq!(listener.offset(8890), Some(0), "it was another port before");
        listener.end_port = Some(port(8890));
        let offsets = [8887, 8888, 8890, 8891].map(|port| listener.offset(port));
        assert_eq!(offsets, [None, Some(0), Some(2), None]);
    }
}
