//! Edge. What ends a session by time: silence, dead peers, age. Once a session lasts, nothing is kept for what
//! is not asked for or not under way.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Protocol, SockRef};
use tcpforward_protocol::snapshot::{TcpKeepalive, Timeouts};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::relay::ending::{Ending, Side};
use crate::relay::pulse::{Pulse, Verdict, pause};
use crate::socket::{self, Stream, TcpInfo};

type Timer = Option<Pin<Box<Sleep>>>;

/// How far from its limit the age of a connection may end it, so that connections that began
/// together don't end together.
const AGE_JITTER: f64 = 0.1;

/// When bytes last moved; nothing, where no timeout asks.
#[derive(Debug)]
pub(super) struct Silence(Option<Box<Asked>>);

#[derive(Debug)]
struct Asked {
    idle: Option<Duration>,
    half_closed: Option<Duration>,
    since: Option<Instant>,
    timer: Timer,
}

impl Silence {
    pub(super) fn new(timeouts: &Timeouts) -> Self {
        let Timeouts {
            idle, half_closed, ..
        } = *timeouts;
        let asks = idle.is_some() || half_closed.is_some();
        Self(asks.then(|| {
            Box::new(Asked {
                idle,
                half_closed,
                since: None,
                timer: None,
            })
        }))
    }

    /// Counts from now, by what holds now.
    pub(super) fn restart(&mut self) {
        if let Some(asked) = &mut self.0 {
            asked.since = None;
            asked.timer = None;
        }
    }

    /// The word for it when it lasts too long.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        is_half_closed: bool,
        moved: bool,
    ) -> Poll<Ending> {
        let Some(asked) = &mut self.0 else {
            return Poll::Pending;
        };
        let half_closed = asked.half_closed.filter(|_| is_half_closed);
        let limits = [
            (asked.idle, Ending::IdleTimeout),
            (half_closed, Ending::HalfClosedTimeout),
        ];
        let shortest = limits
            .into_iter()
            .filter_map(|(limit, ending)| Some((limit?, ending)))
            .min();
        let Some((limit, ending)) = shortest else {
            return Poll::Pending;
        };
        if moved {
            asked.since = None;
        }
        let start = *asked.since.get_or_insert_with(Instant::now);
        let timer = asked
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(start + limit)));
        while timer.as_mut().poll(cx).is_ready() {
            if start + limit <= Instant::now() {
                return Poll::Ready(ending);
            }
            timer.as_mut().reset(start + limit);
        }
        Poll::Pending
    }
}

/// Peers that something is on its way to; nothing, where nothing is and the session lasts. Keepalive finds the
/// others.
#[derive(Debug)]
pub(super) struct Alive(Option<Box<UnderWay>>);

#[derive(Debug, Default)]
struct UnderWay {
    peers: [Option<Pulse>; 2],
    /// What upstream's socket gets at the first look: a short session does without.
    keepalive: Option<TcpKeepalive>,
    /// To the next look; absent: it isn't set.
    timer: Timer,
}

impl Alive {
    /// Of a session whose upstream is to be kept alive, if it lasts.
    pub(super) fn new(keepalive: TcpKeepalive) -> Self {
        let under_way = UnderWay {
            keepalive: Some(keepalive),
            ..UnderWay::default()
        };
        Self(Some(Box::new(under_way)))
    }

    /// Something was written to that side.
    pub(super) fn wrote(&mut self, to: Side) {
        let [down, up] = &mut self.0.get_or_insert_default().peers;
        let peer = match to {
            Side::Downstream => down,
            Side::Upstream => up,
        };
        peer.get_or_insert_default();
    }

    /// The side that is dead, which may be silent for `limit`; `sockets` are those to downstream and to
    /// upstream.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        limit: Duration,
        sockets: [&Stream; 2],
    ) -> Poll<Side> {
        while let Some(under_way) = &mut self.0 {
            let timer = under_way
                .timer
                .get_or_insert_with(|| Box::pin(sleep(pause(limit))));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if let Some(keepalive) = under_way.keepalive.take() {
                let [_, upstream] = sockets;
                socket::keep_alive(upstream, keepalive);
            }
            let now = Instant::now();
            let sides = [Side::Downstream, Side::Upstream].into_iter().zip(sockets);
            let mut next: Option<Instant> = None;
            for (peer, (side, socket)) in under_way.peers.iter_mut().zip(sides) {
                let Some(pulse) = peer else { continue };
                let info = info(socket);
                match pulse.look(&info, now.into_std(), limit) {
                    Verdict::Dead => return Poll::Ready(side),
                    Verdict::Idle => *peer = None,
                    Verdict::Waiting(again) => {
                        let again = Instant::from_std(again);
                        next = Some(next.map_or(again, |next| next.min(again)));
                    }
                }
            }
            match next {
                Some(next) => timer.as_mut().reset(next),
                None => self.0 = None,
            }
        }
        Poll::Pending
    }
}

/// What a socket says of its peer. One of MPTCP speaks of its first path alone, which may be dead while
/// others are well: only keepalive finds its dead peers.
fn info(socket: &Stream) -> TcpInfo {
    match SockRef::from(socket).protocol() {
        Ok(Some(Protocol::MPTCP)) => TcpInfo::default(),
        _ => TcpInfo::of(socket).unwrap_or_default(),
    }
}

/// Ends a connection of that age, give or take.
pub(super) fn age(limit: Option<Duration>) -> Timer {
    let limit = limit?;
    let jitter = AGE_JITTER * (2.0 * fastrand::f64() - 1.0);
    Some(Box::pin(sleep(limit.mul_f64(1.0 + jitter))))
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    #[tokio::test]
    async fn connections_that_began_together_dont_end_together() {
        let limit = Duration::from_secs(1000);
        let start = Instant::now();
        let mut ends: Vec<_> = (0..200)
            .filter_map(|_| Some(age(Some(limit))?.deadline().duration_since(start).as_secs()))
            .collect();
        ends.sort_unstable();
        let (first, last) = (ends[0], ends[ends.len() - 1]);
        assert!(
            first >= 900 && last <= 1100 && last - first > 100,
            "{first} to {last}"
        );
        assert!(age(None).is_none());
    }

    /// Its peer can't be judged by one of its paths.
    #[tokio::test]
    async fn a_socket_of_mptcp_says_nothing_of_its_peer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for protocol in [Protocol::TCP, Protocol::MPTCP] {
            let made = Socket::new(Domain::IPV4, Type::STREAM, Some(protocol));
            let socket = match made {
                Ok(socket) => socket,
                Err(error) => {
                    assert_eq!(protocol, Protocol::MPTCP, "{error}");
                    continue;
                }
            };
            socket.connect(&address.into()).unwrap();
            socket.set_nonblocking(true).unwrap();
            let stream = Stream::watch(socket.into(), true).unwrap();
            let says = info(&stream) != TcpInfo::default();
            assert_eq!(says, protocol == Protocol::TCP);
        }
    }
}
