//! Pure. What a compilation comes to.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use tcpforward_protocol::snapshot::{Forward, ForwardName};

use super::Approach;
use crate::forward::Rejection;
use crate::resolve::Unresolved;

/// What became of a TcpForward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The generation that this is about.
    pub generation: i64,
    /// The pool that it wants.
    pub pool: String,
    /// Whether it is served at all.
    pub accepted: Result<(), Rejection>,
    /// What is wrong with the Secret, else the first target at fault; the others are served.
    pub unresolved: Option<Unresolved>,
    /// Backends beyond what one forward may hold, by number or by size.
    pub left_out: usize,
    /// Connections at a time, where that is what the pool allows and less than was asked for.
    pub capped: Option<NonZeroU32>,
    /// The Service by which clients come; none: pods listen where clients dial.
    pub approach: Option<Approach>,
    /// What the pool shall serve; none if it was rejected, or has no ports of pods yet.
    pub forward: Option<Arc<Forward>>,
}

/// What a compilation changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Forwards to look at again: those asked about and those that these changed; gone ones, too.
    pub forwards: BTreeSet<ForwardName>,
    /// Pools whose snapshot is another one.
    pub pools: BTreeSet<String>,
}

impl Outcome {
    /// What is served of it, and by which pool.
    pub(super) fn serving(&self) -> Option<(String, Arc<Forward>)> {
        Some((self.pool.clone(), self.forward.clone()?))
    }
}
