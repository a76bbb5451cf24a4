//! Pure. What resolving needs of an EndpointSlice; what is not set has its meaning here.

use std::net::IpAddr;
use std::num::NonZeroU16;

use k8s_openapi::api::discovery::v1 as discovery;

/// An EndpointSlice, reduced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Of its addresses.
    pub family: Family,
    /// Name and number of its TCP ports.
    pub ports: Vec<(String, NonZeroU16)>,
    /// Its endpoints, by their first address.
    pub endpoints: Vec<Endpoint>,
}

/// An endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The first of its addresses: the others are not for use.
    pub address: IpAddr,
    /// Not set: true.
    pub ready: bool,
    /// Not set: true.
    pub serving: bool,
    /// Not set: false.
    pub terminating: bool,
    /// Node hints, sorted; at most 8.
    pub nodes: Vec<String>,
    /// Zone hints, sorted; at most 8.
    pub zones: Vec<String>,
}

/// An IP family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The one that this is not.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

impl Slice {
    /// The number of the port with that name.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<NonZeroU16> {
        self.ports
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, number)| *number)
    }

    /// Reduces a slice; nothing for addresses that are names.
    #[must_use]
    pub fn new(slice: &discovery::EndpointSlice) -> Option<Self> {
        let family = match slice.address_type.as_str() {
            "IPv4" => Family::V4,
            "IPv6" => Family::V6,
            _ => return None,
        };
        let ports = slice.ports.iter().flatten();
        let ports = ports.filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
        Some(Self {
            family,
            ports: ports
                .filter_map(|port| {
                    let number = u16::try_from(port.port?).ok()?;
                    let name = port.name.clone().unwrap_or_default();
                    Some((name, NonZeroU16::new(number)?))
                })
                .collect(),
            endpoints: slice
                .endpoints
                .iter()
                .flatten()
                .filter_map(endpoint)
                .collect(),
        })
    }
}

fn endpoint(endpoint: &discovery::Endpoint) -> Option<Endpoint> {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let hints = endpoint.hints.clone().unwrap_or_default();
    let nodes = hints.for_nodes.into_iter().flatten().map(|hint| hint.name);
    let zones = hints.for_zones.into_iter().flatten().map(|hint| hint.name);
    Some(Endpoint {
        address: endpoint.addresses.first()?.parse().ok()?,
        ready: conditions.ready.unwrap_or(true),
        serving: conditions.serving.unwrap_or(true),
        terminating: conditions.terminating.unwrap_or(false),
        nodes: bounded(nodes),
        zones: bounded(zones),
    })
}

/// Sorted; none, if they are more or longer than Kubernetes allows: half a list would send
/// sessions elsewhere than the whole one, no list sends them everywhere.
fn bounded(hints: impl Iterator<Item = String>) -> Vec<String> {
    let mut hints: Vec<String> = hints.take(HINTS + 1).collect();
    if hints.len() > HINTS || hints.iter().any(|hint| hint.len() > HINT_BYTES) {
        return Vec::new();
    }
    hints.sort();
    hints
}

/// Hints of a kind that Kubernetes lets an endpoint have.
const HINTS: usize = 8;

/// The longest name of a node or of a zone.
const HINT_BYTES: usize = 253;
