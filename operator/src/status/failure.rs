//! Pure. Why a backend is not reached, in a word, and what to do about it.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use tcpforward_protocol::answer::{DialError, FailingBackend};

use super::{bounded, seconds};
use crate::crd::status::UnhealthyBackend;

/// Of an entry in `status.backends.unhealthy`: nothing answered in time.
pub const DIAL_TIMEOUT: &str = "DialTimeout";
/// The same: the host has nothing that listens there.
pub const CONNECTION_REFUSED: &str = "ConnectionRefused";
/// The same: it was accepted and reset at once.
pub const EARLY_RESET: &str = "EarlyReset";
/// The same: a check got another answer than it asks for.
pub const UNEXPECTED_ANSWER: &str = "UnexpectedAnswer";
/// The same: no route leads there.
pub const UNREACHABLE: &str = "Unreachable";
/// The same: what has no other word.
pub const DIAL_FAILED: &str = "DialFailed";

/// Which namespaces a dial leads from and to: NetworkPolicies are theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// Of the pool's pods, if it is known.
    pub from: Option<String>,
    /// Of the Services of targets, by the target's name.
    pub to: BTreeMap<String, String>,
}

impl Ways {
    /// Where a silence may come from.
    fn silence(&self, target: &str) -> String {
        match (self.from.as_deref(), self.to.get(target)) {
            (Some(from), Some(to)) => {
                format!(" from namespace {from}: does a NetworkPolicy in {to} allow it?")
            }
            (None, Some(to)) => format!("; does a NetworkPolicy in {to} allow it?"),
            (Some(from), None) => format!(
                " from namespace {from}: does a NetworkPolicy there, or a firewall on the way, drop it?"
            ),
            (None, None) => "; does a NetworkPolicy or a firewall drop it?".to_owned(),
        }
    }
}

pub(super) fn described(failing: &FailingBackend, ways: &Ways) -> UnhealthyBackend {
    let (reason, hint) = match failing.reason {
        DialError::Other => (DIAL_FAILED, "; look at the data plane's log".to_owned()),
        DialError::Refused => (
            CONNECTION_REFUSED,
            "; does the server listen on this port?".to_owned(),
        ),
        DialError::Reset => (
            EARLY_RESET,
            "; does the server accept this client and protocol?".to_owned(),
        ),
        DialError::Unexpected => (
            UNEXPECTED_ANSWER,
            "; is the server well, and does the check ask what it understands?".to_owned(),
        ),
        DialError::Timeout => (DIAL_TIMEOUT, ways.silence(&failing.target)),
        DialError::Unreachable => (
            UNREACHABLE,
            "; is there a route to this address?".to_owned(),
        ),
    };
    let since = i64::try_from(failing.since_ms).unwrap_or_default();
    let room = MESSAGE_CHARS.saturating_sub(hint.len());
    let message: String = failing.message.chars().take(room).collect();
    UnhealthyBackend {
        target: failing.target.clone(),
        address: failing.address.to_string(),
        reason: reason.to_owned(),
        message: bounded(format!("{message}{hint}")),
        since: seconds(Timestamp::from_millisecond(since).unwrap_or_default()),
    }
}

/// Of a failure with its hint, which is not cut: names of namespaces have at most 63 characters.
const MESSAGE_CHARS: usize = 250;
