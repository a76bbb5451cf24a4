//! Edge. From a client's first byte to a tunnel's other end: head, who asks, rules, names, dial.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::head::credentials::Credentials;
use super::head::{self, Read, Request};
use super::path::{self, Reached};
use super::proxy::{Grounds, Identity, Proxy};
use super::refusal::Refusal;
use super::users;
use crate::access_log::Asked;
use crate::channel::Channel;
use crate::dial::queue::Seat;
use crate::relay::ending::Ending;
use crate::relay::sockets::broke;
use crate::served::{Active, Served};
use crate::sessions::Ticket;
use crate::shared::Context;
use crate::socket::{Connection, Stream};

/// Bytes behind the head that are kept until the tunnel is there; what comes later waits in the kernel.
const EARLY_BYTES: usize = 64 << 10;

/// Within so many bytes another protocol is told by any of them. Behind these only the end of a line
/// or too many bytes can decide, and nobody who sends byte by byte makes us read all of it each time:
/// a head has a hundred lines at most.
const BEGINNING: usize = 64;

/// Bytes that are asked for at a time.
const READ_BYTES: usize = 4 << 10;

/// A client of a proxy.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Of which forward.
    pub served: &'a Arc<Served>,
    /// Its configuration when the client came.
    pub active: &'a Active,
    /// The same, compiled.
    pub proxy: &'a Proxy,
    /// On which thread.
    pub context: &'a Context,
    /// Who connected.
    pub source: IpAddr,
    /// When.
    pub accepted: Instant,
}

/// A tunnel that has its other end.
#[derive(Debug)]
pub struct Opened {
    /// The way to it.
    pub channel: Channel,
    /// Its address; absent: a parent proxy alone knows.
    pub address: Option<SocketAddr>,
    /// Attempts to reach one, this one included.
    pub attempts: u32,
    /// The place on a Service's backend; absent: it leads to an address.
    pub seat: Option<Seat>,
    /// What the client has sent behind its request.
    pub early: Vec<u8>,
    /// What counts against the proxy's limits as long as this lives.
    pub place: Place,
}

/// Why there is no tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The client is gone, or has asked for nothing.
    Left(Ending),
    /// The client gets this answer.
    Refused(Refusal),
}

impl From<Refusal> for Closed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Reads a request, behind what was read already, and reaches what it asks for. `asked` tells how far
/// that came, whatever comes of it.
///
/// # Errors
/// There will be no tunnel.
pub async fn open(
    downstream: &Connection,
    early: Vec<u8>,
    client: Client<'_>,
    ticket: &Ticket,
    asked: &mut Asked,
) -> Result<Opened, Closed> {
    let mut bytes = early;
    let request = request(downstream, &mut bytes, client).await?;
    asked.target = Some(request.target.to_string().into());
    let _pending = Pending::new(client)?;
    let early = bytes.split_off(request.length.min(bytes.len()));
    drop(bytes);
    let opened = after_head(downstream, request, early, client, ticket, asked).await;
    if let Err(Closed::Refused(refusal)) = &opened
        && refusal.is_failure()
    {
        let now = Instant::now().into_std();
        client.served.tunnels().failed(client.source, now);
    }
    opened
}

async fn after_head(
    downstream: &Connection,
    request: Request,
    mut early: Vec<u8>,
    client: Client<'_>,
    ticket: &Ticket,
    asked: &mut Asked,
) -> Result<Opened, Closed> {
    let Request {
        target,
        credentials,
        hops,
        ..
    } = request;
    let finding = async {
        let identity = identify(client, credentials).await?;
        asked.subject = identity.as_ref().map(|who| who.subject.to_string().into());
        let place = Place::new(client, identity.as_ref())?;
        let reached = path::reach(client, &target, &hops, identity.as_ref(), asked).await?;
        Ok::<_, Refusal>((identity, place, reached))
    };
    let (identity, place, reached) = tokio::select! {
        found = finding => found?,
        ending = left(downstream, &mut early) => return Err(Closed::Left(ending)),
    };
    let Reached {
        channel,
        address,
        attempts,
        seat,
        way,
    } = reached;
    let grounds = Grounds {
        target,
        identity,
        way,
    };
    if let Some(seat) = &seat {
        client.served.reached(ticket, seat.backend(), seat.since());
    }
    let grounds = ticket.stands_on(grounds);
    // What has changed since is known to nobody who looked before the grounds were told.
    if !client.served.active().upholds(&grounds) {
        return Err(Refusal::Denied.into());
    }
    Ok(Opened {
        channel,
        address,
        attempts,
        seat,
        early,
        place,
    })
}

