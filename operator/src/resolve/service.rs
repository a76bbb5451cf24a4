//! Pure. What resolving needs of a Service, and nothing more, so that other changes don't count.

use k8s_openapi::api::core::v1 as core;

use super::Family;

/// A Service, reduced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Whether it has endpoints.
    pub kind: Kind,
    /// The first of its IP families; IPv4 when it says none.
    pub family: Family,
    /// Its ports, in its order.
    pub ports: Vec<Port>,
}

/// Kinds of Services that make a difference here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One with endpoints.
    Endpoints,
    /// An alias in DNS.
    ExternalName,
    /// One whose endpoints are for clients of their own node only.
    NodeLocal,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Empty for the only port of a Service without a name.
    pub name: String,
    /// What clients of the Service dial.
    pub number: u16,
    /// TCP, UDP or SCTP.
    pub protocol: String,
}

impl Service {
    /// Its TCP ports in words.
    pub(crate) fn tcp_ports(&self) -> String {
        let tcp = self.ports.iter().filter(|port| port.protocol == "TCP");
        let words: Vec<String> = tcp
            .map(|port| match port.name.as_str() {
                "" => port.number.to_string(),
                name => format!("{name} ({})", port.number),
            })
            .collect();
        match words.is_empty() {
            true => "none".to_owned(),
            false => words.join(", "),
        }
    }
}

impl From<&core::Service> for Service {
    fn from(service: &core::Service) -> Self {
        let spec = service.spec.clone().unwrap_or_default();
        let kind = kind(&spec);
        let families = spec.ip_families.unwrap_or_default();
        Self {
            kind,
            family: match families.first().map(String::as_str) {
                Some("IPv6") => Family::V6,
                _ => Family::V4,
            },
            ports: spec
                .ports
                .unwrap_or_default()
                .into_iter()
                .filter_map(|port| {
                    Some(Port {
                        name: port.name.unwrap_or_default(),
                        number: u16::try_from(port.port).ok()?,
                        protocol: port.protocol.unwrap_or_else(|| "TCP".to_owned()),
                    })
                })
                .collect(),
        }
    }
}

fn kind(spec: &core::ServiceSpec) -> Kind {
    let headless = spec.cluster_ip.as_deref() == Some("None");
    match (
        spec.type_.as_deref(),
        spec.internal_traffic_policy.as_deref(),
    ) {
        (Some("ExternalName"), _) => Kind::ExternalName,
        (_, Some("Local")) if !headless => Kind::NodeLocal,
        _ => Kind::Endpoints,
    }
}
