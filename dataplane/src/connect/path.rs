//! Edge. From a target that was asked for to its other end, as far as the rules allow.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tcpforward_protocol::snapshot::ServiceName;
use tokio::time::Instant;

use super::hops::Hops;
use super::policy::{AddressRefused, Ask, ByName, RuleId};
use super::proxy::{Identity, Way};
use super::race;
use super::refusal::{NO_ERROR, Refusal};
use super::target::{Host, Target};
use super::tunnel::Client;
use crate::access_log::Asked;
use crate::channel::Channel;
use crate::dial::queue::Seat;
use crate::dial::{self, Cause, Dialling};
use crate::served::DialResult;

mod through;

/// How long it may take to reach one of a name's addresses: the kernel sends a lost SYN again after
/// one, three and seven seconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// The other end of a tunnel.
pub(super) struct Reached {
    pub(super) channel: Channel,
    pub(super) address: Option<SocketAddr>,
    pub(super) attempts: u32,
    pub(super) seat: Option<Seat>,
    pub(super) way: Way,
}

pub(super) async fn reach(
    client: Client<'_>,
    target: &Target,
    hops: &Hops,
    identity: Option<&Identity>,
    asked: &mut Asked,
) -> Result<Reached, Refusal> {
    let ask = Ask {
        target,
        subject: identity.map(|identity| &identity.subject),
    };
    match client.proxy.by_name(&ask) {
        ByName::Service { rule, service } => {
            decided(client, rule, asked);
            through_service(client, service, target.port, asked).await
        }
        ByName::Denied(rule) => {
            if let Some(rule) = rule {
                decided(client, rule, asked);
            }
            Err(Refusal::Denied)
        }
        ByName::Addresses => match client.active.parent.as_deref() {
            None => by_address(client, &ask, asked).await,
            // In a box, so that those who go directly don't carry it.
            Some(parent) => Box::pin(through::reach(client, parent.after(hops), &ask, asked)).await,
        },
    }
}

fn decided(client: Client<'_>, rule: RuleId, asked: &mut Asked) {
    let name = client.proxy.policy().rule_name(rule);
    client.served.tunnels().decided(&name);
    asked.rule = Some(name);
}

async fn through_service(
    client: Client<'_>,
    service: ServiceName,
    port: u16,
    asked: &mut Asked,
) -> Result<Reached, Refusal> {
    let target = service.target(port);
    let dialling = Dialling {
        served: client.served,
        active: client.active,
        context: client.context,
        source: client.source,
        target: Some(&target),
        offset: 0,
    };
    let dialled = dial::dial(dialling).await.map_err(|error| {
        asked.why = Some(error.to_string().into());
        Refusal::from(error)
    })?;
    Ok(Reached {
        address: Some(dialled.seat.backend().address),
        channel: dialled.channel,
        attempts: dialled.attempts,
        seat: Some(dialled.seat),
        way: Way::Service(service),
    })
}

async fn by_address(
    client: Client<'_>,
    ask: &Ask<'_>,
    asked: &mut Asked,
) -> Result<Reached, Refusal> {
    let found = found(client, ask.target, asked).await?;
    let allowed = judged(client, ask, &found, asked)?;
    let addresses: Vec<SocketAddr> = allowed.iter().map(|(address, _)| *address).collect();
    let settings = &client.active.terms.settings;
    let start = Instant::now();
    let shared = &client.context.shared;
    let tcp = &client.active.forward.spec.relay.tcp;
    let raced = race::race(&addresses, settings, tcp, start + DEADLINE, shared).await;
    let worker = client.context.worker;
    match raced {
        Ok(reached) => {
            client.served.dialled(worker, DialResult::Reached);
            client.served.connected(worker, start.elapsed());
            let mut allowed = allowed.iter();
            let chosen = allowed.find(|(address, _)| *address == reached.address);
            let rule = chosen.and_then(|(_, rule)| *rule);
            asked.rule = rule.map(|rule| client.proxy.policy().rule_name(rule));
            Ok(Reached {
                channel: reached.connection.into(),
                address: Some(reached.address),
                attempts: reached.attempts,
                seat: None,
                way: Way::Address(reached.address.ip()),
            })
        }
        Err(error) => {
            asked.why = Some(error.to_string().into());
            match error {
                race::Error::NoAddress => Err(Refusal::DnsError(Some(NO_ERROR))),
                race::Error::Exhausted { cause, .. } => {
                    client.served.dialled(worker, cause.result());
                    Err(Refusal::from(&cause))
                }
            }
        }
    }
}

