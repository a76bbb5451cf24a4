//! Edge. Both directions of a session in one task: bytes, ends, silence.
//!
//! ```text
//!  downstream ──Direction──► upstream      FIN is passed on as FIN after the last byte;
//!  downstream ◄──Direction── upstream      what broke is told to the other side as RST (`close`)
//! ```
//!
//! Urgent bytes are passed on in their place in the stream, as ordinary ones (RFC 6093).

use std::cell::RefCell;
use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tcpforward_protocol::snapshot::Timeouts;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::relay::copy::Direction;
use crate::relay::ending::{Ending, Ends, Next, Side};
use crate::relay::sockets::{Io, broke, pass_fin};

pub mod copy;
pub mod ending;
pub mod sockets;

/// Bytes that one read takes at most, and so what a direction holds at most when its sink is slow.
const SCRATCH_BYTES: usize = 64 << 10;

/// How long a peer may take to read what it was sent, before it learns that the other side broke.
const RESET_LIMIT: Duration = Duration::from_secs(60);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// Where moved bytes are counted; on the way, not at the end.
pub trait Meter {
    /// So many bytes that came from that side have been passed on.
    fn passed(&self, from: Side, bytes: u64);
}

/// How a relay ended: its word, and which side broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The word for it.
    pub ending: Ending,
    /// Whose socket broke; absent: none.
    pub broken: Option<Broken>,
}

/// What the other side of a broken socket has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The side that broke.
    pub side: Side,
    /// It had ended cleanly before, and the other side has been told so.
    pub fin_passed: bool,
    /// When the other side has had enough time to read what came before.
    pub until: Instant,
}

/// A session's two sockets and what is on its way between them.
pub struct Relay<'a, M> {
    downstream: &'a TcpStream,
    upstream: &'a TcpStream,
    up: Option<Direction>,
    down: Option<Direction>,
    ends: Ends,
    timeouts: Timeouts,
    silence: Silence,
    /// For each side that nothing is read from at present, because it has ended cleanly or the
    /// other one is slow: only this tells that it broke.
    watches: [Option<Watch<'a>>; 2],
    /// When the delivery of what a broken side had sent is given up.
    give_up: Option<Pin<Box<Sleep>>>,
    reset_limit: Duration,
    meter: M,
    passed: [u64; 2],
}

type Watch<'a> = Pin<Box<dyn Future<Output = ErrorKind> + Send + 'a>>;

