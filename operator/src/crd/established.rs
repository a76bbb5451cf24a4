//! Pure. What happens to open sessions, and what a backend gets.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::DURATION;

/// What happens to open sessions when their backend changes. Keep: they go on. Drain: they may end by
/// themselves until drainTimeout, then they are reset. Close: they are reset.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EstablishedConnections {
    /// When the backend is not ready and not terminating. Absent: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Fate")]
    pub on_not_ready: Option<Fate>,
    /// When the backend is terminating. Absent: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Fate")]
    pub on_terminating: Option<Fate>,
    /// When a check, or an ejection, leaves the backend out. Absent: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Fate")]
    pub on_unhealthy: Option<Fate>,
    /// When new sessions have gone back to a better priority. Absent: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Fate")]
    pub on_failback: Option<Fate>,
    /// When the backend, its target or the whole forward is gone. Absent: Drain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Fate")]
    pub on_removed: Option<Fate>,
    /// How long a session that drains may go on. Absent: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new(
        "duration(self) > duration('0s') && duration(self) <= duration('24h')"
    ).message("must be longer than 0s and at most 24h: Close ends sessions at once, Keep lets them go on"))]
    pub drain_timeout: Option<String>,
    /// Sessions that are closed in a second at most, on each data plane, so that their clients don't
    /// all come back at once. Absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub closes_per_second: Option<i32>,
}

/// What becomes of open sessions.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum Fate {
    /// Reset.
    Close,
    /// Reset after a while.
    Drain,
    /// Left alone.
    Keep,
}

/// What one backend gets at most.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendLimits {
    /// Sessions at a time on one backend, over the whole pool. Fewer than it has data planes: each
    /// of them has room on some of the backends only.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections: i32,
    /// How long a session may wait for a place while all backends are full. Absent, or 0s: it is
    /// reset at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) <= duration('1h')").message("must be at most 1h"))]
    pub queue_timeout: Option<String>,
}

/// The PROXY header that backends get before the first byte, so that they know the client.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyProtocolOut {
    /// V1: one line of text. V2: binary, with a unique id and a checksum.
    pub version: ProxyVersion,
}

/// Versions of the PROXY protocol.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, schemars::JsonSchema, Serialize)]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}
