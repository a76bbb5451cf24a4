//! Edge. Reaches one of the addresses that a tunnel may lead to, as RFC 8305 says.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use rustix::io::Errno;
use tcpforward_protocol::answer::DialError;
use tcpforward_protocol::snapshot::{Origin, Settings, TcpOptions};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::dial::{self, Cause};
use crate::served::DialResult;
use crate::shared::Shared;
use crate::socket::Connection;

/// How long an attempt is the latest before the next one joins it (RFC 8305 §5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Addresses that are tried at all: a name with more doesn't make a client wait for all of them.
const MOST: usize = 8;

/// Attempts at a time, each with a socket.
const AT_A_TIME: usize = 4;

/// An address that answered.
#[derive(Debug)]
pub struct Reached {
    /// Its socket.
    pub connection: Connection,
    /// Which one.
    pub address: SocketAddr,
    /// Attempts, this one included.
    pub attempts: u32,
}

/// None was reached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// All attempts failed, or the time was over.
    #[error("{attempts} attempts failed, that to {address} says most: {cause}")]
    Exhausted {
        /// How many.
        attempts: u32,
        /// Of the one whose cause says most.
        address: SocketAddr,
        /// Why it failed.
        cause: Cause,
    },
    /// There is none to try.
    #[error("no address to connect to")]
    NoAddress,
}

/// Connects to the addresses one after the other, IPv6 and IPv4 by turns, each in the order given.
/// The next one doesn't wait for the one before to fail, but for 250 ms. The first answer wins, and
/// the other sockets are closed before a byte; so are all of them when this is dropped.
///
/// The session's own descriptor is for one attempt. Without room for more, or with too many
/// at a time already, one that has had its part of the time makes room for the next.
///
/// # Errors
/// None was reached by then.
pub async fn race(
    addresses: &[SocketAddr],
    settings: &Settings,
    tcp: &TcpOptions,
    deadline: Instant,
    shared: &Shared,
) -> Result<Reached, Error> {
    let mut race = Race::new(order(addresses), settings, tcp, deadline, shared);
    let mut due = Instant::now();
    loop {
        if due <= Instant::now() {
            race.start_next();
            due = Instant::now() + ATTEMPT_DELAY;
        }
        if race.running.is_empty() {
            return Err(race.lost());
        }
        tokio::select! {
            biased;
            (address, outcome) = race.outcome() => match outcome {
                Ok(connection) => {
                    let attempts = race.attempts;
                    return Ok(Reached { connection, address, attempts });
                }
                Err(cause) => {
                    race.failed.push((address, cause));
                    due = Instant::now();
                }
            },
            () = tokio::time::sleep_until(due), if !race.waiting.is_empty() => {}
        }
    }
}

struct Race<'a> {
    waiting: VecDeque<SocketAddr>,
    /// The oldest one first.
    running: Vec<Attempt<'a>>,
    failed: Vec<(SocketAddr, Cause)>,
    attempts: u32,
    /// Each one's part of the time.
    part: Duration,
    settings: &'a Settings,
    tcp: &'a TcpOptions,
    deadline: Instant,
    shared: &'a Shared,
}

struct Attempt<'a> {
    address: SocketAddr,
    start: Instant,
    connecting: Pin<Box<dyn Future<Output = Result<Connection, Cause>> + Send + 'a>>,
    room: Room,
}

/// What an attempt's socket is open by.
enum Room {
    Extra { _permit: OwnedSemaphorePermit },
    OfSession,
}

impl<'a> Race<'a> {
    fn new(
        waiting: VecDeque<SocketAddr>,
        settings: &'a Settings,
        tcp: &'a TcpOptions,
        deadline: Instant,
        shared: &'a Shared,
    ) -> Self {
        let time = deadline.saturating_duration_since(Instant::now());
        let count = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
        Self {
            waiting,
            running: Vec::new(),
            failed: Vec::new(),
            attempts: 0,
            part: time.checked_div(count).unwrap_or_default(),
            settings,
            tcp,
            deadline,
            shared,
        }
    }

