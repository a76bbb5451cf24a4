//! Pure. What a session asks for and what it gets.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::balancer::backend::{Backend, Occupied};

/// What a session that looks for a backend says.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Never one of these again.
    pub tried: &'a [Arc<Backend>],
    /// Who connected.
    pub source: IpAddr,
    /// The time.
    pub now: Instant,
    /// Of this priority only: a race against a backend that is slow to answer. Such a session is
    /// never a trial.
    pub priority: Option<u32>,
}

/// A backend, and what the session holds of it.
#[derive(Debug)]
pub struct Picked {
    /// Counted from now until it is dropped.
    pub place: Occupied,
    /// Whether the session could still go elsewhere.
    pub candidates: Candidates,
    /// Priority of the backend's target.
    pub priority: u32,
    /// The session finds out whether an ejected backend is good again. Keep it until the outcome
    /// is told; dropped before that, another session tries.
    pub trial: Option<Trial>,
}

/// The one session that may try a backend in probation, while it lives.
#[derive(Debug)]
pub struct Trial {
    pub(super) _held: Arc<()>,
}

/// Whether a session that picked a backend could still go elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidates {
    /// Nothing is left after this one.
    Last,
    /// There is another one that the session has not tried.
    More,
}

/// Why there is no backend for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPick {
    /// Those that are left have as many sessions as they may have; one that ends makes room.
    AllFull,
    /// The session has tried every one that may be used.
    AllTried,
    /// None takes new sessions.
    NoBackend,
    /// Those that take new sessions are left out, and none of them may be tried.
    NoneHealthy,
}
