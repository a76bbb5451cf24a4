//! Edge. One socket option that is said: set, and read back.

use std::fmt::{self, Display};
use std::io;
use std::time::Duration;

use nix::sys::socket::sockopt::{GetUsize, SetUsize};
use nix::sys::socket::{GetSockOpt, SetSockOpt};
use socket2::{Domain, Socket};
use tcpforward_protocol::snapshot::{TcpKeepalive, TcpOptions};

use super::refused::Field;

/// How many clients may have sent first bytes with a SYN that is not answered yet (`TCP_FASTOPEN`):
/// beyond that they shake hands as ever.
const FAST_OPEN_QUEUE: usize = 256;

/// An option and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting<'a> {
    CongestionControl(&'a str),
    FastOpen,
    Keepalive(TcpKeepalive),
    MaxSegmentSize(u32),
    NoDelay(bool),
    NotSentLowat(u32),
    ReceiveBuffer(u32),
    SendBuffer(u32),
    TrafficClass(u32),
    UserTimeout(Duration),
}

/// Those that are said. `multipath` is none of them: it is what the socket is made of.
pub(super) fn settings(options: &TcpOptions) -> impl Iterator<Item = Setting<'_>> {
    let congestion_control = options.congestion_control.as_deref();
    let segment = options.max_segment_size.map(|size| size.get().into());
    let all = [
        Some(Setting::NoDelay(options.no_delay)),
        Some(Setting::Keepalive(options.keepalive)),
        options.user_timeout.map(Setting::UserTimeout),
        segment.map(Setting::MaxSegmentSize),
        options.send_buffer.map(|n| Setting::SendBuffer(n.get())),
        options
            .receive_buffer
            .map(|n| Setting::ReceiveBuffer(n.get())),
        congestion_control.map(Setting::CongestionControl),
        options
            .not_sent_lowat
            .map(|n| Setting::NotSentLowat(n.get())),
        options
            .traffic_class
            .map(|class| Setting::TrafficClass(class.into())),
        options.fast_open.then_some(Setting::FastOpen),
    ];
    all.into_iter().flatten()
}

impl Setting<'_> {
    pub(super) fn field(&self) -> Field {
        match self {
            Self::CongestionControl(_) => Field::CongestionControl,
            Self::FastOpen => Field::FastOpen,
            Self::Keepalive(_) => Field::Keepalive,
            Self::MaxSegmentSize(_) => Field::MaxSegmentSize,
            Self::NoDelay(_) => Field::NoDelay,
            Self::NotSentLowat(_) => Field::NotSentLowat,
            Self::ReceiveBuffer(_) => Field::ReceiveBuffer,
            Self::SendBuffer(_) => Field::SendBuffer,
            Self::TrafficClass(_) => Field::TrafficClass,
            Self::UserTimeout(_) => Field::UserTimeout,
        }
    }

    /// Whether a session can begin without it.
    pub(super) fn may_wait(&self) -> bool {
        matches!(self, Self::Keepalive(_))
    }

    pub(super) fn set(&self, socket: &Socket, domain: Domain) -> io::Result<()> {
        match *self {
            Self::CongestionControl(name) => socket.set_tcp_congestion(name.as_bytes()),
            Self::FastOpen => Ok(FastOpen.set(socket, &FAST_OPEN_QUEUE)?),
            Self::Keepalive(keepalive) => {
                let wanted = socket2::TcpKeepalive::new()
                    .with_time(keepalive.idle_time)
                    .with_interval(keepalive.interval)
                    .with_retries(keepalive.probes.get());
                socket.set_tcp_keepalive(&wanted)
            }
            Self::MaxSegmentSize(size) => socket.set_tcp_mss(size),
            Self::NoDelay(on) => socket.set_tcp_nodelay(on),
            Self::NotSentLowat(bytes) => socket.set_tcp_notsent_lowat(bytes),
            Self::ReceiveBuffer(bytes) => socket.set_recv_buffer_size(bytes as usize),
            Self::SendBuffer(bytes) => socket.set_send_buffer_size(bytes as usize),
            Self::TrafficClass(class) => {
                // Of a dual-stack socket both: some peers are IPv4.
                if domain == Domain::IPV6 {
                    socket.set_tclass_v6(class)?;
                }
                socket.set_tos_v4(class)
            }
            Self::UserTimeout(time) => socket.set_tcp_user_timeout(Some(time)),
        }
    }

    /// What the kernel has, in the same words; nothing for a buffer, which it doubles and clamps.
    pub(super) fn get(&self, socket: &Socket, domain: Domain) -> io::Result<Option<String>> {
        Ok(Some(match self {
            Self::CongestionControl(_) => {
                let name = socket.tcp_congestion()?;
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                String::from_utf8_lossy(name).into_owned()
            }
            Self::FastOpen if FastOpen.get(socket)? == FAST_OPEN_QUEUE => self.to_string(),
            Self::FastOpen => "false".to_owned(),
            Self::Keepalive(_) => words(
                socket.tcp_keepalive_time()?,
                socket.tcp_keepalive_interval()?,
                socket.tcp_keepalive_retries()?,
            ),
            Self::MaxSegmentSize(_) => socket.tcp_mss()?.to_string(),
            Self::NoDelay(_) => socket.tcp_nodelay()?.to_string(),
            Self::NotSentLowat(_) => socket.tcp_notsent_lowat()?.to_string(),
            Self::ReceiveBuffer(_) | Self::SendBuffer(_) => return Ok(None),
            Self::TrafficClass(class) => {
                let of_v4 = socket.tos_v4()?;
                match domain == Domain::IPV6 && of_v4 == *class {
                    true => socket.tclass_v6()?.to_string(),
                    false => of_v4.to_string(),
                }
            }
            Self::UserTimeout(_) => {
                let time = socket.tcp_user_timeout()?.unwrap_or_default();
                format!("{time:?}")
            }
        }))
    }
}

impl Display for Setting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CongestionControl(name) => f.write_str(name),
            Self::FastOpen => f.write_str("true"),
            Self::Keepalive(keepalive) => f.write_str(&words(
                keepalive.idle_time,
                keepalive.interval,
                keepalive.probes.get(),
            )),
            Self::NoDelay(on) => on.fmt(f),
            Self::MaxSegmentSize(number)
            | Self::NotSentLowat(number)
            | Self::ReceiveBuffer(number)
            | Self::SendBuffer(number)
            | Self::TrafficClass(number) => number.fmt(f),
            Self::UserTimeout(time) => write!(f, "{time:?}"),
        }
    }
}

fn words(idle: Duration, interval: Duration, probes: u32) -> String {
    format!("{idle:?}, {interval:?}, {probes} probes")
}

/// `TCP_FASTOPEN` of a listener; nix has only the connecting half.
#[derive(Clone, Copy)]
struct FastOpen;

nix::setsockopt_impl!(
    FastOpen,
    libc::IPPROTO_TCP,
    libc::TCP_FASTOPEN,
    usize,
    SetUsize
);
nix::getsockopt_impl!(
    FastOpen,
    libc::IPPROTO_TCP,
    libc::TCP_FASTOPEN,
    usize,
    GetUsize
);