    fn start_next(&mut self) {
        let start = Instant::now();
        // Before the deadline only, but one always is: else nothing could be said of any.
        if start >= self.deadline && self.attempts > 0 {
            self.waiting.clear();
        }
        let Some(&address) = self.waiting.front() else {
            return;
        };
        let Some(room) = self.room(start) else { return };
        let (settings, tcp) = (self.settings, self.tcp);
        let (until, shared) = (self.deadline, self.shared);
        self.waiting.pop_front();
        self.attempts += 1;
        self.running.push(Attempt {
            address,
            start,
            connecting: Box::pin(dial::connect(
                address,
                Origin::Author,
                settings,
                tcp,
                until,
                shared,
            )),
            room,
        });
    }

    fn room(&mut self, now: Instant) -> Option<Room> {
        let is_of_session = |attempt: &Attempt<'_>| matches!(attempt.room, Room::OfSession);
        if !self.running.iter().any(is_of_session) {
            return Some(Room::OfSession);
        }
        if self.running.len() < AT_A_TIME
            && let Some(permit) = self.shared.try_descriptors(1)
        {
            return Some(Room::Extra { _permit: permit });
        }
        let has_had_its_part =
            |attempt: &Attempt<'_>| now.saturating_duration_since(attempt.start) >= self.part;
        let oldest = self.running.iter().position(has_had_its_part)?;
        let Attempt {
            address,
            start,
            connecting,
            room,
        } = self.running.remove(oldest);
        drop(connecting);
        let cause = Cause::Timeout(now.saturating_duration_since(start));
        self.failed.push((address, cause));
        Some(room)
    }

    /// Of the next attempt that has one; of two that lie in the kernel, that of the older one.
    async fn outcome(&mut self) -> (SocketAddr, Result<Connection, Cause>) {
        let running = &mut self.running;
        poll_fn(|context| {
            for (i, attempt) in running.iter_mut().enumerate() {
                if let Poll::Ready(outcome) = attempt.connecting.as_mut().poll(context) {
                    return Poll::Ready((running.remove(i).address, outcome));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// The cause that says most, and of several the last.
    fn lost(self) -> Error {
        let attempts = self.attempts;
        let most = self.failed.into_iter().max_by_key(|(_, cause)| rank(cause));
        most.map_or(Error::NoAddress, |(address, cause)| Error::Exhausted {
            attempts,
            address,
            cause,
        })
    }
}

/// How much a cause says of why the tunnel leads nowhere. That this host can't use one family of
/// addresses says less than that nobody answers on the other one.
fn rank(cause: &Cause) -> u8 {
    match (cause, cause.result()) {
        (Cause::Own, _) => 5,
        (Cause::Forbidden(_), _) => 0,
        (Cause::Io(error), _) if has_no_route(error) => 1,
        (_, DialResult::Failed(DialError::Refused)) => 4,
        (_, DialResult::Failed(DialError::Timeout)) => 2,
        (_, DialResult::Local) => 1,
        _ => 3,
    }
}

fn has_no_route(error: &std::io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NETUNREACH | Errno::AFNOSUPPORT))
}

/// IPv6 and IPv4 by turns, each address once.
fn order(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let mut v6 = addresses.iter().filter(|address| address.is_ipv6());
    let mut v4 = addresses.iter().filter(|address| address.is_ipv4());
    let mut ordered = VecDeque::new();
    loop {
        let turn = [v6.next(), v4.next()];
        if turn == [None, None] || ordered.len() >= MOST {
            ordered.truncate(MOST);
            return ordered;
        }
        for address in turn.into_iter().flatten() {
            if !ordered.contains(address) {
                ordered.push_back(*address);
            }
        }
    }
}

#[cfg(test)]
mod tests;
