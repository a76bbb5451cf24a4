//! Pure. How a session ends: the words of the access log and of the metric.

use std::io::ErrorKind;

use crate::relay::copy::Ended;

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

/// Who ended a session, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// As many connections as the forward may have were open.
    ConnectionLimit,
    /// No backend could be reached.
    DialFailed,
    /// The socket of that side broke in another way than by a reset, for example by keepalive.
    DownstreamError,
    /// Both sides ended cleanly, downstream first.
    DownstreamFin,
    /// Downstream reset the connection.
    DownstreamRst,
    /// The process ends and the session lasted longer than it may.
    Drain,
    /// New sessions have gone back to a better priority, and old ones may not stay so long.
    Failback,
    /// Silence since one side had ended.
    HalfClosedTimeout,
    /// Silence.
    IdleTimeout,
    /// This host could not dial, for want of a port or of memory; no backend is to blame.
    LocalError,
    /// No backend takes new sessions.
    NoBackend,
    /// No backend that takes new sessions is well.
    NoHealthyBackend,
    /// The backend is not ready, and sessions may not stay so long.
    NotReady,
    /// A trusted source sent no PROXY header, or a broken one.
    ProxyHeaderInvalid,
    /// The PROXY header of a trusted source did not come in time.
    ProxyHeaderTimeout,
    /// A PROXY header is required and the client is none of the trusted sources.
    ProxyHeaderUntrusted,
    /// All backends had as many sessions as they may, and too many sessions waited.
    QueueFull,
    /// As `QueueFull`, and none had a place in time.
    QueueTimeout,
    /// As many connections as the forward takes per second had come.
    RateLimit,
    /// The forward or the backend is gone, and sessions may not stay so long.
    Removed,
    /// The client may not come any more.
    RightLost,
    /// As many connections as one source may have were open.
    SourceLimit,
    /// The client's address is in none of the source ranges.
    SourceNotAllowed,
    /// The backend is on its way out, and sessions may not stay so long.
    Terminating,
    /// The backend is left out, and sessions may not stay so long.
    Unhealthy,
    /// As `DownstreamError`.
    UpstreamError,
    /// Both sides ended cleanly, upstream first.
    UpstreamFin,
    /// Upstream reset the connection.
    UpstreamRst,
}

impl Ending {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 28] = [
        Self::ConnectionLimit,
        Self::DialFailed,
        Self::DownstreamError,
        Self::DownstreamFin,
        Self::DownstreamRst,
        Self::Drain,
        Self::Failback,
        Self::HalfClosedTimeout,
        Self::IdleTimeout,
        Self::LocalError,
        Self::NoBackend,
        Self::NoHealthyBackend,
        Self::NotReady,
        Self::ProxyHeaderInvalid,
        Self::ProxyHeaderTimeout,
        Self::ProxyHeaderUntrusted,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::RateLimit,
        Self::Removed,
        Self::RightLost,
        Self::SourceLimit,
        Self::SourceNotAllowed,
        Self::Terminating,
        Self::Unhealthy,
        Self::UpstreamError,
        Self::UpstreamFin,
        Self::UpstreamRst,
    ];

    /// The word in the access log and the metric's label.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ConnectionLimit => "connection_limit",
            Self::DialFailed => "dial_failed",
            Self::DownstreamError => "downstream_error",
            Self::DownstreamFin => "downstream_fin",
            Self::DownstreamRst => "downstream_rst",
            Self::Drain => "drain",
            Self::Failback => "failback",
            Self::HalfClosedTimeout => "half_closed_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::LocalError => "local_error",
            Self::NoBackend => "no_backend",
            Self::NoHealthyBackend => "no_healthy_backend",
            Self::NotReady => "not_ready",
            Self::ProxyHeaderInvalid => "proxy_header_invalid",
            Self::ProxyHeaderTimeout => "proxy_header_timeout",
            Self::ProxyHeaderUntrusted => "proxy_header_untrusted",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::RateLimit => "rate_limit",
            Self::Removed => "removed",
            Self::RightLost => "right_lost",
            Self::SourceLimit => "source_limit",
            Self::SourceNotAllowed => "source_not_allowed",
            Self::Terminating => "terminating",
            Self::Unhealthy => "unhealthy",
            Self::UpstreamError => "upstream_error",
            Self::UpstreamFin => "upstream_fin",
            Self::UpstreamRst => "upstream_rst",
        }
    }

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

    /// The socket of that side failed.
    #[must_use]
    pub fn broken(side: Side, kind: ErrorKind) -> Self {
        use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
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

/// What a session does after one direction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The session is over. The side that broke needs nothing, the other one is reset.
    Broken(Side, ErrorKind),
    /// Both directions ended cleanly, the one that comes from here first.
    Finished(Side),
    /// Pass the end on to the other side of where it came from; the other direction goes on.
    PassFin(Side),
    /// That side takes nothing more; what it had sent before is still delivered.
    Deliver(Side),
}

