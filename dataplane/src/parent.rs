//! Edge. Out through a parent proxy: one of its addresses, TLS if it wants that, CONNECT, its answer.
//!
//! Nothing of a client's is sent before the parent has said yes, and what it sends behind that is
//! kept for the client.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tcpforward_protocol::snapshot::{Settings, TcpOptions, Via, ViaScheme};
use tokio::time::{Instant, timeout_at};

use crate::channel::Channel;
use crate::connect::hops::{self, Hops};
use crate::connect::race;
use crate::connect::target::Target;
use crate::dial::Cause;
use crate::parent::answer::Read;
use crate::parent::trouble::Trouble;
use crate::served::DialResult;
use crate::shared::Shared;
use crate::tls::{self, Tls};

pub mod answer;
pub mod trouble;

/// What is read of an answer at a time.
const SCRATCH: usize = 1 << 10;

/// A parent proxy, ready to be asked.
pub struct Parent {
    via: Via,
    /// Absent: in the clear. Who can't be trusted because of what we were told is asked nothing.
    tls: Option<Result<Trust, String>>,
    /// What we call ourselves before it, so that a request that comes back is known.
    name: String,
}

/// A parent proxy, and those that the request has been through on its way to us.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    parent: &'a Parent,
    /// Absent: nobody asks us, the way is for ourselves.
    hops: Option<&'a Hops>,
}

/// Who it has to prove to be, and by whose word.
#[derive(Clone)]
struct Trust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Parent {
    /// Compiles what TLS needs.
    #[must_use]
    pub fn new(via: &Via) -> Self {
        let tls = match via.scheme {
            ViaScheme::Http => None,
            ViaScheme::Https => Some(trust(via)),
        };
        Self {
            via: via.clone(),
            tls,
            name: format!("tcpforward-{:016x}", fastrand::u64(..)),
        }
    }

    /// For a request that has been through those.
    #[must_use]
    pub fn after<'a>(&'a self, hops: &'a Hops) -> Chain<'a> {
        let hops = Some(hops);
        Chain { parent: self, hops }
    }

    /// For ourselves.
    #[must_use]
    pub fn alone(&self) -> Chain<'_> {
        let hops = None;
        Chain { parent: self, hops }
    }

    /// Whether it is what would be made of that.
    #[must_use]
    pub fn is_of(&self, via: &Via) -> bool {
        self.via == *via
    }

    /// The same, knowing its addresses. One that is reached and breaks before it answers is none.
    async fn open_at(
        &self,
        ips: &[IpAddr],
        request: &str,
        settings: &Settings,
        tcp: &TcpOptions,
        until: Instant,
        shared: &Shared,
    ) -> Result<Channel, Trouble> {
        let port = self.via.port.get();
        let mut left: Vec<_> = ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        let mut earlier = None;
        loop {
            let reached = match race::race(&left, settings, tcp, until, shared).await {
                Ok(reached) => reached,
                Err(error) => return Err(earlier.unwrap_or_else(|| unreached(error))),
            };
            let address = reached.address;
            match self.ask(reached, request, until).await {
                Err(trouble) if trouble.is_of_address() => {
                    tracing::debug!(parent = %address, cause = %trouble,
                        "an address of a parent proxy leads nowhere");
                    left.retain(|other| *other != address);
                    if left.is_empty() {
                        return Err(trouble);
                    }
                    earlier = Some(trouble);
                }
                asked => return asked,
            }
        }
    }

    async fn ask(
        &self,
        reached: race::Reached,
        request: &str,
        until: Instant,
    ) -> Result<Channel, Trouble> {
        let start = Instant::now();
        let asking = async {
            let tls = match self.tls.clone() {
                None => None,
                Some(trust) => {
                    let Trust { config, name } = trust.map_err(Trouble::Setup)?;
                    Some(Tls::connect(&reached.connection, config, name).await?)
                }
            };
            let mut channel = Channel::through(reached.connection, reached.address, tls);
            let closed = |error: std::io::Error| Trouble::Closed(error.to_string());
            let written = channel.write_all(request.as_bytes()).await;
            written.map_err(closed)?;
            let mut answer = Vec::new();
            let mut scratch = [0; SCRATCH];
            loop {
                let n = channel.read(&mut scratch).await.map_err(closed)?;
                answer.extend(scratch.get(..n).unwrap_or_default());
                match answer::read(&answer) {
                    Read::Established { length } => {
                        channel.set_early(answer.split_off(length.min(answer.len())));
                        return Ok(channel);
                    }
                    Read::More if n == 0 => return Err(Trouble::Closed("a clean end".to_owned())),
                    Read::More => {}
                    Read::NotAnAnswer(why) => return Err(why.into()),
                    Read::Refused(status) => return Err(Trouble::Refused(status)),
                }
            }
        };
        let asked = timeout_at(until, asking).await;
        asked.unwrap_or_else(|_| {
            let time = until.saturating_duration_since(start);
            Err(late(start, until, |_| Trouble::Silent(time)))
        })
    }
}

