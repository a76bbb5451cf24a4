//! Pure. In which state a backend can be.

use std::time::Instant;

/// What it means for new sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Left out for its failures.
    Ejected,
    /// One session at a time may try it.
    Probation,
    /// Left out by checks.
    Unhealthy,
    /// Nothing is held against it.
    Usable,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ejection {
    #[default]
    None,
    Out {
        until: Instant,
        cause: Cause,
    },
    /// `reached`: a session got through to it, but that it answers is not known yet.
    Probation {
        cause: Cause,
        reached: Option<Instant>,
    },
}

/// For what a backend is ejected, and so what proves that it is good again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::balancer) enum Cause {
    /// Dials: one that reaches it.
    Dials,
    /// Early resets: a first byte, or a session that isn't reset for a base time.
    Resets,
}
