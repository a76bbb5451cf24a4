//! Pure. Which addresses the whole internet can reach, by IANA's registries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Of one reading that is not protected.
pub(super) fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !is_special_v4(v4),
        IpAddr::V6(v6) => !is_special_v6(v6),
    }
}

fn is_special_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_documentation()
        // Shared by carriers, RFC 6598.
        || a == 100 && b & 0xc0 == 64
        // IETF protocols; relays of 6to4, RFC 7526.
        || matches!([a, b, c], [192, 0, 0] | [192, 88, 99])
        // Benchmarks, RFC 2544.
        || a == 198 && b & 0xfe == 18
        // Reserved.
        || a >= 240
}

/// Nothing but 2000::/3 has been given out.
fn is_special_v6(address: Ipv6Addr) -> bool {
    let [s0, s1, ..] = address.segments();
    s0 & 0xe000 != 0x2000
        // IETF protocols, RFC 2928.
        || s0 == 0x2001 && s1 & 0xfe00 == 0
        // Documentation, RFC 3849 and 9637.
        || s0 == 0x2001 && s1 == 0xdb8
        || s0 == 0x3fff && s1 & 0xf000 == 0
}
