//! Edge. One attempt to connect, and why it can fail.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tcpforward_protocol::answer::DialError;
use tcpforward_protocol::guard::{self, Forbidden};
use tcpforward_protocol::snapshot::{Origin, Settings, TcpOptions};
use tokio::time::{Instant, timeout_at};

use crate::channel::Channel;
use crate::connect::target::Target;
use crate::dial::ports::{self, NoTurn};
use crate::parent::Chain;
use crate::parent::trouble::Trouble;
use crate::served::DialResult;
use crate::shared::Shared;
use crate::socket::{self, Connection};

/// A timer that is noticed so much later says that this host had no time for us, and nothing of
/// whoever was waited for: its answer may lie in the kernel.
const LATE: Duration = Duration::from_millis(100);

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
    /// The end of the time was noticed too late to say anything.
    #[error("this data plane was {0:?} late to look for the answer: it needs more processor time")]
    Late(Duration),
    /// The offset within a range of ports leads beyond the last port.
    #[error("there is no port {0}: listener.endPort is too far from listener.port")]
    NoPort(u32),
    /// No answer for so long, while another one has answered.
    #[error("no answer within {0:?}, another backend was faster")]
    Outraced(Duration),
    /// Searches for ports take all the time that they may.
    #[error(
        "this host has few ports left to the address, and other dials came first: it needs a wider net.ipv4.ip_local_port_range, or the target more addresses"
    )]
    NoTurn,
    /// One of our own listeners.
    #[error("this data plane itself listens there, so sessions would go in circles")]
    Own,
    /// The parent proxy didn't lead there.
    #[error(transparent)]
    Parent(#[from] Trouble),
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
            Self::Forbidden(_) | Self::NoPort(_) | Self::Own => DialError::Other,
            Self::Itself => DialError::Refused,
            Self::Late(_) | Self::NoTurn => return DialResult::Local,
            Self::Parent(trouble) => return trouble.result(),
            Self::Outraced(_) | Self::Timeout(_) => DialError::Timeout,
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

    /// Whether it says something of the backend's health, after a dial of the port that is so far
    /// from its first one. A range may well have ports where nobody listens, and a client who knocks
    /// at each of them must not get anybody ejected.
    pub(super) fn tells_of_backend(&self, offset: u16) -> bool {
        match (self, self.result()) {
            (Self::NoPort(_), _) => false,
            (_, DialResult::Local | DialResult::Parent | DialResult::Reached) => false,
            (_, DialResult::Failed(error)) => offset == 0 || error != DialError::Refused,
        }
    }

    /// It was told to answer by `due`, and that the time was over is known since `noticed`; by now
    /// another one has answered.
    pub(super) fn outraced(start: Instant, due: Instant, noticed: Instant, now: Instant) -> Self {
        match Self::no_answer(start, due, noticed) {
            Self::Timeout(_) => Self::Outraced(now.saturating_duration_since(start)),
            late => late,
        }
    }

    /// Nobody answered until then, which is known only now.
    pub(crate) fn no_answer(start: Instant, until: Instant, now: Instant) -> Self {
        let late = now.saturating_duration_since(until);
        if late > LATE {
            Self::Late(late)
        } else {
            Self::Timeout(until.saturating_duration_since(start))
        }
    }
}

/// One attempt, of a session or of a check, at an address that `origin` says: nothing is dialled that
/// the guard forbids or that comes back to us.
pub async fn connect(
    address: SocketAddr,
    origin: Origin,
    settings: &Settings,
    tcp: &TcpOptions,
    until: Instant,
    shared: &Shared,
) -> Result<Connection, Cause> {
    guard::check_of(origin, address.ip(), settings)?;
    if shared.is_own(address) {
        return Err(Cause::Own);
    }
    let has_turn = ports::turn(address, until, &shared.port_waits).await;
    has_turn.map_err(|NoTurn| Cause::NoTurn)?;
    let start = Instant::now();
    let stream = ports::timed(address, || socket::connect(address, tcp))?;
    timeout_at(until, stream.connected())
        .await
        .map_err(|_| Cause::no_answer(start, until, Instant::now()))??;
    let is_itself = address.ip().is_loopback() && stream.local_addr()? == address;
    let connection = Connection::new(stream);
    if is_itself {
        Err(Cause::Itself)
    } else {
        Ok(connection)
    }
}

/// The same, through a parent proxy if there is one. It leads nowhere where we would not go ourselves.
pub async fn reach(
    address: SocketAddr,
    origin: Origin,
    through: Option<Chain<'_>>,
    settings: &Settings,
    tcp: &TcpOptions,
    until: Instant,
    shared: &Shared,
) -> Result<Channel, Cause> {
    let Some(chain) = through else {
        let connection = connect(address, origin, settings, tcp, until, shared).await?;
        return Ok(connection.into());
    };
    guard::check_of(origin, address.ip(), settings)?;
    if shared.is_own(address) {
        return Err(Cause::Own);
    }
    let target = Target::from(address);
    // In a box, so that those who go directly don't carry it.
    let opened = Box::pin(chain.open(&target, settings, tcp, until, shared)).await;
    Ok(opened?)
}

/// A backend's address for a client of the port that is so far from the first one of its range.
pub(super) fn moved(address: SocketAddr, offset: u16) -> Result<SocketAddr, Cause> {
    match address.port().checked_add(offset) {
        Some(port) => Ok(SocketAddr::new(address.ip(), port)),
        None => Err(Cause::NoPort(u32::from(address.port()) + u32::from(offset))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_is_noticed_late_says_nothing_of_the_backend() {
        let start = Instant::now();
        let until = start + Duration::from_secs(1);
        let result = |late| Cause::no_answer(start, until, until + late).result();
        let timeout = DialResult::Failed(DialError::Timeout);
        assert_eq!(result(LATE), timeout);
        assert_eq!(result(LATE + Duration::from_millis(1)), DialResult::Local);
    }

    #[test]
    fn a_race_that_began_late_says_nothing_of_who_lost_it() {
        let start = Instant::now();
        let due = start + Duration::from_millis(250);
        let lost = |late| Cause::outraced(start, due, due + late, due + late * 2);
        let timeout = DialResult::Failed(DialError::Timeout);
        assert_eq!(lost(LATE).result(), timeout);
        assert!(lost(LATE).to_string().contains("within 450ms, another"));
        let late = lost(LATE + Duration::from_millis(1));
        assert_eq!(late.result(), DialResult::Local);
    }

    #[test]
    fn want_of_a_local_port_says_nothing_of_the_backend() {
        let error = io::Error::from(rustix::io::Errno::ADDRNOTAVAIL);
        assert_eq!(Cause::from(error).result(), DialResult::Local);
    }

    #[test]
    fn a_backend_s_port_moves_as_far_as_there_are_ports() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let near = moved(address("10.0.0.1:65530"), 5).unwrap();
        assert_eq!(near, address("10.0.0.1:65535"));
        let far = moved(address("[fd00::1]:65530"), 6).unwrap_err();
        assert!(far.to_string().contains("no port 65536"), "{far}");
    }
}
