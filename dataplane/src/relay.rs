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
use std::task::{Context, Poll};

use tcpforward_protocol::snapshot::{TcpKeepalive, Timeouts};
use tokio::time::Sleep;

use crate::channel::End;
use crate::relay::copy::Direction;
use crate::relay::ending::{Ending, Side};
use crate::relay::ends::{Ends, Next};
use crate::relay::pipes::Pipe;
use crate::relay::sockets::pass_fin;
use crate::relay::splice::Splice;
use crate::relay::tally::Tally;
use crate::relay::timers::{Alive, Silence};
use crate::relay::turns::{Turns, UsedUp};
use crate::socket::Stream;
use crate::tls::Tls;

mod broken;
mod bulk;
pub mod copy;
mod ended;
pub mod ending;
mod ends;
mod held;
mod limits;
mod pipes;
mod prefix;
mod pulse;
pub mod sockets;
mod splice;
mod tally;
mod timers;
mod turns;

pub use ended::{Broken, Ended};
pub use limits::Limits;
pub use pipes::Pipes;
pub use prefix::Prefix;
pub use splice::Lane;
pub use tally::Meter;

/// Bytes that one read takes at most, and so what a direction holds at most when its sink is slow.
const SCRATCH_BYTES: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
    static TURNS: RefCell<Turns> = RefCell::default();
}

/// A session's two sockets and what is on its way between them.
pub struct Relay<'a, M> {
    downstream: &'a Stream,
    upstream: &'a Stream,
    /// Absent: upstream is spoken to in the clear.
    tls: Option<&'a mut Tls>,
    /// Absent: every byte is copied.
    lane: Option<Lane<'a>>,
    up: Option<Direction<Pipe>>,
    down: Option<Direction<Pipe>>,
    ends: Ends,
    silence: Silence,
    alive: Alive,
    age: Option<Pin<Box<Sleep>>>,
    /// For each side that nothing is read from at present, because it has ended cleanly or the
    /// other one is slow: only this tells that it broke.
    watches: [Option<Watch<'a>>; 2],
    /// When the delivery of what a broken side had sent is given up.
    give_up: Option<Pin<Box<Sleep>>>,
    limits: &'a Limits,
    turn: UsedUp,
    tally: Tally<M>,
}

type Watch<'a> = Pin<Box<dyn Future<Output = ErrorKind> + Send + 'a>>;

impl<'a, M: Meter> Relay<'a, M> {
    /// Nothing has moved yet. Upstream's socket is kept alive if the session lasts.
    #[must_use]
    pub fn new(
        downstream: &'a Stream,
        upstream: &'a Stream,
        timeouts: Timeouts,
        keepalive: TcpKeepalive,
        meter: M,
        prefix: Option<Box<Prefix>>,
    ) -> Self {
        let prefix = prefix.unwrap_or_default();
        let Prefix { header, up, down } = *prefix;
        let tally = Tally::new(meter, header.len());
        Self {
            downstream,
            upstream,
            tls: None,
            lane: None,
            up: Some(Direction::starting_with(&[header, up].concat())),
            down: Some(Direction::starting_with(&down)),
            ends: Ends::default(),
            silence: Silence::new(&timeouts),
            alive: Alive::new(keepalive),
            age: timers::age(timeouts.max_connection_age),
            watches: [None, None],
            give_up: None,
            limits: &Limits::DEFAULT,
            turn: UsedUp::default(),
            tally,
        }
    }

    /// With limits of its own.
    #[must_use]
    pub fn within(mut self, limits: &'a Limits) -> Self {
        self.limits = limits;
        self
    }

    /// With upstream spoken to by TLS, if that is given.
    #[must_use]
    pub fn in_tls(mut self, tls: Option<&'a mut Tls>) -> Self {
        self.tls = tls;
        self
    }

    /// With pipes for what is long.
    #[must_use]
    pub fn by_pipes(mut self, lane: Lane<'a>) -> Self {
        self.lane = Some(lane);
        self
    }

    /// Bytes passed on from that side.
    #[must_use]
    pub fn passed(&self, from: Side) -> u64 {
        self.tally.passed(from)
    }

