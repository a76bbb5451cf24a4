//! Edge. One check of one backend, on a fresh connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tcpforward_protocol::answer::DialError;
use tcpforward_protocol::snapshot::{
    ActiveCheck, Origin, Probe, ProxyVersion, Settings, TcpOptions,
};
use tokio::time::{Instant, timeout_at};

use super::expect::{Expect, Verdict};
use super::http;
use crate::balancer::outcome::{Failure, Outcome};
use crate::dial::{self, Cause};
use crate::parent::Parent;
use crate::proxy_protocol;
use crate::served::DialResult;
use crate::shared::Shared;
use crate::socket;

/// What is read at a time.
const SCRATCH: usize = 1 << 10;

/// Descriptors of a check: its socket.
const PER_CHECK: u32 = 1;

/// What is checked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) active: Arc<ActiveCheck>,
    /// The header that sessions send as well.
    pub(super) proxy_protocol: Option<ProxyVersion>,
    /// Where: the backend's own, perhaps with another port.
    pub(super) address: SocketAddr,
    /// Who says so.
    pub(super) origin: Origin,
    /// What may be dialled.
    pub(super) settings: Settings,
    /// Of its socket, as sessions have them.
    pub(super) tcp: TcpOptions,
    /// Through whom, as sessions go.
    pub(super) parent: Option<Arc<Parent>>,
}

/// Why a check did not pass.
enum Trouble {
    /// The backend's fault.
    Failed(DialError, String),
    /// Of this process or host, which says nothing about the backend.
    Ours,
}

/// Runs it to its end, at most for its timeout. None: it could not be made.
pub(super) async fn run(check: &Check, shared: &Shared) -> Option<Outcome> {
    let _permit = shared.try_descriptors(PER_CHECK)?;
    let until = Instant::now() + check.active.timeout;
    let mut expect = Expect::new(&check.active.probe);
    let talked = timeout_at(until, talk(check, &mut expect, until, shared)).await;
    let timeout = check.active.timeout;
    let (reason, message) = match talked {
        Ok(Ok(())) => return Some(Outcome::CheckPassed),
        Ok(Err(Trouble::Ours)) => return None,
        Ok(Err(Trouble::Failed(reason, message))) => (reason, message),
        Err(_) => {
            let got = expect.got();
            let message = format!("connected, but no right answer within {timeout:?}: {got}");
            (DialError::Timeout, message)
        }
    };
    Some(Outcome::CheckFailed(Failure {
        reason,
        message: format!("the check failed: {message}"),
        at_ms: dial::unix_ms(),
    }))
}

async fn talk(
    check: &Check,
    expect: &mut Expect<'_>,
    until: Instant,
    shared: &Shared,
) -> Result<(), Trouble> {
    let parent = check.parent.as_deref().map(Parent::alone);
    let settings = &check.settings;
    let (address, origin, tcp) = (check.address, check.origin, &check.tcp);
    let mut channel = dial::reach(address, origin, parent, settings, tcp, until, shared).await?;
    let mut request = match check.proxy_protocol {
        Some(version) => proxy_protocol::encode(version, None, None),
        None => Vec::new(),
    };
    match &check.active.probe {
        Probe::Http(http) => request.extend(http::request(http, check.address).bytes()),
        Probe::Tcp(tcp) => request.extend(&tcp.send),
    }
    let written = channel.write_all(&request).await;
    written.map_err(|error| broken(&error, expect))?;
    let mut verdict = expect.begin();
    let mut scratch = [0; SCRATCH];
    while verdict == Verdict::More {
        let read = channel.read(&mut scratch).await;
        let length = read.map_err(|error| broken(&error, expect))?;
        if length == 0 {
            let message = format!(
                "it closed the connection before the right answer: {}",
                expect.got()
            );
            return Err(Trouble::Failed(DialError::Unexpected, message));
        }
        verdict = expect.add(scratch.get(..length).unwrap_or_default());
    }
    match verdict {
        Verdict::Failed(message) => Err(Trouble::Failed(DialError::Unexpected, message)),
        Verdict::More | Verdict::Passed => {
            // Not by a reset: many servers log one as an error of a client.
            channel.finish().await;
            Ok(())
        }
    }
}

fn broken(error: &io::Error, expect: &Expect<'_>) -> Trouble {
    if socket::is_local(error) {
        return Trouble::Ours;
    }
    let reason = match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => DialError::Reset,
        io::ErrorKind::TimedOut => DialError::Timeout,
        _ => DialError::Other,
    };
    Trouble::Failed(reason, format!("{error}: {}", expect.got()))
}

impl From<Cause> for Trouble {
    fn from(cause: Cause) -> Self {
        match cause.result() {
            DialResult::Failed(reason) => Self::Failed(reason, cause.to_string()),
            DialResult::Local | DialResult::Parent | DialResult::Reached => Self::Ours,
        }
    }
}
