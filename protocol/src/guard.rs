//! Pure. The one rule for what may be dialled, asked of the resolved address of every dial:
//! by the operator for what a TcpForward names, by the data plane before it connects.
//!
//! Kubernetes lets anyone who may write EndpointSlices name any address (CVE-2021-25740,
//! CVE-2021-25737), so backends of a Service are judged as well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::snapshot::{LocalTargets, Origin, Protected, Settings};

mod embedded;
mod reach;

/// Why an address must not be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Of its pods, Services or nodes, and no Service leads there.
    #[error("it is of the cluster's own pods, Services or nodes, which only a Service leads to")]
    Cluster,
    /// 127.0.0.0/8, ::1.
    #[error("a loopback address is the data plane's own host")]
    Loopback,
    /// 169.254.0.0/16, fe80::/10, and fec0::/10 of old.
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

/// Judges an address as a destination that an author or a client names, in every reading of it.
///
/// # Errors
/// The kind of address that is forbidden.
pub fn check(address: IpAddr, settings: &Settings) -> Result<(), Forbidden> {
    check_of(Origin::Author, address, settings)
}

/// Judges an address as a destination, in every reading of it, by who names it.
///
/// # Errors
/// The kind of address that is forbidden.
pub fn check_of(origin: Origin, address: IpAddr, settings: &Settings) -> Result<(), Forbidden> {
    match protected(address) {
        Some(Forbidden::Metadata) => Err(Forbidden::Metadata),
        Some(forbidden) if settings.local_targets == LocalTargets::Refuse => Err(forbidden),
        _ if origin == Origin::Author && is_among(address, &settings.protected) => {
            Err(Forbidden::Cluster)
        }
        _ => Ok(()),
    }
}

/// Whether any reading of an address is of one of these networks.
#[must_use]
pub fn is_among(address: IpAddr, networks: &Protected) -> bool {
    readings(address)
        .into_iter()
        .any(|one| networks.contains(one))
}

/// Why an address is dialled at most with the pool's leave, whatever its settings. Metadata goes
/// before everything else, as it is never dialled.
#[must_use]
pub fn protected(address: IpAddr) -> Option<Forbidden> {
    let kinds = readings(address).map(kind);
    let worst = kinds.iter().find(|k| **k == Some(Forbidden::Metadata));
    worst
        .copied()
        .unwrap_or_else(|| kinds.into_iter().flatten().next())
}

/// Whether a reading of an address is none that the whole internet can reach (IANA's registries of
/// special-purpose addresses), and it is not [`protected`] anyway.
#[must_use]
pub fn is_private(address: IpAddr) -> bool {
    protected(address).is_none() && !readings(address).into_iter().all(reach::is_global)
}

/// The IPv4 address that an IPv6 one stands for, or the address itself.
#[must_use]
pub fn canonical(address: IpAddr) -> IpAddr {
    let [first, _] = readings(address);
    first
}

/// Everything that an address may stand for, IPv4 inside IPv6 unwrapped. The first is the likely
/// one; twice the same, if there is one reading alone.
#[must_use]
pub fn readings(address: IpAddr) -> [IpAddr; 2] {
    match address {
        IpAddr::V4(_) => [address; 2],
        IpAddr::V6(v6) => embedded::readings(v6),
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
        IpAddr::V6(v6) if is_site_local(v6) => Some(Forbidden::LinkLocal),
        IpAddr::V6(v6) if v6.is_unspecified() => Some(Forbidden::Unspecified),
        _ => None,
    }
}

/// fec0::/10, which RFC 3879 took back; a host may still read it as its own site.
fn is_site_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfec0
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

#[cfg(test)]
mod tests;
