//! Pure. A header to be sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tcpforward_protocol::snapshot::ProxyVersion;

use super::{Endpoints, UniqueId, v2};

/// The bytes of a header. Without endpoints it says that the sender speaks for itself, as a check
/// does (`LOCAL`, `UNKNOWN`). Version 1 has no place for the id.
#[must_use]
pub fn encode(
    version: ProxyVersion,
    endpoints: Option<&Endpoints>,
    unique_id: Option<&UniqueId>,
) -> Vec<u8> {
    match version {
        ProxyVersion::V1 => line(endpoints).into_bytes(),
        ProxyVersion::V2 => binary(endpoints, unique_id),
    }
}

fn line(endpoints: Option<&Endpoints>) -> String {
    let Some(endpoints) = endpoints else {
        return "PROXY UNKNOWN\r\n".to_owned();
    };
    let (family, source, destination) = match pair(endpoints) {
        Pair::V4(source, destination) => ("TCP4", source.to_string(), destination.to_string()),
        Pair::V6(source, destination) => ("TCP6", source.to_string(), destination.to_string()),
    };
    let ports = (endpoints.source.port(), endpoints.destination.port());
    format!(
        "PROXY {family} {source} {destination} {} {}\r\n",
        ports.0, ports.1
    )
}

fn binary(endpoints: Option<&Endpoints>, unique_id: Option<&UniqueId>) -> Vec<u8> {
    let mut body = Vec::new();
    let (command, family) = match endpoints.map(pair) {
        None => (v2::LOCAL, v2::UNSPECIFIED),
        Some(Pair::V4(source, destination)) => {
            body.extend([source, destination].map(|ip| ip.octets()).as_flattened());
            (v2::PROXY, v2::TCP4)
        }
        Some(Pair::V6(source, destination)) => {
            body.extend([source, destination].map(|ip| ip.octets()).as_flattened());
            (v2::PROXY, v2::TCP6)
        }
    };
    if let Some(endpoints) = endpoints {
        let ports = [endpoints.source.port(), endpoints.destination.port()];
        body.extend(ports.map(u16::to_be_bytes).as_flattened());
        if let Some(id) = unique_id {
            field(&mut body, v2::UNIQUE_ID, id.bytes());
        }
    }
    field(&mut body, v2::CRC32C, &[0; 4]);
    let mut header = v2::SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(length(&body));
    header.extend(body);
    let checksum = v2::CHECKSUM.checksum(&header);
    // The last field's value, which was zero while it was computed.
    header.truncate(header.len() - 4);
    header.extend(checksum.to_be_bytes());
    header
}

fn field(body: &mut Vec<u8>, kind: u8, value: &[u8]) {
    body.push(kind);
    body.extend(length(value));
    body.extend(value);
}

/// Addresses and the longest id are far below what a length can say.
fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()
}

enum Pair {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

/// A header has one family for both ends, so beside an IPv6 address an IPv4 one is mapped.
fn pair(endpoints: &Endpoints) -> Pair {
    let [source, destination] =
        [endpoints.source, endpoints.destination].map(|end| end.ip().to_canonical());
    let wide = |ip| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Pair::V4(source, destination),
        _ => Pair::V6(wide(source), wide(destination)),
    }
}
