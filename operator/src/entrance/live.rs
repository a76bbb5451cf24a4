//! Pure. A Service of a pool's namespace as it is, reduced to what matters here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;
use tcpforward_protocol::snapshot::ForwardName;

use super::{APPLIED, CLOSED, FORWARD, Gate, MANAGED_BY, MANAGER};
use crate::crd::status::Address;
use crate::pods::POOL_LABEL;

/// A Service as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What is known of it if it is ours; nothing matters of others.
    pub owned: Option<Box<Owned>>,
}

/// A Service of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Whose pods it leads to.
    pub pool: String,
    /// Whose clients come here.
    pub forward: ForwardName,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.creationTimestamp`.
    pub created: Option<String>,
    /// Whether it leads to pods.
    pub gate: Option<Gate>,
    /// Which labels of pods it looks at.
    pub selector: BTreeSet<String>,
    /// The first port of pods, and how many follow it without a gap; absent: there is no order in them.
    pub allocation: Option<(u16, u16)>,
    /// The ports that clients dial, each with that of pods and that of nodes.
    pub ports: Vec<(u16, u16, u16)>,
    /// What was written last.
    pub applied: Option<String>,
    /// What is there of what is written, for a comparison.
    pub content: Content,
    /// Where clients come.
    pub addresses: Vec<Address>,
    /// Whether a load balancer has given an address.
    pub is_balanced: bool,
    /// Whether it is being deleted.
    pub is_leaving: bool,
    /// What `metadata.managedFields` should be, if it says that what is ours was created, not applied.
    pub unclaimed: Option<Value>,
}

/// What others may have changed of what is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub(super) kind: Option<String>,
    pub(super) policy: Option<String>,
    pub(super) class: Option<String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) owner: Option<String>,
}

impl Owned {
    /// The ports of pods that it has.
    pub fn pod_ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.ports.iter().map(|(_, target, _)| *target)
    }
}

/// A Service, reduced.
#[must_use]
pub fn reduce(service: &core::Service) -> Live {
    Live {
        namespace: service.metadata.namespace.clone().unwrap_or_default(),
        name: service.metadata.name.clone().unwrap_or_default(),
        owned: owned(service).map(Box::new),
    }
}

fn owned(service: &core::Service) -> Option<Owned> {
    let metadata = &service.metadata;
    let labels = metadata.labels.as_ref()?;
    if labels.get(MANAGED_BY).map(String::as_str) != Some(MANAGER) {
        return None;
    }
    let pool = labels.get(POOL_LABEL)?.clone();
    let annotations = metadata.annotations.clone().unwrap_or_default();
    let (namespace, name) = annotations.get(FORWARD)?.split_once('/')?;
    let forward = ForwardName::new(namespace, name);
    let spec = service.spec.clone().unwrap_or_default();
    let ports = ports(&spec);
    let balanced = balanced(service);
    let first = ports.first().map_or(0, |(port, ..)| *port);
    Some(Owned {
        gate: gate(&spec, &pool),
        selector: spec
            .selector
            .iter()
            .flatten()
            .map(|(key, _)| key.clone())
            .collect(),
        pool,
        forward,
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        created: metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0.to_string()),
        allocation: allocation(&ports),
        applied: annotations.get(APPLIED).cloned(),
        is_balanced: !balanced.is_empty(),
        addresses: addresses(service, &spec, balanced, &ports, first),
        ports,
        content: Content {
            kind: spec.type_,
            policy: spec.external_traffic_policy,
            class: spec.load_balancer_class,
            annotations,
            owner: owner(service),
        },
        is_leaving: metadata.deletion_timestamp.is_some(),
        unclaimed: unclaimed(metadata.managed_fields.as_deref().unwrap_or_default()),
    })
}

fn owner(service: &core::Service) -> Option<String> {
    let owners = service.metadata.owner_references.iter().flatten();
    let mut owners = owners.filter(|owner| owner.kind == "DataPlane");
    owners.next().map(|owner| owner.uid.clone())
}

/// Neither open nor closed is one whose selector someone else has written.
fn gate(spec: &core::ServiceSpec, pool: &str) -> Option<Gate> {
    let selector = spec.selector.as_ref()?;
    let is = |key: &str, value: &str| selector.get(key).is_some_and(|found| found == value);
    match selector.len() {
        _ if !is(POOL_LABEL, pool) => None,
        1 => Some(Gate::Open),
        2 if is(CLOSED.0, CLOSED.1) => Some(Gate::Closed),
        _ => None,
    }
}

fn ports(spec: &core::ServiceSpec) -> Vec<(u16, u16, u16)> {
    let number = |port: i32| u16::try_from(port).unwrap_or_default();
    let ports = spec.ports.iter().flatten();
    let mut ports: Vec<_> = ports
        .map(|port| {
            let target = match &port.target_port {
                Some(IntOrString::Int(target)) => number(*target),
                Some(IntOrString::String(_)) => 0,
                None => number(port.port),
            };
            let of_node = port.node_port.map_or(0, number);
            (number(port.port), target, of_node)
        })
        .collect();
    ports.sort_unstable();
    ports
}

fn allocation(ports: &[(u16, u16, u16)]) -> Option<(u16, u16)> {
    let (_, first, _) = ports.first()?;
    let count = u16::try_from(ports.len()).ok()?;
    let mut places = (0..count).zip(ports);
    let in_order = places.all(|(i, (_, target, _))| first.checked_add(i) == Some(*target));
    in_order.then_some((*first, count))
}

fn balanced(service: &core::Service) -> Vec<(String, String)> {
    let status = service.status.as_ref();
    let balancer = status.and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_deref());
    let ingress = ingress.unwrap_or_default().iter();
    let given = ingress.filter_map(|one| match (&one.ip, &one.hostname) {
        (Some(ip), _) => Some((IP.to_owned(), ip.clone())),
        (None, Some(name)) => Some((HOSTNAME.to_owned(), name.clone())),
        (None, None) => None,
    });
    given.collect()
}

/// From outside to inside.
fn addresses(
    service: &core::Service,
    spec: &core::ServiceSpec,
    balanced: Vec<(String, String)>,
    ports: &[(u16, u16, u16)],
    first: u16,
) -> Vec<Address> {
    let address = |kind: &str, value: &str, port: u16| Address {
        kind: kind.to_owned(),
        value: value.to_owned(),
        port: port.into(),
    };
    let given = balanced
        .iter()
        .map(|(kind, value)| address(kind, value, first));
    let within = spec.cluster_ips.iter().flatten();
    let within = within.filter(|ip| ip.parse::<IpAddr>().is_ok());
    let within = within.map(|ip| address(IP, ip, first));
    let (name, namespace) = (&service.metadata.name, &service.metadata.namespace);
    let name = name.as_deref().unwrap_or_default();
    let name = format!("{name}.{}.svc", namespace.as_deref().unwrap_or_default());
    let name = address(HOSTNAME, &name, first);
    let of_nodes = ports
        .first()
        .filter(|_| spec.type_.as_deref() == Some(NODE_PORT));
    let of_nodes = of_nodes.filter(|(.., port)| *port != 0);
    let of_nodes = of_nodes.map(|(.., port)| address(NODE_PORT, "node", *port));
    given.chain(within).chain([name]).chain(of_nodes).collect()
}

/// One that was created is ours as if it had been updated: fields that are left out later would stay.
fn unclaimed(entries: &[ManagedFieldsEntry]) -> Option<Value> {
    let is_ours = |entry: &ManagedFieldsEntry, operation: &str| {
        entry.manager.as_deref() == Some(MANAGER)
            && entry.operation.as_deref() == Some(operation)
            && entry.subresource.is_none()
    };
    let is_whole = |entry: &ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        fields.is_some_and(|fields| fields.pointer("/f:spec/f:ports").is_some())
    };
    let mut all = entries.iter();
    let place = all.position(|entry| is_ours(entry, "Update") && is_whole(entry))?;
    let mut claimed = entries.to_vec();
    let mut created = claimed.remove(place);
    if !claimed.iter().any(|entry| is_ours(entry, "Apply")) {
        created.operation = Some("Apply".to_owned());
        claimed.push(created);
    }
    serde_json::to_value(claimed).ok()
}

const IP: &str = "IPAddress";
const HOSTNAME: &str = "Hostname";
const NODE_PORT: &str = "NodePort";