/// The addresses of a target, none judged.
async fn found(
    client: Client<'_>,
    target: &Target,
    asked: &mut Asked,
) -> Result<Arc<[IpAddr]>, Refusal> {
    let found = match &target.host {
        Host::Address(ip) => Ok(Arc::from([*ip])),
        Host::Name(name) => client.context.shared.names.lookup(name).await,
    };
    found.map_err(|error| {
        asked.why = Some(error.to_string().into());
        Refusal::from(&error)
    })
}

/// The addresses that may be dialled, each with the rule that says so; none: the rules don't, but
/// are only asked.
fn judged(
    client: Client<'_>,
    ask: &Ask<'_>,
    found: &[IpAddr],
    asked: &mut Asked,
) -> Result<Vec<(SocketAddr, Option<RuleId>)>, Refusal> {
    let settings = &client.active.terms.settings;
    let judged = client.proxy.judge_all(ask, found, settings);
    if let Some(why) = judged.reported() {
        reported(client, ask, asked, &why);
    }
    if let Some(refusal) = judged.refusal(&ask.target.host) {
        let why = judged.refused();
        if let Some(AddressRefused::Denied(Some(rule))) = why {
            decided(client, rule, asked);
        }
        asked.why = why.map(|why| why.to_string().into());
        return Err(refusal);
    }
    let address = |ip| SocketAddr::new(ip, ask.target.port);
    let allowed = judged.allowed();
    let allowed: Vec<_> = allowed.map(|(ip, rule)| (address(ip), rule)).collect();
    // Whatever becomes of the dial. Of another address it may be another rule.
    if let Some(rule) = allowed.iter().find_map(|(_, rule)| *rule) {
        decided(client, rule, asked);
    }
    Ok(allowed)
}

fn reported(client: Client<'_>, ask: &Ask<'_>, asked: &Asked, why: &dyn Display) {
    client.served.would_deny(client.context.worker);
    tracing::info!(forward = %client.served.name, client = %client.source,
        connect_target = %ask.target, subject = asked.subject, why = %why,
        "a tunnel that the rules refuse is let through, because they only report");
}

/// What a client is told of a dial that failed.
impl From<&Cause> for Refusal {
    fn from(cause: &Cause) -> Self {
        use tcpforward_protocol::answer::DialError;
        match (cause, cause.result()) {
            (Cause::Own, _) => Self::Loop,
            (Cause::Forbidden(_), _) => Self::AddressProhibited,
            (Cause::Parent(trouble), _) => Self::from(trouble),
            (_, DialResult::Failed(DialError::Refused)) => Self::ConnectionRefused,
            (_, DialResult::Failed(DialError::Timeout)) => Self::ConnectionTimeout,
            (_, DialResult::Failed(DialError::Unreachable)) => Self::Unroutable,
            (_, DialResult::Local) => Self::Internal,
            _ => Self::ConnectionTerminated,
        }
    }
}

/// What a client is told when no backend of a Service was reached.
impl From<dial::Error> for Refusal {
    fn from(error: dial::Error) -> Self {
        match error {
            dial::Error::Exhausted { cause, .. } => Self::from(&cause),
            dial::Error::NoBackend => Self::NoBackend,
            dial::Error::NoneHealthy => Self::NoHealthyBackend,
            dial::Error::QueueFull | dial::Error::QueueTimeout(_) => Self::Busy,
        }
    }
}
