//! Pure. One DataPlane, parsed: whose pods a pool has, and what it serves for whom.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::Value;
use tcpforward_protocol::snapshot::{Listener, PolicyMode};

use crate::crd::{
    AddressTargets, ConnectModes, DataPlaneSpec, ExposeType, PortAllowance, defaults,
};
use crate::forward::{Draft, Rejection};
use crate::validate::metadata::is_label;
use crate::{status, validate};

mod exposure;
mod namespaces;

pub use namespaces::{Labels, Namespaces};

/// What a valid DataPlane says.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Whose pods are its data planes.
    pub account: ServiceAccount,
    /// Whose forwards it serves.
    pub namespaces: Namespaces,
    /// Absent: any port.
    ports: Option<Vec<Ports>>,
    /// Where forwards may lead without a Service.
    pub address_targets: AddressTargets,
    connect_modes: ConnectModes,
    /// Whether its pods are on the networks of their nodes.
    pub host_network: bool,
    expose_types: Vec<ExposeType>,
    /// Forwards of one namespace that are served.
    pub forwards_per_namespace: Option<usize>,
    /// Connections of one forward at a time.
    pub connections_per_forward: Option<NonZeroU32>,
}

/// A ServiceAccount, by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceAccount {
    /// Its namespace, which is that of its pods.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

/// Ports, and whose forwards may listen there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ports {
    range: RangeInclusive<u16>,
    /// Absent: anyone's.
    namespaces: Option<Vec<String>>,
}

/// Parses a DataPlane as it was written.
///
/// # Errors
/// The first thing that the schema, the rules or a type refuse.
pub fn parse(raw: &Value) -> Result<Pool, Rejection> {
    if let Some(finding) = validate::data_plane(raw).into_iter().next() {
        return Err(unsupported(finding.to_string(), finding.path));
    }
    let name = name(raw);
    if !is_label(name) {
        let message = format!(
            "metadata.name is {name:?}: no TcpForward can name it, as dataPlaneName is a DNS-1123 \
             label; give it a name without dots, of at most 63 characters"
        );
        return Err(unsupported(message, "metadata.name".to_owned()));
    }
    let plain = validate::without_nulls(raw);
    let spec = plain.get("spec").unwrap_or(&Value::Null);
    let spec = DataPlaneSpec::deserialize(spec)
        .map_err(|error| unsupported(format!("spec can't be read: {error}"), "spec".to_owned()))?;
    Ok(Pool::from(spec))
}

/// `metadata.name`.
#[must_use]
pub fn name(raw: &Value) -> &str {
    let name = raw.pointer("/metadata/name").and_then(Value::as_str);
    name.unwrap_or_default()
}

impl From<DataPlaneSpec> for Pool {
    fn from(spec: DataPlaneSpec) -> Self {
        let limits = spec.limits.unwrap_or_default();
        let ports = spec.ports.map(|ports| ports.into_iter().map(Ports::from));
        Self {
            account: ServiceAccount {
                namespace: spec.pod_namespace,
                name: spec.service_account_name,
            },
            namespaces: Namespaces::from(spec.allowed_namespaces),
            ports: ports.map(Iterator::collect),
            address_targets: spec.address_targets.unwrap_or(AddressTargets::External),
            connect_modes: spec.connect_modes.unwrap_or(ConnectModes::Enforce),
            host_network: spec.host_network.unwrap_or_default(),
            expose_types: spec
                .allowed_expose_types
                .unwrap_or_else(|| defaults::ALLOWED_EXPOSE_TYPES.to_vec()),
            forwards_per_namespace: limits
                .forwards_per_namespace
                .and_then(|limit| usize::try_from(limit).ok()),
            connections_per_forward: limits
                .connections_per_forward
                .and_then(|limit| NonZeroU32::new(limit.try_into().ok()?)),
        }
    }
}

impl From<PortAllowance> for Ports {
    fn from(written: PortAllowance) -> Self {
        // The schema has bounded both.
        let port = |port: i32| u16::try_from(port).unwrap_or_default();
        Self {
            range: port(written.port)..=port(written.end_port.unwrap_or(written.port)),
            namespaces: written.namespaces,
        }
    }
}