/// Reads until a head is complete.
async fn request(
    downstream: &Stream,
    bytes: &mut Vec<u8>,
    client: Client<'_>,
) -> Result<Request, Closed> {
    let limits = client.proxy.limits();
    let most = usize::try_from(limits.max_header_size).unwrap_or(usize::MAX);
    let deadline = client.accepted + limits.header_timeout;
    let mut seen = 0;
    loop {
        let is_news = |new: &[u8]| seen < BEGINNING || bytes.len() >= most || new.contains(&b'\n');
        if is_news(bytes.get(seen..).unwrap_or_default()) {
            match head::read(bytes, most) {
                Read::Request(request) => return Ok(request),
                Read::Refused(error) => return Err(Refusal::from(error).into()),
                Read::More => {}
            }
        }
        seen = bytes.len();
        match timeout_at(deadline, read(downstream, bytes)).await {
            Err(_late) => return Err(Refusal::HeaderTimeout.into()),
            Ok(Ok(0)) if bytes.is_empty() => return Err(Closed::Left(Ending::DownstreamFin)),
            Ok(Ok(0)) => return Err(Closed::Left(Ending::HttpRequestError)),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                let ending = Ending::broken(crate::relay::ending::Side::Downstream, error.kind());
                return Err(Closed::Left(ending));
            }
        }
    }
}

/// Adds what the client sends; 0: it sends no more.
async fn read(downstream: &Stream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut scratch = [0; READ_BYTES];
    let n = poll_fn(|cx| downstream.poll_read(cx, &mut scratch)).await?;
    bytes.extend(scratch.get(..n).unwrap_or_default());
    Ok(n)
}

/// Completes when the client has left, and keeps what it sends meanwhile. A client that has sent
/// something behind its request may end its direction: it still waits for the other one.
async fn left(downstream: &Stream, early: &mut Vec<u8>) -> Ending {
    while early.len() < EARLY_BYTES {
        match read(downstream, early).await {
            Ok(0) if early.is_empty() => return Ending::DownstreamFin,
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Ending::DownstreamRst,
        }
    }
    broke(downstream).await;
    Ending::DownstreamRst
}

/// Who asks, if anybody has to say so.
async fn identify(
    client: Client<'_>,
    credentials: Option<Credentials>,
) -> Result<Option<Identity>, Refusal> {
    let Some(known) = client.proxy.users() else {
        return Ok(None);
    };
    let (name, password) = match credentials {
        None => return Err(Refusal::CredentialsMissing),
        Some(Credentials::Unusable) => return Err(Refusal::CredentialsWrong),
        Some(Credentials::Basic { user, password }) => (user, password),
    };
    let checker = &client.context.shared.passwords;
    match checker.check(known, &name, &password).await {
        Ok(subject) => {
            let proof = known.proof(&name).ok_or(Refusal::CredentialsWrong)?;
            let proof = Arc::clone(proof);
            Ok(Some(Identity { subject, proof }))
        }
        Err(users::Refused::Wrong) => Err(Refusal::CredentialsWrong),
        Err(users::Refused::Busy) => Err(Refusal::Busy),
    }
}

/// A request that waits for its answer.
struct Pending<'a>(Client<'a>);

impl<'a> Pending<'a> {
    fn new(client: Client<'a>) -> Result<Self, Refusal> {
        let now = Instant::now().into_std();
        client.served.tunnels().ask(client.source, now)?;
        Ok(Self(client))
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.served.tunnels().answered(self.0.source);
    }
}

/// A tunnel that counts against the limits of its proxy as long as this lives.
#[derive(Debug)]
pub struct Place {
    served: Arc<Served>,
    source: IpAddr,
    identity: Option<Identity>,
}

impl Place {
    fn new(client: Client<'_>, identity: Option<&Identity>) -> Result<Self, Refusal> {
        let subject = identity.map(|identity| &identity.subject);
        client.served.tunnels().enter(client.source, subject)?;
        Ok(Self {
            served: Arc::clone(client.served),
            source: client.source,
            identity: identity.cloned(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let subject = self.identity.as_ref().map(|identity| &identity.subject);
        self.served.tunnels().leave(self.source, subject);
    }
}
