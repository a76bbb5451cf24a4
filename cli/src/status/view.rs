//! Pure. One forward as its status tells of it.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use tcpforward_operator::crd::TcpForwardStatus;
use tcpforward_operator::crd::defaults;
use tcpforward_operator::index::Index;
use tcpforward_operator::status::{self, READY};
use tcpforward_protocol::snapshot::ForwardName;

/// A TcpForward, as far as a status is about it.
#[derive(Debug, PartialEq)]
pub(super) struct View {
    pub(super) name: ForwardName,
    pub(super) pool: String,
    pub(super) port: Option<i64>,
    pub(super) end_port: Option<i64>,
    pub(super) generation: i64,
    pub(super) ready: Ready,
    pub(super) status: TcpForwardStatus,
}

/// Whether it is ready, and why not.
#[derive(Debug, PartialEq)]
pub(super) struct Ready {
    pub(super) is: Truth,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) since: Option<Timestamp>,
}

/// A condition's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    False,
    True,
    Unknown,
}

impl Truth {
    fn of(text: &str) -> Self {
        match text {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::False => "False",
            Self::True => "True",
            Self::Unknown => "Unknown",
        }
    }
}

impl View {
    /// The object as it is: one that the operator could not decode has a status that says so.
    pub(super) fn of(index: &Index, name: &ForwardName) -> Option<Self> {
        let raw = index.raw(name)?;
        let number = |path| raw.pointer(path).and_then(Value::as_i64);
        let pool = raw.pointer("/spec/dataPlaneName").and_then(Value::as_str);
        let generation = number("/metadata/generation").unwrap_or_default();
        let status = index.status_of(name);
        Some(Self {
            ready: ready(raw, generation, status.as_ref()),
            name: name.clone(),
            pool: pool.map_or_else(defaults::data_plane_name, ToOwned::to_owned),
            port: number("/spec/listener/port"),
            end_port: number("/spec/listener/endPort"),
            generation,
            status: status.unwrap_or_default(),
        })
    }

    pub(super) fn ports(&self) -> String {
        match (self.port, self.end_port) {
            (Some(port), Some(end)) => format!("{port}-{end}"),
            (Some(port), None) => port.to_string(),
            (None, _) => "-".to_owned(),
        }
    }
}

fn ready(raw: &Value, generation: i64, status: Option<&TcpForwardStatus>) -> Ready {
    let unknown = |reason: &str, message: String| Ready {
        is: Truth::Unknown,
        reason: reason.to_owned(),
        message,
        since: None,
    };
    let Some(status) = status else {
        return match raw.get("status").is_some_and(|status| !status.is_null()) {
            true => unknown(
                "Unreadable",
                "this version can't read its status: take the version of the operator".to_owned(),
            ),
            false => unknown("NoStatus", NO_STATUS.to_owned()),
        };
    };
    let Some(ready) = status::condition(status, READY) else {
        return unknown("NoStatus", NO_STATUS.to_owned());
    };
    let observed = ready.observed_generation.or(status.observed_generation);
    if let Some(observed) = observed.filter(|observed| *observed < generation) {
        return unknown(
            "Outdated",
            format!(
                "generation {generation} was not looked at yet, only {observed}, which was \
                 {READY}={} {}; does an operator run?",
                ready.status, ready.reason
            ),
        );
    }
    Ready {
        is: Truth::of(&ready.status),
        reason: ready.reason.clone(),
        message: ready.message.clone(),
        since: Some(ready.last_transition_time.0),
    }
}

const NO_STATUS: &str =
    "no operator has said anything of it; does one run, and does it watch this namespace?";
