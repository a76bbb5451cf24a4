//! Edge. What ends a session by time: silence, dead peers, age. Nothing is allocated for what is
//! not asked for or not under way.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tcpforward_protocol::snapshot::Timeouts;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::relay::ending::{Ending, Side};
use crate::relay::pulse::{Pulse, Verdict, pause};
use crate::socket::TcpInfo;

type Timer = Option<Pin<Box<Sleep>>>;

/// How far from its limit the age of a connection may end it, so that connections that began
/// together don't end together.
const AGE_JITTER: f64 = 0.1;

/// When bytes last moved; known only while a timeout asks.
#[derive(Debug, Default)]
pub(super) struct Silence {
    since: Option<Instant>,
    timer: Timer,
}

impl Silence {
    /// The word for it when it lasts too long.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        timeouts: &Timeouts,
        is_half_closed: bool,
        moved: bool,
    ) -> Poll<Ending> {
        let half_closed = timeouts.half_closed.filter(|_| is_half_closed);
        let limits = [
            (timeouts.idle, Ending::IdleTimeout),
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
            self.since = None;
        }
        let start = *self.since.get_or_insert_with(Instant::now);
        let timer = self
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

/// Peers that something is on its way to. Keepalive finds the others.
#[derive(Debug)]
pub(super) struct Alive {
    limit: Duration,
    peers: [Option<Pulse>; 2],
    timer: Timer,
}

impl Alive {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            peers: [None, None],
            timer: None,
        }
    }

    /// Something was written to that side.
    pub(super) fn wrote(&mut self, to: Side) {
        let [down, up] = &mut self.peers;
        let peer = match to {
            Side::Downstream => down,
            Side::Upstream => up,
        };
        peer.get_or_insert_default();
        let pause = pause(self.limit);
        self.timer.get_or_insert_with(|| Box::pin(sleep(pause)));
    }

    /// The side that is dead.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        downstream: &TcpStream,
        upstream: &TcpStream,
    ) -> Poll<Side> {
        while let Some(timer) = &mut self.timer {
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            let sides = [(Side::Downstream, downstream), (Side::Upstream, upstream)];
            let mut next: Option<Instant> = None;
            for (peer, (side, socket)) in self.peers.iter_mut().zip(sides) {
                let Some(pulse) = peer else { continue };
                let info = TcpInfo::of(socket).unwrap_or_default();
                match pulse.look(&info, now.into_std(), self.limit) {
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
                None => self.timer = None,
            }
        }
        Poll::Pending
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
}
