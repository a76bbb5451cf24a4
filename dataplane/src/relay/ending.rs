//! Pure. How a session ends: one list of words for the access log, the metric and the docs.

use std::io::ErrorKind;

/// Which side of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that connected to us.
    Downstream,
    /// The one that we connected to.
    Upstream,
}

impl Side {
    /// The opposite one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Downstream => Self::Upstream,
            Self::Upstream => Self::Downstream,
        }
    }
}

/// Makes the type from one line an ending: its name, its word, what it means.
macro_rules! endings {
    ($($name:ident $word:literal $meaning:literal;)*) => {
        /// Who ended a session, and how.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Ending {
            $(#[doc = $meaning] $name,)*
        }

        impl Ending {
            /// All of them, in the order of their discriminants.
            pub const ALL: [Self; [$($word),*].len()] = [$(Self::$name),*];

            /// The word in the access log and the metric's label.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// What the word means, for the docs.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)*
                }
            }
        }
    };
}

endings! {
    ConnectionLimit "connection_limit"
        "As many connections as the forward may have were open.";
    ConnectionLimitReached "connection_limit_reached"
        "A CONNECT was refused: as many tunnels were open, or as many dials or password checks under way, as there may be.";
    ConnectionRefused "connection_refused"
        "A CONNECT was refused: the target refused the connection.";
    ConnectionTerminated "connection_terminated"
        "A CONNECT was refused: the connection to the target broke while it was made.";
    ConnectionTimeout "connection_timeout"
        "A CONNECT was refused: the target did not answer in time.";
    DestinationIpProhibited "destination_ip_prohibited"
        "A CONNECT was refused: none of the addresses of the target may be dialled.";
    DestinationIpUnroutable "destination_ip_unroutable"
        "A CONNECT was refused: there is no route to the target.";
    DestinationUnavailable "destination_unavailable"
        "A CONNECT was refused: the Service has no backend that is well, or the proxy is about to end.";
    DialFailed "dial_failed"
        "No backend could be reached.";
    DnsError "dns_error"
        "A CONNECT was refused: DNS has no address for the name, or failed.";
    DnsTimeout "dns_timeout"
        "A CONNECT was refused: DNS did not answer in time.";
    DownstreamDead "downstream_dead"
        "The client has not answered for too long: 30 s with bytes on their way to it, 90 s when all was silent.";
    DownstreamError "downstream_error"
        "The client's socket broke in another way than by a reset or by silence.";
    DownstreamFin "downstream_fin"
        "Both sides ended cleanly, the client first.";
    DownstreamRst "downstream_rst"
        "The client reset the connection.";
    Drain "drain"
        "The process ends and the session lasted longer than it may.";
    Failback "failback"
        "New sessions have gone back to a better priority, and old ones may not stay so long.";
    GrantLost "grant_lost"
        "The namespace of the Service no longer lets the forward there, or the forward no longer leads there.";
    HalfClosedTimeout "half_closed_timeout"
        "One side had ended, and then all was silent for as long as `timeouts.halfClosed`.";
    HttpProtocolError "http_protocol_error"
        "A CONNECT was refused: what the parent proxy answered is no answer.";
    HttpRequestDenied "http_request_denied"
        "A CONNECT was refused: no rule allows it, a rule or the parent proxy denies it, or user and password are missing or wrong.";
    HttpRequestError "http_request_error"
        "A client of a CONNECT proxy sent something else than a well-formed CONNECT request, or not in time.";
    HttpResponseTimeout "http_response_timeout"
        "A CONNECT was refused: the parent proxy did not answer in time.";
    IdleTimeout "idle_timeout"
        "All was silent for as long as `timeouts.idle`.";
    LocalError "local_error"
        "This host could not dial, for want of a port or of memory; no backend is to blame.";
    MaxAge "max_age"
        "The session was as old as `timeouts.maxConnectionAge`, give or take a tenth.";
    NoBackend "no_backend"
        "No backend takes new sessions.";
    NoHealthyBackend "no_healthy_backend"
        "No backend that takes new sessions is well.";
    NotReady "not_ready"
        "The backend is not ready, and sessions may not stay so long.";
    ParentFailed "parent_failed"
        "The parent proxy was not reached, or does not lead to the backend; no backend is to blame.";
    ProxyConfigurationError "proxy_configuration_error"
        "A CONNECT was refused: the parent proxy does not accept our credentials, or can't be used as it is set up.";
    ProxyHeaderInvalid "proxy_header_invalid"
        "A trusted source sent a broken PROXY header, or none though one is required.";
    ProxyHeaderTimeout "proxy_header_timeout"
        "The PROXY header of a trusted source did not come within 5 s.";
    ProxyHeaderUntrusted "proxy_header_untrusted"
        "A PROXY header is required, and the client is none of the trusted sources.";
    ProxyInternalError "proxy_internal_error"
        "A CONNECT was refused: this host could not dial, for want of a port or of memory.";
    ProxyLoopDetected "proxy_loop_detected"
        "A CONNECT was refused: it would have led back to the proxy.";
    QueueFull "queue_full"
        "All backends had as many sessions as they may, and too many sessions waited.";
    QueueTimeout "queue_timeout"
        "All backends had as many sessions as they may, and none had a place in time.";
    RateLimit "rate_limit"
        "As many connections as the forward takes per second had come.";
    Removed "removed"
        "The forward or the backend is gone, and sessions may not stay so long.";
    RightLost "right_lost"
        "The client may not come any more.";
    SourceLimit "source_limit"
        "As many connections as one source may have were open.";
    SourceNotAllowed "source_not_allowed"
        "The client's address is in none of the source ranges.";
    Terminating "terminating"
        "The backend is on its way out, and sessions may not stay so long.";
    TlsCertificateError "tls_certificate_error"
        "A CONNECT was refused: the certificate of the parent proxy is not trusted.";
    TlsProtocolError "tls_protocol_error"
        "A CONNECT was refused: there is no TLS with the parent proxy.";
    Unhealthy "unhealthy"
        "The backend is left out, and sessions may not stay so long.";
    UpstreamDead "upstream_dead"
        "The backend has not answered for too long: 30 s with bytes on their way to it, 90 s when all was silent.";
    UpstreamError "upstream_error"
        "The backend's socket broke in another way than by a reset or by silence.";
    UpstreamFin "upstream_fin"
        "Both sides ended cleanly, the backend first.";
    UpstreamRst "upstream_rst"
        "The backend reset the connection.";
}

