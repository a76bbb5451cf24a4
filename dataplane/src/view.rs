//! Pure. What is served and refused, as pages, metrics and reports see it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tcpforward_protocol::answer::Refusal;
use tcpforward_protocol::snapshot::ForwardName;

use crate::served::Served;

pub mod people;
mod report;

/// What is served and refused.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Forwards in service, and those gone whose sessions have not ended.
    pub forwards: BTreeMap<ForwardName, Row>,
    /// What is refused, and why.
    pub refused: BTreeMap<ForwardName, Refusal>,
}

/// One forward of the view.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its configuration and counts.
    pub served: Arc<Served>,
    /// Addresses that it listens on; none once it is gone.
    pub listeners: Vec<SocketAddr>,
    /// What people should know of its socket options.
    pub notes: Vec<String>,
}

impl View {
    /// Whether the same forwards listen on the same addresses.
    #[must_use]
    pub fn is_bound_like(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.forwards.iter(), other.forwards.iter());
        ours.map(|(name, row)| (name, &row.listeners))
            .eq(theirs.map(|(name, row)| (name, &row.listeners)))
    }
}
