//! Pure. What is learned about backends.

use std::time::Duration;

use tcpforward_protocol::answer::DialError;

/// What a dial, a session or a check tells of its backend. Trouble of our own host tells nothing
/// and never comes here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The first byte of a session came from it.
    Answered,
    /// A check found it unfit.
    CheckFailed(Failure),
    /// A check found it well.
    CheckPassed,
    /// A session's dial did not reach it.
    DialFailed(Failure),
    /// It reset a session before its first byte.
    EarlyReset(Failure),
    /// A session's dial reached it.
    Reached {
        /// From the SYN to its answer.
        connect: Duration,
    },
}

/// What went wrong, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Kind of failure.
    pub reason: DialError,
    /// Its text.
    pub message: String,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
}

/// Whether an observation is news to those who wait for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Observed {
    /// A backend turned failing or good, is left out or is used again.
    Changed,
    /// As before.
    Same,
}

impl From<bool> for Observed {
    fn from(is_news: bool) -> Self {
        if is_news { Self::Changed } else { Self::Same }
    }
}
