//! Pure. IPv4 addresses inside IPv6 ones: whoever dials the one may end at the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Everything that an address may stand for, the likely one first.
pub(super) fn readings(address: Ipv6Addr) -> [IpAddr; 2] {
    let itself = IpAddr::V6(address);
    let [s0, s1, s2, s3, s4, s5, s6, s7] = address.segments();
    let low = v4(s6, s7);
    // RFC 5214: the prefix may be any, so it counts as well.
    let is_isatap = matches!([s4, s5], [0 | 0x200, 0x5efe]);
    match [s0, s1, s2, s3, s4, s5] {
        // Mapped and compatible, RFC 4291 §2.5.5; NAT64, RFC 6052; the same of a site, RFC 8215.
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0 | 1, 0, 0, 0] => [low; 2],
        [0, 0, 0, 0, 0, 0] if s6 != 0 => [low; 2],
        // A site may have a prefix of another length, with IPv4 in another place: let a rule name it.
        [0x64, 0xff9b, 1, ..] => [low, itself],
        // Teredo, RFC 4380: the client, inverted, and the server that is told of it.
        [0x2001, 0, ..] => [v4(!s6, !s7), v4(s2, s3)],
        // 6to4, RFC 3056.
        [0x2002, ..] if is_isatap => [v4(s1, s2), low],
        [0x2002, ..] => [v4(s1, s2); 2],
        _ if is_isatap => [low, itself],
        _ => [itself; 2],
    }
}

fn v4(high: u16, low: u16) -> IpAddr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}
