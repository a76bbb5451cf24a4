//! Pure. A condition in the making.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;

use super::{PENDING, bounded, named, seconds};

/// A condition before it has a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) type_: &'static str,
    pub(super) holds: Holds,
    pub(super) reason: String,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    False,
    True,
    Unknown,
}

impl Verdict {
    pub(super) fn good(type_: &'static str, message: impl Into<String>) -> Self {
        Self {
            type_,
            holds: Holds::True,
            reason: type_.to_owned(),
            message: message.into(),
        }
    }

    pub(super) fn bad(type_: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self {
            type_,
            holds: Holds::False,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    pub(super) fn unknown(type_: &'static str, message: impl Into<String>) -> Self {
        Self {
            holds: Holds::Unknown,
            ..Self::bad(type_, PENDING, message)
        }
    }

    /// As a former lease holder said it.
    pub(super) fn of(type_: &'static str, conditions: &[Condition]) -> Option<Self> {
        let condition = named(conditions, type_)?;
        Some(Self {
            type_,
            holds: match condition.status.as_str() {
                "True" => Holds::True,
                "False" => Holds::False,
                _ => Holds::Unknown,
            },
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        })
    }

    pub(super) fn into_condition(
        self,
        generation: i64,
        previous: &[Condition],
        now: Timestamp,
    ) -> Condition {
        let status = match self.holds {
            Holds::False => "False",
            Holds::True => "True",
            Holds::Unknown => "Unknown",
        };
        let former = named(previous, self.type_);
        Condition {
            type_: self.type_.to_owned(),
            status: status.to_owned(),
            reason: self.reason,
            message: bounded(self.message),
            observed_generation: Some(generation),
            last_transition_time: match former {
                Some(former) if former.status == status => former.last_transition_time.clone(),
                _ => seconds(now),
            },
        }
    }
}
