//! Edge. Why a forward can't have its socket options, in words.

use std::fmt::{self, Display};
use std::io;

use super::options::Side;

/// An option that a kernel refuses, or doesn't keep.
#[derive(Debug, thiserror::Error)]
#[error("{}.tcp.{} {value}: {why}: {}", .side.word(), .field.word(), remedy(.field))]
pub(super) struct Refused {
    side: Side,
    field: Field,
    value: String,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Changed {
        got: String,
    },
    Kernel(io::Error),
    Off {
        parameter: &'static str,
        value: String,
    },
}

/// Fields of `tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    CongestionControl,
    FastOpen,
    Keepalive,
    MaxSegmentSize,
    Multipath,
    NoDelay,
    NotSentLowat,
    ReceiveBuffer,
    SendBuffer,
    TrafficClass,
    UserTimeout,
}

impl Refused {
    pub(super) fn by_kernel(
        side: Side,
        field: Field,
        value: impl Display,
        error: io::Error,
    ) -> Self {
        Self {
            side,
            field,
            value: value.to_string(),
            why: Why::Kernel(error),
        }
    }

    pub(super) fn changed(side: Side, field: Field, value: String, got: String) -> Self {
        Self {
            side,
            field,
            value,
            why: Why::Changed { got },
        }
    }

    /// Taken by the kernel, and of no effect while that parameter is so.
    pub(super) fn off(side: Side, field: Field, parameter: &'static str, value: &str) -> Self {
        let value = value.trim().to_owned();
        Self {
            side,
            field,
            value: "true".to_owned(),
            why: Why::Off { parameter, value },
        }
    }
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        Self::other(refused)
    }
}

/// Whether an option was refused: trouble of this host, which says nothing about a peer.
pub(super) fn is_refused(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(|inner| inner.is::<Refused>())
}

impl Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { got } => write!(f, "the kernel made {got} of it"),
            Self::Kernel(error) => write!(f, "the kernel says {error}"),
            Self::Off { parameter, value } => write!(f, "{parameter} is {value}"),
        }
    }
}

impl Side {
    /// Where its options are written.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Relay => "relay",
        }
    }
}

impl Field {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::CongestionControl => "congestionControl",
            Self::FastOpen => "fastOpen",
            Self::Keepalive => "tcpKeepalive",
            Self::MaxSegmentSize => "maxSegmentSize",
            Self::Multipath => "multipath",
            Self::NoDelay => "noDelay",
            Self::NotSentLowat => "notSentLowat",
            Self::ReceiveBuffer => "receiveBuffer",
            Self::SendBuffer => "sendBuffer",
            Self::TrafficClass => "trafficClass",
            Self::UserTimeout => "userTimeout",
        }
    }
}

fn remedy(field: &Field) -> String {
    match field {
        Field::CongestionControl => {
            let path = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";
            let allowed = std::fs::read_to_string(path).unwrap_or_default();
            let now = match allowed.trim() {
                "" => String::new(),
                names => format!(", now {names}"),
            };
            format!("choose one of net.ipv4.tcp_allowed_congestion_control{now}, or add it there")
        }
        Field::FastOpen => "set bit 2 of net.ipv4.tcp_fastopen, or take fastOpen out".to_owned(),
        Field::Multipath => "set net.mptcp.enabled, or take multipath out".to_owned(),
        field => format!(
            "change {} or take it out; with multipath kernels take less",
            field.word()
        ),
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_refusal_names_field_value_reason_and_remedy() {
        let kernel = || io::Error::from(Errno::NOENT);
        let refused = Refused::by_kernel(Side::Relay, Field::CongestionControl, "nosuch", kernel());
        let text = refused.to_string();
        let starts =
            "relay.tcp.congestionControl nosuch: the kernel says No such file or directory";
        assert!(text.starts_with(starts), "{text}");
        assert!(
            text.contains("choose one of net.ipv4.tcp_allowed_congestion_control"),
            "{text}"
        );
        let off = Refused::off(
            Side::Listener,
            Field::FastOpen,
            "net.ipv4.tcp_fastopen",
            "1\n",
        );
        assert_eq!(
            off.to_string(),
            "listener.tcp.fastOpen true: net.ipv4.tcp_fastopen is 1: set bit 2 of \
             net.ipv4.tcp_fastopen, or take fastOpen out"
        );
        assert!(is_refused(&off.into()));
        assert!(!is_refused(&kernel()));
    }
}
