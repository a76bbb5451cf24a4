//! Edge. One line per finished session, with its own log target `access`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tcpforward_process::log;
use tcpforward_protocol::snapshot::ForwardName;

use crate::proxy_protocol::UniqueId;
use crate::relay::ending::Ending;
use crate::socket::TcpInfo;

/// Every field of a line and what it means, in the order of the line.
pub const FIELDS: [(&str, &str); 28] = [
    ("forward", "The TcpForward, as namespace/name."),
    (
        "client",
        "Who connected: the peer, or what its PROXY header says.",
    ),
    (
        "via",
        "The peer, a load balancer mostly, when a PROXY header said who connected.",
    ),
    (
        "local",
        "Where the client connected, by its PROXY header if there was one.",
    ),
    (
        "unique_id",
        "The connection's name in PROXY headers of version 2, as it came or as the backend got it.",
    ),
    (
        "connect_target",
        "Where the client of a CONNECT proxy asked to go, as host:port.",
    ),
    ("subject", "Who that client has proven to be."),
    ("rule", "The rule of the proxy that decided."),
    ("status", "The HTTP status that the proxy answered."),
    (
        "upstream_target",
        "The target whose backend was reached; of a CONNECT proxy, the Service and its port.",
    ),
    (
        "upstream",
        "The address of that backend, or the one that a tunnel leads to.",
    ),
    (
        "upstream_local",
        "Our own address on the connection to it, which the backend sees, or the parent proxy.",
    ),
    (
        "parent",
        "The address of the parent proxy that leads there; where that resolves the name, `upstream` is absent.",
    ),
    (
        "attempts",
        "How many backends were dialled, the one that was reached included.",
    ),
    (
        "queue_ms",
        "How long the session waited for a backend to have a place.",
    ),
    (
        "dial_ms",
        "From accept until a backend was reached or given up, waiting for a place included.",
    ),
    ("duration_ms", "From accept to the end."),
    (
        "up_bytes",
        "Bytes from client to backend that our socket took; a PROXY header is left out.",
    ),
    ("down_bytes", "Bytes from backend to client."),
    (
        "ending",
        "Who ended the session, and how: one word of the [endings](endings.md).",
    ),
    ("error", "Why it was refused or no backend was reached."),
    (
        "downstream_rtt_us",
        "Round trip time to the peer, smoothed by the kernel.",
    ),
    (
        "downstream_retransmits",
        "Segments that were sent to the peer again.",
    ),
    ("upstream_rtt_us", "Round trip time to the backend."),
    (
        "upstream_retransmits",
        "Segments that were sent to the backend again.",
    ),
    (
        "client_limited_ms",
        "How long bytes waited for the client to read.",
    ),
    (
        "backend_limited_ms",
        "How long bytes waited for the backend to read.",
    ),
    (
        "network_limited_ms",
        "How long bytes were on their way or waited for the network, both directions together.",
    ),
];

/// What is known of a session at its end.
#[derive(Debug)]
pub struct Line<'a> {
    /// Which forward.
    pub forward: &'a ForwardName,
    /// Who connected.
    pub client: SocketAddr,
    /// Who said so; absent: the client itself.
    pub via: Option<SocketAddr>,
    /// Where.
    pub local: SocketAddr,
    /// The connection's name.
    pub unique_id: Option<&'a UniqueId>,
    /// What a CONNECT proxy was asked for and answered; absent: it is none.
    pub asked: Option<&'a Asked>,
    /// The target whose backend was reached; absent: none.
    pub upstream_target: Option<&'a str>,
    /// The address that was reached.
    pub upstream: Option<SocketAddr>,
    /// Our address on the connection to it.
    pub upstream_local: Option<SocketAddr>,
    /// The parent proxy that leads there; absent: none does.
    pub parent: Option<SocketAddr>,
    /// Attempts to reach one.
    pub attempts: u32,
    /// Until it had a place.
    pub queued: Duration,
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
    pub error: Option<&'a str>,
    /// What the kernel knew of both connections at the end.
    pub sockets: Sockets,
}

/// What a CONNECT proxy was asked for and answered, as far as the request came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Where to.
    pub target: Option<Box<str>>,
    /// By whom.
    pub subject: Option<Box<str>>,
    /// What decided.
    pub rule: Option<Arc<str>>,
    /// The answer.
    pub status: Option<u16>,
    /// Why it is no tunnel, as far as more is known than the client is told.
    pub why: Option<Box<str>>,
}

/// Both connections of a session, downstream first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sockets {
    /// The client's; absent: not asked, because there was nothing to relay.
    pub downstream: Option<TcpInfo>,
    /// The backend's.
    pub upstream: Option<TcpInfo>,
}

impl Sockets {
    /// How long bytes were under way while their receiver had room for them. `None`: not known.
    fn network_limited(&self) -> Option<Duration> {
        let both = [self.downstream?, self.upstream?];
        let waited = both.map(|info| info.busy.saturating_sub(info.peer_limited));
        Some(waited.into_iter().sum())
    }
}

/// Writes the line.
pub fn write(line: &Line<'_>) {
    let Sockets {
        downstream,
        upstream,
    } = line.sockets;
    tracing::info!(
        target: log::ACCESS,
        forward = %line.forward,
        client = %line.client,
        via = line.via.map(tracing::field::display),
        local = %line.local,
        unique_id = line.unique_id.map(tracing::field::display),
        connect_target = line.asked.and_then(|asked| asked.target.as_deref()),
        subject = line.asked.and_then(|asked| asked.subject.as_deref()),
        rule = line.asked.and_then(|asked| asked.rule.as_deref()),
        status = line.asked.and_then(|asked| asked.status),
        upstream_target = line.upstream_target,
        upstream = line.upstream.map(tracing::field::display),
        upstream_local = line.upstream_local.map(tracing::field::display),
        parent = line.parent.map(tracing::field::display),
        attempts = line.attempts,
        queue_ms = millis(line.queued),
        dial_ms = millis(line.dial),
        duration_ms = millis(line.duration),
        up_bytes = line.up,
        down_bytes = line.down,
        ending = line.ending.word(),
        error = line.error,
        downstream_rtt_us = downstream.map(|info| micros(info.round_trip)),
        downstream_retransmits = downstream.map(|info| info.retransmits),
        upstream_rtt_us = upstream.map(|info| micros(info.round_trip)),
        upstream_retransmits = upstream.map(|info| info.retransmits),
        client_limited_ms = downstream.map(|info| millis(info.peer_limited)),
        backend_limited_ms = upstream.map(|info| millis(info.peer_limited)),
        network_limited_ms = line.sockets.network_limited().map(millis),
        "session"
    );
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
