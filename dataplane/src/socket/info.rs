//! Edge. What the kernel knows of a connection (`TCP_INFO`), typed.
//!
//! The call is made by nix: its macro for options that it has no type for itself.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::GetSockOpt;
use nix::sys::socket::sockopt::GetStruct;

/// One socket's state, as far as anything here asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// Whether the connection is over, and what is left of it doesn't count.
    pub is_over: bool,
    /// Segments that were sent and are not acknowledged; a FIN counts as well.
    pub unacked: u32,
    /// Bytes that were written and never sent.
    pub not_sent: u32,
    /// Bytes that the peer has acknowledged, since the beginning.
    pub acked: u64,
    /// Probes of a closed window that the peer has not answered.
    pub probes: u8,
    /// Since anything was last acknowledged.
    pub last_ack: Duration,
    /// The round trip time, smoothed; zero: not known.
    pub round_trip: Duration,
    /// Segments that were sent again, since the beginning.
    pub retransmits: u32,
    /// How long there was something to send or to be acknowledged.
    pub busy: Duration,
    /// The part of `busy` in which the peer had no room for more.
    pub peer_limited: Duration,
}

impl TcpInfo {
    /// Asks the kernel; nothing when it doesn't know, for example under a kernel before 4.10.
    #[must_use]
    pub fn of(socket: &impl AsFd) -> Option<Self> {
        let raw = Query.get(socket).ok()?;
        Some(Self {
            is_over: raw.state == TCP_CLOSE,
            unacked: raw.unacked,
            not_sent: raw.notsent_bytes,
            acked: raw.bytes_acked,
            probes: raw.probes,
            last_ack: Duration::from_millis(raw.last_ack_recv.into()),
            round_trip: Duration::from_micros(raw.rtt.into()),
            retransmits: raw.total_retrans,
            busy: Duration::from_micros(raw.busy_time),
            peer_limited: Duration::from_micros(raw.rwnd_limited),
        })
    }

    /// Whether the peer has still to acknowledge anything, sent or not.
    #[must_use]
    pub fn is_on_its_way(&self) -> bool {
        !self.is_over && (self.unacked > 0 || self.not_sent > 0)
    }
}

/// `TCP_CLOSE` of the kernel's `tcp_states.h`.
const TCP_CLOSE: u8 = 7;

#[derive(Clone, Copy)]
struct Query;

nix::getsockopt_impl!(
    Query,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    Raw,
    GetStruct<Raw>
);

/// The beginning of the kernel's `struct tcp_info`, up to what Linux 4.10 brought; later fields
/// are cut off by the kernel. Not libc's type: that grows with each version of libc, and a kernel
/// that fills less than what is asked for counts as broken in nix.
#[repr(C)]
#[derive(Clone, Copy)]
struct Raw {
    state: u8,
    ca_state: u8,
    retransmits: u8,
    probes: u8,
    backoff: u8,
    options: u8,
    window_scales: u8,
    flags: u8,
    rto: u32,
    ato: u32,
    snd_mss: u32,
    rcv_mss: u32,
    unacked: u32,
    sacked: u32,
    lost: u32,
    retrans: u32,
    fackets: u32,
    last_data_sent: u32,
    last_ack_sent: u32,
    last_data_recv: u32,
    last_ack_recv: u32,
    pmtu: u32,
    rcv_ssthresh: u32,
    rtt: u32,
    rttvar: u32,
    snd_ssthresh: u32,
    snd_cwnd: u32,
    advmss: u32,
    reordering: u32,
    rcv_rtt: u32,
    rcv_space: u32,
    total_retrans: u32,
    pacing_rate: u64,
    max_pacing_rate: u64,
    bytes_acked: u64,
    bytes_received: u64,
    segs_out: u32,
    segs_in: u32,
    notsent_bytes: u32,
    min_rtt: u32,
    data_segs_in: u32,
    data_segs_out: u32,
    delivery_rate: u64,
    busy_time: u64,
    rwnd_limited: u64,
    sndbuf_limited: u64,
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn what_the_peer_has_acknowledged_is_known() {
        let (mut client, mut server) = pair();
        client.write_all(&[7; 1000]).unwrap();
        server.read_exact(&mut [0; 1000]).unwrap();
        let info = TcpInfo::of(&client).unwrap();
        // The SYN counts.
        assert_eq!((info.acked, info.unacked, info.not_sent), (1001, 0, 0));
        assert!(!info.round_trip.is_zero());
        assert!(info.last_ack < Duration::from_secs(5));
    }

    #[test]
    fn a_peer_that_reads_nothing_is_told_from_a_slow_path() {
        let (mut client, _server) = pair();
        client.set_nonblocking(true).unwrap();
        while client.write(&[7; 64 << 10]).is_ok() {}
        let start = TcpInfo::of(&client).unwrap();
        assert!(start.not_sent > 0);
        let wait = TcpInfo::of(&client).unwrap();
        assert!(wait.peer_limited >= start.peer_limited && wait.busy >= wait.peer_limited);
    }

    #[test]
    fn a_file_has_none() {
        assert_eq!(TcpInfo::of(&std::io::stdin()), None);
    }

    #[test]
    fn the_layout_ends_where_the_kernels_did_in_4_10() {
        assert_eq!(std::mem::size_of::<Raw>(), 192);
    }
}
