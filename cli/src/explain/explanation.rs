//! Pure. What a proxy would answer, and why.

use tcpforward_dataplane::connect::refusal::Refusal;
use tcpforward_dataplane::relay::ending::Ending;
use tcpforward_protocol::snapshot::{Backend, BackendState, TakesNew};

/// What is answered, and why.
#[derive(Debug, PartialEq)]
pub(super) struct Explanation {
    pub(super) answer: Answer,
    /// The rule that decides.
    pub(super) rule: Option<String>,
    pub(super) reason: String,
    pub(super) ways: Vec<Way>,
    pub(super) notes: Vec<String>,
}

/// What a client hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Its tunnel is there, if the other end answers.
    Open,
    /// The same, as far as is known.
    Perhaps,
    /// That.
    Refused(Refusal),
    /// Nothing.
    Reset(Ending),
    /// Nobody listens.
    NotServed,
}

impl Answer {
    pub(super) fn is_allowed(self) -> bool {
        matches!(self, Self::Open | Self::Perhaps)
    }
}

/// Where a tunnel may lead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// An address, with the port if it is a backend.
    pub(super) address: String,
    pub(super) kind: Kind,
    pub(super) is_allowed: bool,
    pub(super) what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Address,
    Backend,
}

/// A forward that no data plane serves.
pub(super) fn not_served(why: &str) -> Explanation {
    Explanation::new(Answer::NotServed, None, format!("not served: {why}"))
}

impl Explanation {
    pub(super) fn new(answer: Answer, rule: Option<String>, reason: String) -> Self {
        Self {
            answer,
            rule,
            reason,
            ways: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl From<&Backend> for Way {
    fn from(backend: &Backend) -> Self {
        let state = match backend.state {
            BackendState::Ready => "ready",
            BackendState::Terminating => "terminating",
            BackendState::NotReady => "not ready",
        };
        let is_allowed = backend.takes_new == TakesNew::Yes;
        let remark = if is_allowed {
            ""
        } else {
            ", takes no new tunnels"
        };
        Self {
            address: backend.address.to_string(),
            kind: Kind::Backend,
            is_allowed,
            what: format!("{state}{remark}"),
        }
    }
}
