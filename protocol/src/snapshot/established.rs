//! Pure. What happens to open sessions when their backend changes.

use std::num::NonZeroU32;
use std::time::Duration;

/// What happens to open sessions when their backend changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EstablishedConnections {
    /// It is not ready and not terminating.
    pub on_not_ready: Fate,
    /// It is on its way out.
    pub on_terminating: Fate,
    /// A check or an ejection leaves it out.
    pub on_unhealthy: Fate,
    /// New sessions have gone back to a better priority.
    pub on_failback: Fate,
    /// It, or the whole forward, is gone.
    pub on_removed: Fate,
    /// How long a session that drains may go on.
    pub drain_timeout: Duration,
    /// Sessions of the forward that are closed per second at most, on each data plane.
    pub closes_per_second: NonZeroU32,
}

/// What becomes of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is reset.
    Close,
    /// It may end by itself until the drain timeout, then it is reset.
    Drain,
    /// It goes on.
    Keep,
}

/// What a message of before these fields means.
impl Default for EstablishedConnections {
    fn default() -> Self {
        Self {
            on_not_ready: Fate::Keep,
            on_terminating: Fate::Keep,
            on_unhealthy: Fate::Keep,
            on_failback: Fate::Keep,
            on_removed: Fate::Drain,
            drain_timeout: Duration::from_secs(30),
            closes_per_second: NonZeroU32::new(100).unwrap_or(NonZeroU32::MIN),
        }
    }
}