impl Pool {
    /// Why a forward of that namespace is not served, as far as the pool decides by that forward
    /// alone; `labels`: those of the namespace, if there is one.
    #[must_use]
    pub fn refusal(
        &self,
        name: &str,
        namespace: &str,
        labels: Option<&Labels>,
        draft: &Draft,
    ) -> Option<Rejection> {
        let asked = Asked { name, namespace };
        if !self.namespaces.allow(labels) {
            return Some(asked.no_namespace());
        }
        if let Some(port) = self.no_port(namespace, &draft.spec.listener) {
            return Some(asked.no_port(port, &self.ports_of(namespace)));
        }
        let mode = draft.spec.connect.as_ref().map(|connect| connect.mode);
        let reports = mode == Some(PolicyMode::Report);
        if reports && self.connect_modes == ConnectModes::Enforce {
            return Some(asked.no_report());
        }
        self.no_exposure(name, draft)
    }

    /// Why one forward more of that namespace is not served.
    #[must_use]
    pub fn too_many(name: &str, namespace: &str, limit: usize) -> Rejection {
        refused(
            "spec.dataPlaneName",
            format!(
                "DataPlane {name} serves {limit} TcpForwards of a namespace, and as many of {namespace} \
                 are older; delete one, name another pool in spec.dataPlaneName, or have the \
                 DataPlane's spec.limits.forwardsPerNamespace raised"
            ),
        )
    }

    /// The first port that the namespace may not have.
    fn no_port(&self, namespace: &str, listener: &Listener) -> Option<u16> {
        let ports = self.ports.as_ref()?;
        let mut wanted = listener.ports().map(std::num::NonZeroU16::get);
        wanted.find(|port| {
            let mut allowed = ports.iter().filter(|ports| ports.are_for(namespace));
            !allowed.any(|ports| ports.range.contains(port))
        })
    }

    fn ports_of(&self, namespace: &str) -> String {
        let ports = self.ports.iter().flatten();
        let of_it: Vec<_> = ports
            .filter(|ports| ports.are_for(namespace))
            .map(|ports| match (ports.range.start(), ports.range.end()) {
                (start, end) if start == end => start.to_string(),
                (start, end) => format!("{start}-{end}"),
            })
            .collect();
        match of_it.split_at_checked(NAMED_PORTS) {
            Some((first, [_, ..])) => format!("only {}, …", first.join(", ")),
            _ if of_it.is_empty() => "none".to_owned(),
            _ => format!("only {}", of_it.join(", ")),
        }
    }
}

impl Ports {
    fn are_for(&self, namespace: &str) -> bool {
        let namespaces = self.namespaces.as_ref();
        namespaces.is_none_or(|names| names.iter().any(|name| name == namespace))
    }
}

/// Which pool was asked, and for whom.
struct Asked<'a> {
    name: &'a str,
    namespace: &'a str,
}

impl Asked<'_> {
    fn no_namespace(&self) -> Rejection {
        let Self { name, namespace } = self;
        refused(
            "metadata.namespace",
            format!(
                "metadata.namespace is {namespace}: its labels are none that \
                 spec.allowedNamespaces of DataPlane {name} selects; name another pool in \
                 spec.dataPlaneName, or have the namespace labelled"
            ),
        )
    }

    fn no_port(&self, port: u16, allowed: &str) -> Rejection {
        let Self { name, namespace } = self;
        refused(
            "spec.listener.port",
            format!(
                "spec.listener.port asks for {port}: DataPlane {name} allows namespace {namespace} \
                 {allowed}; choose another port or pool, or have the DataPlane's spec.ports allow it"
            ),
        )
    }

    fn no_report(&self) -> Rejection {
        let name = self.name;
        refused(
            "spec.httpConnect.mode",
            format!(
                "spec.httpConnect.mode is Report, which lets through what rules refuse: DataPlane \
                 {name} does not allow that; write Enforce, or have its spec.connectModes say Any"
            ),
        )
    }
}

fn refused(field: &str, message: String) -> Rejection {
    Rejection {
        reason: status::NOT_ALLOWED_BY_DATA_PLANE,
        field: field.to_owned(),
        message,
    }
}

fn unsupported(message: String, field: String) -> Rejection {
    Rejection {
        reason: status::UNSUPPORTED_VALUE,
        field,
        message,
    }
}

/// Ranges that one message names: it has to stay short.
const NAMED_PORTS: usize = 6;

#[cfg(test)]
mod tests;
