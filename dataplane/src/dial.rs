//! Edge. Reaches a backend for a session: another one each time, within attempts and deadline.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::balancer::backend::Backend;
use crate::balancer::request::NoPick;
use crate::channel::Channel;
use crate::relay::ending::Ending;
use crate::served::{Active, DialResult, Served};
use crate::shared::Context;

mod attempt;
pub mod budget;
pub(crate) mod ports;
pub mod queue;
mod race;
#[cfg(test)]
pub(crate) mod silent;

pub use attempt::{Cause, connect, reach};
use queue::{Asker, NoSeat, Seat, Seated};
use race::{Failed, Times};

/// The first pause before the only backend is tried again, and the longest; it doubles.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A session that needs a backend.
#[derive(Clone, Copy, Debug)]
pub struct Dialling<'a> {
    /// Of which forward.
    pub served: &'a Arc<Served>,
    /// Its configuration when the session began.
    pub active: &'a Active,
    /// On which thread.
    pub context: &'a Context,
    /// Who connected.
    pub source: IpAddr,
    /// The one target that will do; absent: any.
    pub target: Option<&'a str>,
    /// How far the port that was connected to is from the first one of the forward's range.
    pub offset: u16,
}

impl<'a> Dialling<'a> {
    fn asker(&self) -> Asker<'a> {
        Asker {
            source: self.source,
            target: self.target,
        }
    }
}

/// A backend that was reached.
#[derive(Debug)]
pub struct Dialled {
    /// The way to it.
    pub channel: Channel,
    /// The session's place on it.
    pub seat: Seat,
    /// Attempts, this one included.
    pub attempts: u32,
    /// How long the session waited for a place.
    pub queued: Duration,
}

/// No backend was reached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// All attempts failed, or the time was over.
    #[error("{attempts} attempts failed, the last to {target} {address}: {cause}")]
    Exhausted {
        /// How many.
        attempts: u32,
        /// Target of the last one.
        target: Arc<str>,
        /// Address of the last one.
        address: SocketAddr,
        /// Why it failed.
        cause: Cause,
    },
    /// There is none to try.
    #[error("no backend takes new sessions")]
    NoBackend,
    /// Those that there are fail their checks, or are ejected.
    #[error("no backend that takes new sessions is healthy")]
    NoneHealthy,
    /// There was no place on any, nor to wait for one.
    #[error("every backend has as many sessions as it may, and too many wait already")]
    QueueFull,
    /// There was no place on any for that long.
    #[error("every backend had as many sessions as it may for {0:?}")]
    QueueTimeout(Duration),
}

impl Error {
    /// How such a session ends.
    #[must_use]
    pub fn ending(&self) -> Ending {
        match self {
            Self::Exhausted { cause, .. } => match cause.result() {
                DialResult::Local => Ending::LocalError,
                DialResult::Parent => Ending::ParentFailed,
                _ => Ending::DialFailed,
            },
            Self::NoBackend => Ending::NoBackend,
            Self::NoneHealthy => Ending::NoHealthyBackend,
            Self::QueueFull => Ending::QueueFull,
            Self::QueueTimeout(_) => Ending::QueueTimeout,
        }
    }

    /// How many were made.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        match self {
            Self::Exhausted { attempts, .. } => *attempts,
            _ => 0,
        }
    }
}

/// Picks and connects until a backend answers.
///
/// # Errors
/// There is no backend, or none was reached in time.
pub async fn dial(dialling: Dialling<'_>) -> Result<Dialled, Error> {
    let limits = dialling.active.forward.spec.relay.dial;
    let mut search = Search::new(dialling);
    loop {
        let seated = search.next().await?;
        search.attempts += 1;
        let is_last = search.attempts >= limits.attempts.get();
        let times = Times {
            timeout: limits.timeout,
            deadline: search.deadline,
            is_last,
        };
        match race::run(dialling, seated, &search.tried, times).await {
            Ok(reached) => {
                return Ok(Dialled {
                    channel: reached.channel,
                    seat: reached.seat,
                    attempts: search.attempts,
                    queued: search.queued,
                });
            }
            Err(failed) => search.failed(failed),
        }
        if is_last || Instant::now() >= search.deadline {
            return Err(search.gave_up(Error::NoBackend));
        }
    }
}

