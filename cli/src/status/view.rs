//! Pure. One forward as its status tells of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use tcpforward_operator::crd::TcpForwardStatus;
use tcpforward_operator::crd::defaults;
use tcpforward_operator::index::Index;
use tcpforward_operator::status::READY;
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
        let said = status.as_ref().map(|status| Said {
            observed: status.observed_generation,
            conditions: &status.conditions,
        });
        Some(Self {
            ready: Ready::of(raw, generation, said, NO_STATUS),
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

/// The part of a status that tells whether it is ready.
pub(super) struct Said<'a> {
    pub(super) observed: Option<i64>,
    pub(super) conditions: &'a [Condition],
}

impl Ready {
    /// Of an object as it is; `said` is its status, if it can be read, and `unsaid` what it means that
    /// there is none.
    pub(super) fn of(raw: &Value, generation: i64, said: Option<Said<'_>>, unsaid: &str) -> Self {
        let unknown = |reason: &str, message: String| Self {
            is: Truth::Unknown,
            reason: reason.to_owned(),
            message,
            since: None,
        };
        let Some(said) = said else {
            return match raw.get("status").is_some_and(|status| !status.is_null()) {
                true => unknown("Unreadable", UNREADABLE.to_owned()),
                false => unknown("NoStatus", unsaid.to_owned()),
            };
        };
        let Some(ready) = said.conditions.iter().find(|one| one.type_ == READY) else {
            return unknown("NoStatus", unsaid.to_owned());
        };
        let observed = ready.observed_generation.or(said.observed);
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
        Self {
            is: Truth::of(&ready.status),
            reason: ready.reason.clone(),
            message: ready.message.clone(),
            since: Some(ready.last_transition_time.0),
        }
    }
}

const UNREADABLE: &str = "this version can't read its status: take the version of the operator";

const NO_STATUS: &str =
    "no operator has said anything of it; does one run, and does it watch this namespace?";