impl Ending {
    /// Its place in `ALL`.
    #[must_use]
    pub fn index(self) -> usize {
        Self::ALL
            .iter()
            .position(|e| *e == self)
            .unwrap_or_default()
    }

    /// Both sides ended cleanly, that one first.
    #[must_use]
    pub fn fin(first: Side) -> Self {
        match first {
            Side::Downstream => Self::DownstreamFin,
            Side::Upstream => Self::UpstreamFin,
        }
    }

    /// That side has not answered for too long.
    #[must_use]
    pub fn dead(side: Side) -> Self {
        match side {
            Side::Downstream => Self::DownstreamDead,
            Side::Upstream => Self::UpstreamDead,
        }
    }

    /// The socket of that side failed.
    #[must_use]
    pub fn broken(side: Side, kind: ErrorKind) -> Self {
        use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut};
        // Keepalive, or the kernel's own patience.
        if kind == TimedOut {
            return Self::dead(side);
        }
        let reset = matches!(
            kind,
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected
        );
        match (side, reset) {
            (Side::Downstream, true) => Self::DownstreamRst,
            (Side::Downstream, false) => Self::DownstreamError,
            (Side::Upstream, true) => Self::UpstreamRst,
            (Side::Upstream, false) => Self::UpstreamError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_has_its_own_word_and_place() {
        let words: Vec<_> = Ending::ALL.iter().map(|e| e.word()).collect();
        assert!(words.is_sorted_by(|a, b| a < b), "{words:?}");
        assert!(Ending::ALL.iter().enumerate().all(|(i, e)| e.index() == i));
    }
}