/// When bytes last moved; known only while a timeout asks.
#[derive(Default)]
struct Silence {
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<'a, M: Meter> Relay<'a, M> {
    /// Nothing has moved yet.
    #[must_use]
    pub fn new(
        downstream: &'a TcpStream,
        upstream: &'a TcpStream,
        timeouts: Timeouts,
        meter: M,
    ) -> Self {
        Self {
            downstream,
            upstream,
            up: Some(Direction::default()),
            down: Some(Direction::default()),
            ends: Ends::default(),
            timeouts,
            silence: Silence::default(),
            watches: [None, None],
            give_up: None,
            reset_limit: RESET_LIMIT,
            meter,
            passed: [0; 2],
        }
    }

    /// Bytes passed on from that side.
    #[must_use]
    pub fn passed(&self, from: Side) -> u64 {
        let [down, up] = self.passed;
        match from {
            Side::Downstream => up,
            Side::Upstream => down,
        }
    }

    /// Relays until both directions have ended or something cuts them. Dropping the future cuts
    /// nothing by itself: that is up to who holds the sockets.
    pub async fn run(&mut self) -> Ended {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let before = self.passed;
        for from in [Side::Downstream, Side::Upstream] {
            if let Some(ended) = self.poll_direction(cx, from) {
                return Poll::Ready(ended);
            }
        }
        for side in [Side::Downstream, Side::Upstream] {
            if let Some(ended) = self.poll_watch(cx, side) {
                return Poll::Ready(ended);
            }
        }
        let moved = before != self.passed;
        if let Some(ended) = self.poll_give_up(cx, moved) {
            return Poll::Ready(ended);
        }
        self.poll_silence(cx, moved)
    }

    /// Notices that a side breaks while nothing is read from it.
    fn poll_watch(&mut self, cx: &mut Context<'_>, side: Side) -> Option<Ended> {
        let [down, up] = &mut self.watches;
        let (socket, from, to, watch) = match side {
            Side::Downstream => (self.downstream, &self.up, &mut self.down, down),
            Side::Upstream => (self.upstream, &self.down, &mut self.up, up),
        };
        let is_read = from.as_ref().is_some_and(|from| from.held() == 0);
        if is_read || self.ends.broken().is_some_and(|(broken, _)| broken == side) {
            *watch = None;
            return None;
        }
        let watching = watch.get_or_insert_with(|| Box::pin(broke(socket)));
        let Poll::Ready(kind) = watching.as_mut().poll(cx) else {
            return None;
        };
        *watch = None;
        // Nobody is there any more to read this.
        *to = None;
        let is_delivered = from.is_none();
        self.ends.broke(side, kind);
        let (side, kind) = self.ends.broken().unwrap_or((side, kind));
        is_delivered.then(|| self.broken(side, kind))
    }

    /// Ends a delivery that has not moved for too long. What a broken side had sent is finite.
    fn poll_give_up(&mut self, cx: &mut Context<'_>, moved: bool) -> Option<Ended> {
        let (side, kind) = self.ends.broken()?;
        let limit = self.reset_limit;
        let timer = self
            .give_up
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if moved {
            timer.as_mut().reset(Instant::now() + limit);
        }
        let over = timer.as_mut().poll(cx).is_ready();
        over.then(|| self.broken(side, kind))
    }

    fn poll_direction(&mut self, cx: &mut Context<'_>, from: Side) -> Option<Ended> {
        let (mut source, mut sink, direction) = match from {
            Side::Downstream => (Io(self.downstream), Io(self.upstream), &mut self.up),
            Side::Upstream => (Io(self.upstream), Io(self.downstream), &mut self.down),
        };
        let moving = direction.as_mut()?;
        let polled =
            SCRATCH.with_borrow_mut(|scratch| moving.poll(cx, &mut source, &mut sink, scratch));
        let bytes = moving.take_bytes();
        if polled.is_ready() {
            *direction = None;
        }
        if bytes > 0 {
            let [down, up] = &mut self.passed;
            *(if from == Side::Downstream { up } else { down }) += bytes;
            self.meter.passed(from, bytes);
        }
        let Poll::Ready(ended) = polled else {
            return None;
        };
        match self.ends.judge(from, ended) {
            Next::Broken(side, kind) => Some(self.broken(side, kind)),
            Next::Finished(first) => {
                pass_fin(sink.0);
                Some(Ended {
                    ending: Ending::fin(first),
                    broken: None,
                })
            }
            Next::PassFin(_) => {
                pass_fin(sink.0);
                self.silence = Silence::default();
                None
            }
            Next::Deliver(_) => None,
        }
    }

    fn broken(&self, side: Side, kind: ErrorKind) -> Ended {
        let until = match &self.give_up {
            Some(timer) => timer.deadline(),
            None => Instant::now() + self.reset_limit,
        };
        Ended {
            ending: Ending::broken(side, kind),
            broken: Some(Broken {
                side,
                fin_passed: self.ends.first_fin() == Some(side),
                until,
            }),
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>, moved: bool) -> Poll<Ended> {
        let half_closed = self
            .timeouts
            .half_closed
            .filter(|_| self.ends.half_closed());
        let limits = [
            (self.timeouts.idle, Ending::IdleTimeout),
            (half_closed, Ending::HalfClosedTimeout),
        ];
        let shortest = limits
            .into_iter()
            .filter_map(|(limit, e)| Some((limit?, e)))
            .min();
        let Some((limit, ending)) = shortest else {
            return Poll::Pending;
        };
        let Silence { since, timer } = &mut self.silence;
        if moved || since.is_none() {
            *since = Some(Instant::now());
        }
        let start = since.unwrap_or_else(Instant::now);
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(start + limit)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if start + limit <= Instant::now() {
                return Poll::Ready(Ended {
                    ending,
                    broken: None,
                });
            }
            timer.as_mut().reset(start + limit);
        }
    }
}

#[cfg(test)]
mod tests;
