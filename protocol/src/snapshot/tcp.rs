//! Pure. Socket options of one side of a forward.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

/// Options of the sockets of one side: of those that clients connect to, or of those to backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Small segments are sent at once (`TCP_NODELAY`).
    pub no_delay: bool,
    /// How a silent peer that is dead is found.
    pub keepalive: TcpKeepalive,
    /// Sent bytes may stay unacknowledged for so long (`TCP_USER_TIMEOUT`); absent: not set.
    pub user_timeout: Option<Duration>,
    /// The largest segment (`TCP_MAXSEG`); absent: what the path allows.
    pub max_segment_size: Option<NonZeroU16>,
    /// Bytes as `SO_SNDBUF` takes them; absent: the kernel's own tuning.
    pub send_buffer: Option<NonZeroU32>,
    /// Bytes as `SO_RCVBUF` takes them; absent: the kernel's own tuning.
    pub receive_buffer: Option<NonZeroU32>,
    /// By name (`TCP_CONGESTION`); absent: the kernel's default.
    pub congestion_control: Option<String>,
    /// Bytes that may wait unsent before the socket stops being writable (`TCP_NOTSENT_LOWAT`);
    /// absent: the kernel's default.
    pub not_sent_lowat: Option<NonZeroU32>,
    /// First bytes may come with the SYN; of listeners only.
    pub fast_open: bool,
    /// Multipath TCP with peers that speak it.
    pub multipath: bool,
    /// The DSCP in its upper six bits, the lower two are 0; absent: the kernel's default.
    pub traffic_class: Option<u8>,
}

impl TcpOptions {
    /// Whether a socket with these options can be given the others. What is said can be said
    /// otherwise; what is no longer said can't be taken back.
    #[must_use]
    pub fn can_become(&self, other: &Self) -> bool {
        let stays = |one: bool, two: bool| two || !one;
        self.multipath == other.multipath
            && stays(self.fast_open, other.fast_open)
            && stays(self.user_timeout.is_some(), other.user_timeout.is_some())
            && stays(
                self.max_segment_size.is_some(),
                other.max_segment_size.is_some(),
            )
            && stays(self.send_buffer.is_some(), other.send_buffer.is_some())
            && stays(
                self.receive_buffer.is_some(),
                other.receive_buffer.is_some(),
            )
            && stays(
                self.congestion_control.is_some(),
                other.congestion_control.is_some(),
            )
            && stays(
                self.not_sent_lowat.is_some(),
                other.not_sent_lowat.is_some(),
            )
            && stays(self.traffic_class.is_some(), other.traffic_class.is_some())
    }
}

/// How a silent peer that is dead is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// Silence before the first probe, in whole seconds.
    pub idle_time: Duration,
    /// Between two probes, in whole seconds.
    pub interval: Duration,
    /// So many without an answer end the connection.
    pub probes: NonZeroU32,
}

/// The lower two bits of a traffic class, which TCP keeps for itself (ECN).
pub const ECN_BITS: u8 = 3;

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            no_delay: true,
            keepalive: TcpKeepalive::default(),
            user_timeout: None,
            max_segment_size: None,
            send_buffer: None,
            receive_buffer: None,
            congestion_control: None,
            not_sent_lowat: None,
            fast_open: false,
            multipath: false,
            traffic_class: None,
        }
    }
}

impl Default for TcpKeepalive {
    fn default() -> Self {
        Self {
            idle_time: Duration::from_secs(60),
            interval: Duration::from_secs(10),
            probes: NonZeroU32::new(3).unwrap_or(NonZeroU32::MIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::full_tcp;

    #[test]
    fn a_socket_can_be_given_more_and_nothing_can_be_taken_back() {
        let multipath = TcpOptions {
            multipath: true,
            ..TcpOptions::default()
        };
        let full = full_tcp();
        assert!(multipath.can_become(&full) && full.can_become(&full));
        assert!(!TcpOptions::default().can_become(&multipath));
        let lacking: [fn(&mut TcpOptions); 9] = [
            |o| o.user_timeout = None,
            |o| o.max_segment_size = None,
            |o| o.send_buffer = None,
            |o| o.receive_buffer = None,
            |o| o.congestion_control = None,
            |o| o.not_sent_lowat = None,
            |o| o.traffic_class = None,
            |o| o.fast_open = false,
            |o| o.multipath = false,
        ];
        for change in lacking {
            let mut less = full.clone();
            change(&mut less);
            assert!(!full.can_become(&less), "{less:?}");
        }
        let mut other = full.clone();
        other.no_delay = true;
        other.keepalive = TcpKeepalive::default();
        other.congestion_control = Some("bbr".to_owned());
        assert!(full.can_become(&other));
    }
}
