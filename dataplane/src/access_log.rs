//! Edge. One line per finished session, with its own log target `access`.

use std::net::SocketAddr;
use std::time::Duration;

use tcpforward_protocol::snapshot::ForwardName;

use crate::balancer::backend::Backend;
use crate::relay::ending::Ending;

/// What is known of a session at its end.
#[derive(Debug)]
pub struct Line<'a> {
    /// Which forward.
    pub forward: &'a ForwardName,
    /// Who connected.
    pub client: SocketAddr,
    /// Where.
    pub local: SocketAddr,
    /// The backend that was reached; absent: none.
    pub backend: Option<&'a Backend>,
    /// Attempts to reach one.
    pub attempts: u32,
    /// Until one was reached or given up.
    pub dial: Duration,
    /// From accept to the end.
    pub duration: Duration,
    /// Bytes from downstream to upstream.
    pub up: u64,
    /// Bytes from upstream to downstream.
    pub down: u64,
    /// Who ended it, and how.
    pub ending: Ending,
    /// Why no backend was reached.
    pub error: Option<String>,
}

/// Writes the line.
pub fn write(line: &Line<'_>) {
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        target: "access",
        forward = %line.forward,
        client = %line.client,
        local = %line.local,
        upstream_target = line.backend.map(|b| &*b.target),
        upstream = line.backend.map(|b| tracing::field::display(b.address)),
        attempts = line.attempts,
        dial_ms = millis(line.dial),
        duration_ms = millis(line.duration),
        up_bytes = line.up,
        down_bytes = line.down,
        ending = line.ending.word(),
        error = line.error,
        "session"
    );
}