    /// Relays until both directions have ended or something cuts them. Dropping the future cuts
    /// nothing by itself: that is up to who holds the sockets.
    pub async fn run(&mut self) -> Ended {
        let is_plain = self.tls.is_none();
        let run = std::future::poll_fn(|cx| self.poll(cx));
        if is_plain {
            // Turns are bounded here. The runtime's bound would let what comes first use all of it, and
            // nothing be left for the other direction and the timers.
            tokio::task::coop::unconstrained(run).await
        } else {
            // TLS may have much to read of which nothing is passed on.
            run.await
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let before = self.tally.total();
        let turn = TURNS.with_borrow_mut(|turns| turns.begin(self.turn));
        for from in [Side::Downstream, Side::Upstream] {
            let mut left = turn;
            if let Some(ended) = self.poll_direction(cx, from, &mut left) {
                return Poll::Ready(ended);
            }
            if left == 0 && self.waits_for_no_sink(from) {
                self.turn = TURNS.with_borrow_mut(Turns::use_up);
                poll_after_events(cx);
            }
        }
        if let Some(tls) = &mut self.tls {
            let _ = tls.poll_fin(self.upstream, cx);
        }
        for side in [Side::Downstream, Side::Upstream] {
            if let Some(ended) = self.poll_watch(cx, side) {
                return Poll::Ready(ended);
            }
        }
        let moved = before != self.tally.total();
        if let Some(ended) = self.poll_give_up(cx, moved) {
            return Poll::Ready(ended);
        }
        self.poll_timers(cx, moved).map(Ended::whole)
    }

    fn poll_timers(&mut self, cx: &mut Context<'_>, moved: bool) -> Poll<Ending> {
        let sides = [self.downstream, self.upstream];
        if let Poll::Ready(side) = self.alive.poll(cx, self.limits.dead, sides) {
            return Poll::Ready(Ending::dead(side));
        }
        if let Some(age) = &mut self.age
            && age.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Ending::MaxAge);
        }
        let is_half_closed = self.ends.half_closed();
        self.silence.poll(cx, is_half_closed, moved)
    }

    fn poll_direction(
        &mut self,
        cx: &mut Context<'_>,
        from: Side,
        turn: &mut usize,
    ) -> Option<Ended> {
        let direction = match from {
            Side::Downstream => &mut self.up,
            Side::Upstream => &mut self.down,
        };
        let moving = direction.as_mut()?;
        let (source, sink) = match from {
            Side::Downstream => (self.downstream, self.upstream),
            Side::Upstream => (self.upstream, self.downstream),
        };
        // What is encrypted has to be looked at.
        let lane = self.lane.filter(|_| self.tls.is_none());
        let mut bypass = Splice { source, sink, lane };
        let mut downstream = self.downstream;
        let mut upstream = End::new(self.upstream, self.tls.as_deref_mut());
        let (down, up, by) = (&mut downstream, &mut upstream, &mut bypass);
        let polled = SCRATCH.with_borrow_mut(|scratch| match from {
            Side::Downstream => moving.poll(cx, down, up, by, scratch, turn),
            Side::Upstream => moving.poll(cx, up, down, by, scratch, turn),
        });
        let bytes = moving.take_bytes();
        if polled.is_ready() {
            *direction = None;
        }
        if bytes > 0 {
            self.alive.wrote(from.other());
            self.tally.add(from, bytes);
        }
        let Poll::Ready(ended) = polled else {
            return None;
        };
        match self.ends.judge(from, ended) {
            Next::Broken(side, kind) => Some(self.broken(side, kind)),
            // By `close`, which passes on the last end as well.
            Next::Finished(first) => Some(Ended::whole(Ending::fin(first))),
            Next::PassFin => {
                self.pass_fin(from.other());
                // A FIN is acknowledged as well.
                self.alive.wrote(from.other());
                self.silence.restart();
                None
            }
            Next::Deliver => None,
        }
    }

    /// Whether the direction from there goes on, and holds nothing that its sink has no room for.
    fn waits_for_no_sink(&self, from: Side) -> bool {
        let direction = match from {
            Side::Downstream => &self.up,
            Side::Upstream => &self.down,
        };
        direction.as_ref().is_some_and(|moving| moving.held() == 0)
    }

    /// Tells that side that the other one has ended cleanly.
    fn pass_fin(&mut self, to: Side) {
        match (to, &mut self.tls) {
            (Side::Downstream, _) => pass_fin(self.downstream),
            (Side::Upstream, None) => pass_fin(self.upstream),
            // `poll` and `close` tell it, as soon as there is room.
            (Side::Upstream, Some(tls)) => tls.begin_fin(),
        }
    }
}

/// Has the task polled again once the runtime has looked at sockets and timers. (One that wakes itself comes
/// before that, up to 61 times.)
fn poll_after_events(cx: &mut Context<'_>) {
    let _ = std::pin::pin!(tokio::task::yield_now()).poll(cx);
}

#[cfg(test)]
mod tests;
