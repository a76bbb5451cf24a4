//! Pure. How it is known whether a backend can be used.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{DURATION, HEX, HTTP_PATH, defaults, some_time};

/// How it is known whether a backend can be used.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// A check that data planes start by themselves, on a fresh connection each time. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<ActiveCheck>,
    /// What the dials of sessions tell. Absent: a backend is left out after 5 failures in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passive: Option<PassiveCheck>,
    /// What a new session gets while no backend is healthy. Refuse: a reset at once. TryAll: any
    /// backend that Kubernetes would use; never a terminating or removed one. Absent: Refuse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "WhenNoneHealthy")]
    pub when_none_healthy: Option<WhenNoneHealthy>,
}

/// A check that data planes start by themselves.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.tcp) || self.type == 'TCP'")
        .message("is for type TCP only: set type to TCP, or take tcp out")
        .field_path(".tcp"),
    validation = Rule::new("!has(self.http) || self.type == 'HTTP'")
        .message("is for type HTTP only: set type to HTTP, or take http out")
        .field_path(".http"),
    validation = Rule::new(defaults::TIMEOUT_WITHIN_INTERVAL)
        .message(Message::Expression(defaults::TIMEOUT_BEYOND_INTERVAL.into()))
        .field_path(".timeout")
)]
pub struct ActiveCheck {
    /// What is done. TCP: connects, and perhaps talks. HTTP: asks by HTTP/1.1.
    #[serde(rename = "type")]
    pub kind: CheckType,
    /// From one check of a backend to the next, give or take a tenth. Absent: 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new(
        "duration(self) >= duration('100ms') && duration(self) <= duration('1h')"
    ).message("must be from 100ms to 1h: more checks than that are a load of their own"))]
    pub interval: Option<String>,
    /// Bound of one check. Absent: 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = some_time())]
    pub timeout: Option<String>,
    /// Failures in a row after which a backend is left out. Absent: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy_threshold: Option<i32>,
    /// Successes in a row after which it is used again. Absent: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub healthy_threshold: Option<i32>,
    /// With type TCP: what is said and heard. Absent: a connection is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpCheck>,
    /// With type HTTP: what is asked. Absent: GET / on the backend's port has to answer 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
}

/// What a check does.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum CheckType {
    /// Asks by HTTP/1.1.
    #[serde(rename = "HTTP")]
    Http,
    /// Connects, and perhaps talks.
    #[serde(rename = "TCP")]
    Tcp,
}

/// What is said and heard.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpCheck {
    /// What is sent once connected. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<Payload>,
    /// What the answer has to contain. Absent: no answer is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive: Option<Payload>,
}

/// Bytes, written as text or in hexadecimal digits.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'Text') == has(self.text)")
        .message("goes with type Text, and only with that: set text for type Text, or take it out")
        .field_path(".text"),
    validation = Rule::new("(self.type == 'Binary') == has(self.binary)")
        .message("goes with type Binary, and only with that: set binary for type Binary, or take it out")
        .field_path(".binary")
)]
pub struct Payload {
    /// Text: as it stands in text. Binary: as hexadecimal digits in binary.
    #[serde(rename = "type")]
    pub kind: PayloadType,
    /// With type Text: UTF-8, at most 4 KiB. In YAML, double quotes let \r\n be the end of a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    #[x_kube(validation = Rule::new("size(bytes(self)) <= 4096")
        .message("is longer than 4096 bytes: look for a shorter piece of it"))]
    pub text: Option<String>,
    /// With type Binary: pairs of hexadecimal digits, at most 4 KiB of bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 8192), regex(pattern = HEX))]
    pub binary: Option<String>,
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum PayloadType {
    /// Hexadecimal digits.
    Binary,
    /// UTF-8.
    Text,
}

/// What is asked by HTTP.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpCheck {
    /// The port to ask, on the backend's address. Absent: the backend's own port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// The path to GET. Absent: /.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = HTTP_PATH))]
    pub path: Option<String>,
    /// Statuses that mean healthy. Absent: 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(range(min = 100, max = 599)))]
    pub statuses: Option<Vec<i32>>,
}

/// What the dials of sessions tell.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PassiveCheck {
    /// Failed dials in a row after which a backend is ejected. Absent: 5. 0: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub consecutive_dial_failures: Option<i32>,
    /// Sessions in a row that the backend reset before its first byte, after which it is ejected.
    /// Absent, or 0: such resets count for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub consecutive_early_resets: Option<i32>,
    /// How long an ejection lasts; each one in a row lasts once more as long, up to ten times.
    /// Absent: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = some_time())]
    pub base_ejection_time: Option<String>,
    /// How much of a priority may be ejected at a time; one always may if the forward has two or
    /// more backends, its last usable one never. Absent: 50. 0: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub max_ejection_percent: Option<i32>,
}

/// What a new session gets while no backend is healthy.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum WhenNoneHealthy {
    /// A reset at once.
    Refuse,
    /// Any backend that takes new sessions.
    TryAll,
}