impl Chain<'_> {
    /// A way to the target, by then.
    ///
    /// # Errors
    /// The parent was not reached, or doesn't lead there.
    pub async fn open(
        self,
        target: &Target,
        settings: &Settings,
        tcp: &TcpOptions,
        until: Instant,
        shared: &Shared,
    ) -> Result<Channel, Trouble> {
        let parent = self.parent;
        if let Some(why) = &parent.via.unusable {
            return Err(Trouble::Setup(format!(
                "the parent proxy is not asked: {why}"
            )));
        }
        self.check()?;
        let request = self.request(target);
        let start = Instant::now();
        let found = timeout_at(until, shared.names.lookup(&parent.via.host)).await;
        let ips = found.map_err(|_| late(start, until, Trouble::Unreached))??;
        parent
            .open_at(&ips, &request, settings, tcp, until, shared)
            .await
    }

    /// A request that goes in a circle would never stop.
    fn check(self) -> Result<(), Trouble> {
        let Some(hops) = self.hops else {
            return Ok(());
        };
        match hops.count() {
            _ if hops.contains(&self.parent.name) => Err(Trouble::Circle),
            n if n >= hops::MOST => Err(Trouble::TooManyHops(n)),
            _ => Ok(()),
        }
    }

    fn request(self, target: &Target) -> String {
        let Parent { via, name, .. } = self.parent;
        let authorization = via.credentials.as_ref().map_or_else(String::new, |login| {
            let pair = STANDARD.encode(format!("{}:{}", login.user, login.password));
            format!("Proxy-Authorization: Basic {pair}\r\n")
        });
        let through = self
            .hops
            .map_or_else(String::new, |hops| format!("Via: {}\r\n", hops.and(name)));
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{through}{authorization}\r\n")
    }
}

/// By what it was made of.
impl PartialEq for Parent {
    fn eq(&self, other: &Self) -> bool {
        self.via == other.via
    }
}

impl Eq for Parent {}

/// Without secrets, and without all the certificates.
impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parent = f.debug_struct("Parent");
        parent.field("via", &self.via).finish_non_exhaustive()
    }
}

fn trust(via: &Via) -> Result<Trust, String> {
    let config = tls::config(via.ca.as_deref());
    let config =
        config.map_err(|why| format!("the CA of the parent proxy can't be used: {why}"))?;
    let host = via.host.strip_suffix('.').unwrap_or(&via.host);
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|why| format!("the name of the parent proxy is none: {why}"))?;
    Ok(Trust { config, name })
}

fn unreached(error: race::Error) -> Trouble {
    let text = error.to_string();
    match error {
        race::Error::NoAddress => Trouble::Unreached(text),
        race::Error::Exhausted { cause, .. } => match (&cause, cause.result()) {
            (Cause::Own, _) => Trouble::Loop,
            (Cause::Forbidden(_), _) => Trouble::Setup(format!("the parent proxy: {text}")),
            (_, DialResult::Local) => Trouble::Local(text),
            _ => Trouble::Unreached(text),
        },
    }
}

/// Nobody answered until then, unless this host was too late to look.
fn late(start: Instant, until: Instant, otherwise: impl FnOnce(String) -> Trouble) -> Trouble {
    let cause = Cause::no_answer(start, until, Instant::now());
    match cause.result() {
        DialResult::Local => Trouble::Local(cause.to_string()),
        _ => otherwise(cause.to_string()),
    }
}

#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
mod tests;
