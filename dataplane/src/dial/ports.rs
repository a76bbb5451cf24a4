//! Edge. Dials to addresses to which this host has few ports left: not all the time.
//!
//! `connect` looks for a port of ours, and where nearly all are in use, or rest in `TIME_WAIT`, it looks at each
//! (`__inet_hash_connect`): 14 ms for the kernel's 28,000. Its thread does nothing else meanwhile, so a flood of
//! new sessions would hold up all those that are open, for as long as it lasts.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, sleep_until};

use crate::socket;

/// A call that takes longer looks for a port, or its thread had to wait for the processor.
const SLOW: Duration = Duration::from_millis(1);

/// Behind a search come so many times its length for everything else that the thread has to do.
const PAUSE: u32 = 4;

/// But at most that.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// So long after the last search an address is one as any other, if there are not many.
const KEPT: Duration = Duration::from_secs(1);

/// Addresses that a thread knows of at most: clients of a CONNECT proxy name as many as they like. Others are dialled
/// as if nothing were known of them.
const MOST: usize = 256;

/// How long a dial waits for its turn: it is better off with another backend, or later.
const PATIENCE: Duration = Duration::from_secs(1);

thread_local! {
    static MINE: RefCell<Scarce> = RefCell::default();
}

/// What a thread knows of addresses to which there are few ports.
#[derive(Debug, Default)]
struct Scarce {
    addresses: HashMap<SocketAddr, Known>,
    /// When this thread may search again, for whichever of them.
    next: Option<Instant>,
}

/// The latest call that took long.
#[derive(Clone, Copy, Debug)]
struct Known {
    at: Instant,
    /// Whether it took processor time: a search, if not the packets of others that the kernel handled meanwhile.
    is_scarce: bool,
}

impl Known {
    /// Whether it still counts, among so many that are known. One that is scarce has its turn before that is over.
    fn counts(self, among: usize, now: Instant) -> bool {
        let turns = match self.is_scarce {
            true => u32::try_from(among).unwrap_or(u32::MAX),
            false => 0,
        };
        self.at + KEPT.max(LONGEST_PAUSE.saturating_mul(turns)) > now
    }
}

/// The turn of a dial doesn't come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoTurn;

/// Waits until this thread may dial that address, which is at once nearly always; for at most half of the time
/// until `until`, so that the rest is left for the answer.
pub(super) async fn turn(
    address: SocketAddr,
    until: Instant,
    waits: &AtomicU64,
) -> Result<(), NoTurn> {
    let Some(mut next) = held_until(address) else {
        return Ok(());
    };
    waits.fetch_add(1, Ordering::Relaxed);
    let now = Instant::now();
    let latest = now + PATIENCE.min(until.saturating_duration_since(now) / 2);
    while next <= latest {
        sleep_until(next).await;
        match held_until(address) {
            // Another dial was faster.
            Some(later) => next = later,
            None => return Ok(()),
        }
    }
    Err(NoTurn)
}

/// Does a call that connects to that address, and learns from how long it takes.
pub(super) fn timed<T>(address: SocketAddr, call: impl FnOnce() -> T) -> T {
    let address = socket::canonical(address);
    if is_known(address) {
        // That the thread had to wait is no search. To ask costs two system calls, so not everybody does.
        let start = thread_time();
        let called = call();
        learn(address, thread_time().saturating_sub(start));
        return called;
    }
    let start = Instant::now();
    let called = call();
    if start.elapsed() > SLOW {
        suspect(address);
    }
    called
}

/// Whether a dial to that address would have to wait.
pub(super) fn is_held(address: SocketAddr) -> bool {
    held_until(address).is_some()
}

fn held_until(address: SocketAddr) -> Option<Instant> {
    MINE.with_borrow(|mine| {
        if mine.addresses.is_empty() {
            return None;
        }
        let known = mine.addresses.get(&socket::canonical(address))?;
        let now = Instant::now();
        let is_short = known.is_scarce && known.counts(mine.addresses.len(), now);
        mine.next.filter(|next| is_short && *next > now)
    })
}

fn is_known(address: SocketAddr) -> bool {
    MINE.with_borrow(|mine| mine.addresses.contains_key(&address))
}

fn suspect(address: SocketAddr) {
    tracing::debug!(%address, "a connect took long: few ports may be left to this address");
    let at = Instant::now();
    let is_scarce = false;
    MINE.with_borrow_mut(|mine| {
        let among = mine.addresses.len();
        mine.addresses.retain(|_, known| known.counts(among, at));
        if mine.addresses.len() < MOST {
            mine.addresses.insert(address, Known { at, is_scarce });
        }
    });
}

fn learn(address: SocketAddr, took: Duration) {
    let at = Instant::now();
    MINE.with_borrow_mut(|mine| {
        if took > SLOW {
            let is_scarce = true;
            mine.addresses.insert(address, Known { at, is_scarce });
            mine.next = Some(at + (took * PAUSE).min(LONGEST_PAUSE));
        } else {
            let among = mine.addresses.len();
            let is_over = |known: &Known| !known.counts(among, at);
            if mine.addresses.get(&address).is_some_and(is_over) {
                mine.addresses.remove(&address);
            }
        }
    });
}

/// Whether this thread would have to wait with a dial to any address that is short of ports.
pub(super) fn is_pausing() -> bool {
    MINE.with_borrow(|mine| mine.next.is_some_and(|next| next > Instant::now()))
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Never negative.
    Duration::try_from(time).unwrap_or_default()
}

/// As after a search, with a pause of that length.
#[cfg(test)]
pub(super) fn hold(address: SocketAddr, pause: Duration) {
    learn(address, SLOW * 2);
    MINE.with_borrow_mut(|mine| mine.next = Some(Instant::now() + pause));
}

#[cfg(test)]
mod tests;
