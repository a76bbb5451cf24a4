//! Pure. Who of a pool counts for a forward, and what each says of it.

use std::net::SocketAddr;

use tcpforward_protocol::answer::{FailingBackend, Refusal, ResolvedHost, ServedSpec};

use super::Ways;

/// A forward's pool, as far as that forward is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolView {
    /// Data planes that hold a set; those that never got one are no members yet.
    pub members: Vec<Member>,
    /// Whether more of them are likely to appear.
    pub gathering: Gathering,
    /// Where they dial from and to.
    pub ways: Ways,
}

/// Whether a new lease holder still waits for data planes to connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gathering {
    /// Those that are there are all.
    #[default]
    Done,
    /// They may be on their way: what was said before holds until they are here.
    Waiting,
}

/// A data plane, as far as one forward is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name of the pod.
    pub pod: String,
    /// What it serves.
    pub serving: Option<ServedSpec>,
    /// What it refuses.
    pub refused: Option<Refusal>,
    /// Backends that it doesn't reach.
    pub failing: Vec<FailingBackend>,
    /// What the targets by DNS name lead to there.
    pub hosts: Vec<ResolvedHost>,
    /// What it listens on.
    pub listeners: Vec<SocketAddr>,
}
