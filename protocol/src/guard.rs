//! Pure. The one rule for what may be dialled, asked of the resolved address of every dial:
//! by the operator for what a TcpForward names, by the data plane before it connects.
//!
//! Kubernetes lets anyone who may write EndpointSlices name any address (CVE-2021-25740,
//! CVE-2021-25737), so backends of a Service are judged as well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::snapshot::{LocalTargets, Settings};

/// Why an address must not be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// 127.0.0.0/8, ::1.
    #[error("a loopback address is the data plane's own host")]
    Loopback,
    /// 169.254.0.0/16, fe80::/10.
    #[error("a link-local address is the data plane's own network segment")]
    LinkLocal,
    /// Where clouds answer with credentials.
    #[error("it is a cloud's metadata address")]
    Metadata,
    /// 224.0.0.0/4, ff00::/8 and the broadcast address.
    #[error("a multicast or broadcast address has no TCP")]
    Multicast,
    /// 0.0.0.0/8, ::.
    #[error("an unspecified address is the data plane's own host")]
    Unspecified,
}

/// Judges an address as a destination; IPv4 inside IPv6 is unwrapped first.
///
/// # Errors
/// The kind of address that is forbidden.
pub fn check(address: IpAddr, settings: &Settings) -> Result<(), Forbidden> {
    let address = unwrap_embedded(address);
    match kind(address) {
        Some(Forbidden::Metadata) => Err(Forbidden::Metadata),
        Some(forbidden) if settings.local_targets == LocalTargets::Refuse => Err(forbidden),
        _ => Ok(()),
    }
}

fn kind(address: IpAddr) -> Option<Forbidden> {
    match address {
        IpAddr::V4(v4) if METADATA_V4.contains(&v4) => Some(Forbidden::Metadata),
        IpAddr::V6(v6) if METADATA_V6.contains(&v6) => Some(Forbidden::Metadata),
        _ if address.is_loopback() => Some(Forbidden::Loopback),
        _ if address.is_multicast() => Some(Forbidden::Multicast),
        IpAddr::V4(v4) if v4.is_broadcast() => Some(Forbidden::Multicast),
        IpAddr::V4(v4) if v4.is_link_local() => Some(Forbidden::LinkLocal),
        IpAddr::V4(v4) if v4.octets().starts_with(&[0]) => Some(Forbidden::Unspecified),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(Forbidden::LinkLocal),
        IpAddr::V6(v6) if v6.is_unspecified() => Some(Forbidden::Unspecified),
        _ => None,
    }
}

/// AWS, GCP, Azure, OpenStack and DigitalOcean; Alibaba; Oracle; Azure's wire server; AWS ECS; EKS Pod
/// Identity.
const METADATA_V4: [Ipv4Addr; 6] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
];

/// AWS; GCP; EKS Pod Identity.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
];

/// The IPv4 address that an IPv6 one stands for: mapped (RFC 4291 §2.5.5.2), compatible
/// (§2.5.5.1), NAT64 (RFC 6052), 6to4 (RFC 3056).
fn unwrap_embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let [s0, s1, s2, s3, s4, s5, s6, s7] = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match [s0, s1, s2, s3, s4, s5] {
        [0, 0, 0, 0, 0, 0xffff] => v4(s6, s7),
        [0, 0, 0, 0, 0, 0] if s6 != 0 => v4(s6, s7),
        [0x64, 0xff9b, 0, 0, 0, 0] => v4(s6, s7),
        [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: Settings = Settings {
        local_targets: LocalTargets::Refuse,
    };
    const LAPTOP: Settings = Settings {
        local_targets: LocalTargets::Allow,
    };

    #[test]
    fn addresses_are_judged_in_every_spelling() {
        use Forbidden::{LinkLocal, Loopback, Metadata, Multicast, Unspecified};
        let cases = [
            ("172.16.100.101", None),
            ("10.0.0.1", None),
            ("8.8.8.8", None),
            ("fd00::1", None),
            ("2001:db8::1", None),
            ("::ffff:10.0.0.1", None),
            ("127.0.0.1", Some(Loopback)),
            ("127.255.255.254", Some(Loopback)),
            ("::1", Some(Loopback)),
            ("::ffff:127.0.0.1", Some(Loopback)),
            ("::127.0.0.1", Some(Loopback)),
            ("64:ff9b::7f00:1", Some(Loopback)),
            ("2002:7f00:1::", Some(Loopback)),
            ("0.0.0.0", Some(Unspecified)),
            ("0.1.2.3", Some(Unspecified)),
            ("::", Some(Unspecified)),
            ("169.254.1.1", Some(LinkLocal)),
            ("fe80::1", Some(LinkLocal)),
            ("224.0.0.1", Some(Multicast)),
            ("255.255.255.255", Some(Multicast)),
            ("ff02::1", Some(Multicast)),
            ("169.254.169.254", Some(Metadata)),
            ("::ffff:169.254.169.254", Some(Metadata)),
            ("64:ff9b::a9fe:a9fe", Some(Metadata)),
            ("100.100.100.200", Some(Metadata)),
            ("192.0.0.192", Some(Metadata)),
            ("168.63.129.16", Some(Metadata)),
            ("fd00:ec2::254", Some(Metadata)),
            ("169.254.170.23", Some(Metadata)),
            ("fd00:ec2::23", Some(Metadata)),
        ];
        for (text, expected) in cases {
            let address = text.parse().unwrap();
            assert_eq!(
                check(address, &CLUSTER).err(),
                expected,
                "{text} in a cluster"
            );
            let laptop = expected.filter(|f| *f == Metadata);
            assert_eq!(check(address, &LAPTOP).err(), laptop, "{text} on a laptop");
        }
    }
}
