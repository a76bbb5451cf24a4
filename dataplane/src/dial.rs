//! Edge. Reaches a backend for a session: another one each time, within attempts and deadline.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tcpforward_protocol::answer::DialError;
use tcpforward_protocol::guard::{self, Forbidden};
use tcpforward_protocol::snapshot::Settings;
use tokio::time::{Instant, timeout_at};

use crate::balancer::backend::{Backend, Occupied};
use crate::balancer::outcome::{Failure, Observed, Outcome};
use crate::balancer::request::{Candidates, NoPick, Picked, Request};
use crate::served::{Active, DialResult, Served};
use crate::shared::{Context, Shared};
use crate::socket::{self, Connection};

/// The first pause before the only backend is tried again; it doubles.
const BACK_OFF: Duration = Duration::from_millis(50);

/// A backend that was reached.
#[derive(Debug)]
pub struct Dialled {
    /// Its socket.
    pub connection: Connection,
    /// The session's place on it.
    pub place: Occupied,
    /// Attempts, this one included.
    pub attempts: u32,
}

/// No backend was reached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none to try.
    #[error("no backend takes new sessions")]
    NoBackend,
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
}

/// Why one attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The guard says no.
    #[error("the address must not be dialled: {0}")]
    Forbidden(#[from] Forbidden),
    /// The kernel says no.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Connected to ourselves, as the kernel does on loopback when nobody listens.
    #[error("nobody listens there")]
    Itself,
    /// One of our own listeners.
    #[error("this data plane itself listens there, so sessions would go in circles")]
    Own,
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl Cause {
    /// What it says of the backend.
    #[must_use]
    pub fn result(&self) -> DialResult {
        use io::ErrorKind::{
            ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut,
        };
        let error = match self {
            Self::Forbidden(_) | Self::Own => DialError::Other,
            Self::Itself => DialError::Refused,
            Self::Timeout(_) => DialError::Timeout,
            Self::Io(error) if socket::is_local(error) => return DialResult::Local,
            Self::Io(error) => match error.kind() {
                ConnectionRefused => DialError::Refused,
                HostUnreachable | NetworkDown | NetworkUnreachable => DialError::Unreachable,
                TimedOut => DialError::Timeout,
                _ => DialError::Other,
            },
        };
        DialResult::Failed(error)
    }
}

/// Picks and connects until a backend answers.
///
/// # Errors
/// There is no backend, or none was reached in time.
pub async fn dial(
    served: &Served,
    active: &Active,
    context: &Context,
    source: IpAddr,
) -> Result<Dialled, Error> {
    let limits = active.forward.spec.relay.dial;
    let start = Instant::now();
    let deadline = start + limits.deadline;
    let mut tried: Vec<Arc<Backend>> = Vec::new();
    let mut pause = BACK_OFF;
    let mut attempts = 0;
    let mut failure = None;
    loop {
        let picked = match pick(served, &tried, source) {
            // An attempt without time would only hide why the last one failed.
            Err(_) if !tried.is_empty() && Instant::now() + pause < deadline => {
                tokio::time::sleep(pause).await;
                pause *= 2;
                // All over again, beginning with another one than the last if there is one.
                let last = tried.pop();
                tried.clear();
                pick(served, last.as_slice(), source).or_else(|_| pick(served, &[], source))
            }
            picked => picked,
        };
        let Ok(picked) = picked else {
            return Err(gave_up(attempts, failure));
        };
        let backend = Arc::clone(picked.place.backend());
        attempts += 1;
        let is_last = attempts >= limits.attempts.get();
        let until = match picked.candidates {
            Candidates::More if !is_last => deadline.min(Instant::now() + limits.timeout),
            Candidates::Last | Candidates::More => deadline,
        };
        let begin = Instant::now();
        let settings = &active.terms.settings;
        let outcome = connect(backend.address, settings, until, &context.shared).await;
        observe(&backend, begin.elapsed(), &outcome, served, context);
        match outcome {
            Ok(connection) => {
                let place = picked.place;
                return Ok(Dialled {
                    connection,
                    place,
                    attempts,
                });
            }
            Err(cause) => {
                failure = Some((Arc::clone(&backend), cause));
                if is_last || Instant::now() >= deadline {
                    return Err(gave_up(attempts, failure));
                }
                tried.push(backend);
            }
        }
    }
}

fn pick(served: &Served, tried: &[Arc<Backend>], source: IpAddr) -> Result<Picked, NoPick> {
    served.pick(&Request {
        tried,
        source,
        now: Instant::now().into_std(),
        priority: None,
    })
}

fn gave_up(attempts: u32, failure: Option<(Arc<Backend>, Cause)>) -> Error {
    match failure {
        None => Error::NoBackend,
        Some((backend, cause)) => Error::Exhausted {
            attempts,
            target: Arc::clone(&backend.target),
            address: backend.address,
            cause,
        },
    }
}

/// One attempt, of a session or of a check: nothing is dialled that the guard forbids or that comes
/// back to us.
pub(crate) async fn connect(
    address: SocketAddr,
    settings: &Settings,
    until: Instant,
    shared: &Shared,
) -> Result<Connection, Cause> {
    guard::check(address.ip(), settings)?;
    if shared.is_own(address) {
        return Err(Cause::Own);
    }
    let socket = socket::upstream(address)?;
    let start = Instant::now();
    let stream = timeout_at(until, socket.connect(address))
        .await
        .map_err(|_| Cause::Timeout(until - start))??;
    let is_itself = address.ip().is_loopback() && stream.local_addr()? == stream.peer_addr()?;
    let connection = Connection::new(stream);
    if is_itself {
        Err(Cause::Itself)
    } else {
        Ok(connection)
    }
}

fn observe(
    backend: &Arc<Backend>,
    connect: Duration,
    outcome: &Result<Connection, Cause>,
    served: &Served,
    context: &Context,
) {
    let result = outcome
        .as_ref()
        .map_or_else(Cause::result, |_| DialResult::Reached);
    served.dialled(context.worker, result);
    let learned = match (result, outcome) {
        (DialResult::Failed(reason), Err(cause)) => {
            let message = cause.to_string();
            tracing::debug!(forward = %served.name, target = %backend.target,
                address = %backend.address, cause = %message, "a dial failed");
            Outcome::DialFailed(Failure {
                reason,
                message,
                at_ms: unix_ms(),
            })
        }
        (DialResult::Reached, _) => Outcome::Reached { connect },
        _ => return,
    };
    if served.observe(backend, learned, Instant::now().into_std()) == Observed::Changed {
        context.shared.news.notify_one();
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