/// What is known of the ends of both directions.
#[derive(Debug, Default)]
pub struct Ends {
    first_fin: Option<Side>,
    broken: Option<(Side, ErrorKind)>,
}

impl Ends {
    /// Whether one direction has ended cleanly and the other not.
    #[must_use]
    pub fn half_closed(&self) -> bool {
        self.first_fin.is_some()
    }

    /// The side that ended cleanly first.
    #[must_use]
    pub fn first_fin(&self) -> Option<Side> {
        self.first_fin
    }

    /// The side that broke first, as far as a session knows that still delivers what came from it.
    #[must_use]
    pub fn broken(&self) -> Option<(Side, ErrorKind)> {
        self.broken
    }

    /// That side has broken; what it had sent before is still delivered.
    pub fn broke(&mut self, side: Side, kind: ErrorKind) {
        self.broken.get_or_insert((side, kind));
    }

    /// Judges the end of the direction that comes `from` a side.
    ///
    /// A reset can be told to a write as well as to a read, and only to one of them: the read then
    /// sees a clean end. So once a side is known to be broken, its end is never taken for clean.
    pub fn judge(&mut self, from: Side, ended: Ended) -> Next {
        match ended {
            Ended::Source(error) => Next::Broken(from, error.kind()),
            Ended::Fin => match (self.broken, self.first_fin) {
                (Some((side, kind)), _) => Next::Broken(side, kind),
                (None, Some(first)) => Next::Finished(first),
                (None, None) => {
                    self.first_fin = Some(from);
                    Next::PassFin(from)
                }
            },
            Ended::Sink(error) => {
                let broken = (from.other(), error.kind());
                match (self.broken, self.first_fin) {
                    (None, None) => {
                        self.broken = Some(broken);
                        Next::Deliver(from.other())
                    }
                    (earlier, _) => {
                        let (side, kind) = earlier.unwrap_or(broken);
                        Next::Broken(side, kind)
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(kind: ErrorKind) -> std::io::Error {
        kind.into()
    }

    #[test]
    fn two_clean_ends_finish_a_session() {
        let mut ends = Ends::default();
        assert_eq!(
            ends.judge(Side::Upstream, Ended::Fin),
            Next::PassFin(Side::Upstream)
        );
        assert!(ends.half_closed());
        assert_eq!(
            ends.judge(Side::Downstream, Ended::Fin),
            Next::Finished(Side::Upstream)
        );
    }

    #[test]
    fn a_reset_told_to_a_write_never_looks_like_a_clean_end() {
        let mut ends = Ends::default();
        let write = Ended::Sink(broken(ErrorKind::BrokenPipe));
        assert_eq!(
            ends.judge(Side::Downstream, write),
            Next::Deliver(Side::Upstream)
        );
        assert_eq!(
            ends.judge(Side::Upstream, Ended::Fin),
            Next::Broken(Side::Upstream, ErrorKind::BrokenPipe)
        );
    }

    #[test]
    fn a_reset_told_to_a_read_ends_it_at_once() {
        let read = Ended::Source(broken(ErrorKind::ConnectionReset));
        assert_eq!(
            Ends::default().judge(Side::Downstream, read),
            Next::Broken(Side::Downstream, ErrorKind::ConnectionReset)
        );
    }

    #[test]
    fn after_a_clean_end_a_failed_write_is_the_end() {
        let mut ends = Ends::default();
        ends.judge(Side::Upstream, Ended::Fin);
        let write = Ended::Sink(broken(ErrorKind::BrokenPipe));
        assert_eq!(
            ends.judge(Side::Downstream, write),
            Next::Broken(Side::Upstream, ErrorKind::BrokenPipe)
        );
    }

    #[test]
    fn every_ending_has_its_own_word_and_place() {
        let mut words: Vec<_> = Ending::ALL.iter().map(|e| e.word()).collect();
        words.dedup();
        assert_eq!(words.len(), Ending::ALL.len());
        assert!(Ending::ALL.iter().enumerate().all(|(i, e)| e.index() == i));
    }
}
