//! Pure. Who comes first when two forwards of a pool want one port.

use serde_json::Value;

use crate::forward;

/// A place in the queue: the least one wins; names decide between equals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// Whether it was served before.
    pub standing: Standing,
    /// `metadata.creationTimestamp`, whose text sorts like its time; none for a manifest on disk.
    pub created: Option<String>,
}

/// What its status says of earlier claims. All replicas see the same status, so they agree; one
/// that is being served keeps its port when an older one is edited to want it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Accepted as it is.
    Accepted,
    /// Accepted as it was before the latest edit, perhaps with another port.
    Edited,
    /// Never judged, or refused.
    Open,
}

impl Claim {
    /// The claim of a TcpForward.
    #[must_use]
    pub fn of(raw: &Value) -> Self {
        let conditions = raw.pointer("/status/conditions").and_then(Value::as_array);
        let accepted = conditions.into_iter().flatten().find(|condition| {
            let is =
                |key: &str, text: &str| condition.get(key).and_then(Value::as_str) == Some(text);
            is("type", "Accepted") && is("status", "True")
        });
        let observed = |condition: &Value| {
            let observed = condition.get("observedGeneration").and_then(Value::as_i64);
            observed == Some(forward::generation(raw))
        };
        Self {
            standing: match accepted {
                Some(condition) if observed(condition) => Standing::Accepted,
                Some(_) => Standing::Edited,
                None => Standing::Open,
            },
            created: raw
                .pointer("/metadata/creationTimestamp")
                .and_then(Value::as_str)
                .map(str::to_owned),
        }
    }
}
