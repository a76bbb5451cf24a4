//! Pure. What can happen in the world, in terms of whole objects.

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use serde_json::Value;

use super::{EntranceNews, ReferenceGrant, Secret, Sight};
use crate::forward;
use crate::pool::{self, Labels};

/// Kinds of objects that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Ours: a pool.
    DataPlane,
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice,
    /// `v1` Namespace.
    Namespace,
    /// `v1` Node.
    Node,
    /// `gateway.networking.k8s.io` ReferenceGrant, of v1 or v1beta1.
    ReferenceGrant,
    /// `v1` Secret.
    Secret,
    /// `v1` Service.
    Service,
    /// `networking.k8s.io/v1` ServiceCIDR.
    ServiceCidr,
    /// Ours.
    TcpForward,
}

/// An object as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A DataPlane as it was written, whether or not it makes sense.
    DataPlane(Value),
    /// An EndpointSlice.
    EndpointSlice(Box<discovery::EndpointSlice>),
    /// A Namespace, of which only the labels matter.
    Namespace {
        /// Its name.
        name: String,
        /// Its labels.
        labels: Labels,
    },
    /// A Node, of which only matters where it is.
    Node {
        /// Its name.
        name: String,
        /// Its label `topology.kubernetes.io/zone`.
        zone: Option<String>,
        /// Its addresses, and the networks of its pods.
        ranges: Vec<IpNet>,
    },
    /// A ReferenceGrant.
    ReferenceGrant(ReferenceGrant),
    /// A Secret, or that there is none to read.
    Secret(Secret),
    /// A Service.
    Service(Box<core::Service>),
    /// A ServiceCIDR.
    ServiceCidr {
        /// Its name.
        name: String,
        /// Networks that addresses of Services are of.
        ranges: Vec<IpNet>,
    },
    /// A TcpForward as it was written, whether or not it makes sense.
    TcpForward(Value),
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An object is there, new or other than before.
    Applied(Object),
    /// An object is gone.
    Deleted {
        /// Its kind.
        kind: Kind,
        /// Its namespace; empty for what has none.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// These are all objects of a kind.
    Replaced(Kind, Vec<Object>),
    /// What can be known of ReferenceGrants.
    Sight(Sight),
    /// News of Services where pools have theirs.
    Entrances(EntranceNews),
}

impl Object {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::DataPlane(_) => Kind::DataPlane,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Namespace { .. } => Kind::Namespace,
            Self::Node { .. } => Kind::Node,
            Self::ReferenceGrant(_) => Kind::ReferenceGrant,
            Self::Secret(_) => Kind::Secret,
            Self::Service(_) => Kind::Service,
            Self::ServiceCidr { .. } => Kind::ServiceCidr,
            Self::TcpForward(_) => Kind::TcpForward,
        }
    }

    /// Its namespace; empty for what has none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self {
            Self::EndpointSlice(slice) => slice.metadata.namespace.as_deref().unwrap_or_default(),
            Self::DataPlane(_)
            | Self::Namespace { .. }
            | Self::Node { .. }
            | Self::ServiceCidr { .. } => "",
            Self::ReferenceGrant(grant) => &grant.namespace,
            Self::Secret(secret) => &secret.namespace,
            Self::Service(service) => service.metadata.namespace.as_deref().unwrap_or_default(),
            Self::TcpForward(raw) => forward::namespace(raw),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::DataPlane(raw) => pool::name(raw),
            Self::EndpointSlice(slice) => slice.metadata.name.as_deref().unwrap_or_default(),
            Self::Namespace { name, .. }
            | Self::Node { name, .. }
            | Self::ServiceCidr { name, .. } => name,
            Self::ReferenceGrant(grant) => &grant.name,
            Self::Secret(secret) => &secret.name,
            Self::Service(service) => service.metadata.name.as_deref().unwrap_or_default(),
            Self::TcpForward(raw) => raw
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default(),
        }
    }

    pub(super) fn key(&self) -> Key {
        (self.namespace().to_owned(), self.name().to_owned())
    }
}

/// Namespace and name.
pub(crate) type Key = (String, String);
