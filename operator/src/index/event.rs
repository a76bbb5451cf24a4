//! Pure. What can happen in the world, in terms of whole objects.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use serde_json::Value;

use super::{ReferenceGrant, Secret, Sight};
use crate::forward;

/// Kinds of objects that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice,
    /// `v1` Node.
    Node,
    /// `gateway.networking.k8s.io` ReferenceGrant, of v1 or v1beta1.
    ReferenceGrant,
    /// `v1` Secret.
    Secret,
    /// `v1` Service.
    Service,
    /// Ours.
    TcpForward,
}

/// An object as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// An EndpointSlice.
    EndpointSlice(Box<discovery::EndpointSlice>),
    /// A Node, of which only the zone matters.
    Node {
        /// Its name.
        name: String,
        /// Its label `topology.kubernetes.io/zone`.
        zone: Option<String>,
    },
    /// A ReferenceGrant.
    ReferenceGrant(ReferenceGrant),
    /// A Secret, or that there is none to read.
    Secret(Secret),
    /// A Service.
    Service(Box<core::Service>),
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
        /// Its namespace; empty for a Node.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// These are all objects of a kind.
    Replaced(Kind, Vec<Object>),
    /// What can be known of ReferenceGrants.
    Sight(Sight),
}

impl Object {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Node { .. } => Kind::Node,
            Self::ReferenceGrant(_) => Kind::ReferenceGrant,
            Self::Secret(_) => Kind::Secret,
            Self::Service(_) => Kind::Service,
            Self::TcpForward(_) => Kind::TcpForward,
        }
    }

    /// Its namespace; empty for a Node.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self {
            Self::EndpointSlice(slice) => slice.metadata.namespace.as_deref().unwrap_or_default(),
            Self::Node { .. } => "",
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
            Self::EndpointSlice(slice) => slice.metadata.name.as_deref().unwrap_or_default(),
            Self::Node { name, .. } => name,
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