/// What a session knows of its attempts.
struct Search<'a> {
    dialling: Dialling<'a>,
    tried: Vec<Arc<Backend>>,
    attempts: u32,
    /// Why the last one failed.
    failure: Option<Failed>,
    pause: Duration,
    /// Of all attempts; waiting for a place is not part of them.
    deadline: Instant,
    queued: Duration,
}

impl<'a> Search<'a> {
    fn new(dialling: Dialling<'a>) -> Self {
        let limits = dialling.active.forward.spec.relay.dial;
        Self {
            dialling,
            tried: Vec::new(),
            attempts: 0,
            failure: None,
            pause: BACK_OFF.0,
            deadline: Instant::now() + limits.deadline,
            queued: Duration::ZERO,
        }
    }

    /// One that was not tried yet; when there is none, or no place on any, all over again after a
    /// pause.
    async fn next(&mut self) -> Result<Seated, Error> {
        match self.seat().await {
            Err(no_seat) if self.may_return(no_seat) => {}
            seated => return seated.map_err(|no_seat| self.without_seat(no_seat)),
        }
        let pause = self.pause.mul_f64(0.75 + fastrand::f64() / 2.0);
        // An attempt without time would only hide why the last one failed.
        if Instant::now() + pause >= self.deadline {
            return Err(self.gave_up(Error::NoBackend));
        }
        tokio::time::sleep(pause).await;
        self.pause = (self.pause * 2).min(BACK_OFF.1);
        // Beginning with another one than the last, if there is one.
        let last = self.tried.pop();
        self.tried = last.into_iter().collect();
        let mut seated = self.seat().await;
        if seated
            .as_ref()
            .is_err_and(|no_seat| self.may_return(*no_seat))
        {
            self.tried.clear();
            seated = self.seat().await;
        }
        seated.map_err(|no_seat| self.without_seat(no_seat))
    }

    /// Whether those that were tried are the only ones with a place.
    fn may_return(&self, no_seat: NoSeat) -> bool {
        match no_seat {
            NoSeat::NoPick(NoPick::AllTried) => true,
            NoSeat::NoPick(NoPick::AllFull) | NoSeat::Timeout => !self.tried.is_empty(),
            NoSeat::Full | NoSeat::NoPick(NoPick::NoBackend | NoPick::NoneHealthy) => false,
        }
    }

    /// Waits for a place as long as is left of the forward's patience.
    async fn seat(&mut self) -> Result<Seated, NoSeat> {
        let Dialling { served, .. } = self.dialling;
        let start = Instant::now();
        let until = start + self.patience().saturating_sub(self.queued);
        let seated = queue::seat(served, &self.tried, self.dialling.asker(), until).await;
        let waited = start.elapsed();
        self.queued += waited;
        self.deadline += waited;
        seated
    }

    fn patience(&self) -> Duration {
        let limits = self.dialling.active.forward.spec.relay.backend_limits;
        limits.map_or(Duration::ZERO, |limits| limits.queue_timeout)
    }

    fn failed(&mut self, failed: Vec<Failed>) {
        let backends = failed.iter().map(|failed| Arc::clone(&failed.backend));
        self.tried.extend(backends);
        self.failure = failed.into_iter().next_back();
    }

    fn without_seat(&mut self, no_seat: NoSeat) -> Error {
        match no_seat {
            NoSeat::Full => self.gave_up(Error::QueueFull),
            NoSeat::NoPick(NoPick::AllFull) | NoSeat::Timeout => {
                self.gave_up(Error::QueueTimeout(self.queued))
            }
            NoSeat::NoPick(NoPick::NoneHealthy) => self.gave_up(Error::NoneHealthy),
            NoSeat::NoPick(NoPick::AllTried | NoPick::NoBackend) => self.gave_up(Error::NoBackend),
        }
    }

    /// Whatever there is to say beside it, an attempt that failed says more.
    fn gave_up(&mut self, otherwise: Error) -> Error {
        match self.failure.take() {
            None => otherwise,
            Some(Failed { backend, cause }) => Error::Exhausted {
                attempts: self.attempts,
                target: Arc::clone(&backend.target),
                address: backend.address,
                cause,
            },
        }
    }
}

/// The wall clock, because people read it on another host.
pub(crate) fn unix_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "goes into a report as a date")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests;
