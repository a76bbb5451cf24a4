//! Pure. What the roster answers when it is asked.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::Serialize;
use tcpforward_protocol::answer::{FailingBackend, Refusal, ResolvedHost, ServedSpec};
use tcpforward_protocol::snapshot::ForwardName;

/// What has changed since it was asked last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dirty {
    /// Forwards about which a data plane says something new.
    pub(crate) forwards: BTreeSet<ForwardName>,
    /// Pools where one came or went.
    pub(crate) pools: BTreeSet<String>,
}

/// What one data plane says about one forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: String,
    pub(crate) pod: String,
    pub(crate) serving: Option<ServedSpec>,
    pub(crate) refused: Option<Refusal>,
    pub(crate) failing: Vec<FailingBackend>,
    pub(crate) hosts: Vec<ResolvedHost>,
    pub(crate) listeners: Vec<SocketAddr>,
}

/// A data plane, for people.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Card {
    pub(super) pool: String,
    pub(super) pod: String,
    pub(super) node: String,
    pub(super) build: String,
    pub(super) served: usize,
    pub(super) refused: usize,
}
