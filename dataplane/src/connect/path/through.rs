//! Edge. From a target that was asked for to its other end, through a parent proxy.

use std::net::SocketAddr;
use std::time::Duration;

use tcpforward_protocol::snapshot::Origin;
use tokio::time::Instant;

use super::{Reached, decided, found, judged, reported};
use crate::access_log::Asked;
use crate::channel::Channel;
use crate::connect::policy::{Ask, ByNameAlone};
use crate::connect::proxy::Way;
use crate::connect::refusal::Refusal;
use crate::connect::target::Host;
use crate::connect::tunnel::Client;
use crate::dial::{self, Cause};
use crate::parent::Chain;
use crate::served::DialResult;

/// How long it may take, the parent's own search included: as long as ours without one, and as long
/// again.
const DEADLINE: Duration = Duration::from_secs(20);

/// Addresses of a name that the parent is asked for, one after the other.
const MOST: usize = 4;

/// The name itself is asked for where no rule wants to see addresses, else each address that may be
/// dialled until one is reached.
pub(super) async fn reach(
    client: Client<'_>,
    chain: Chain<'_>,
    ask: &Ask<'_>,
    asked: &mut Asked,
) -> Result<Reached, Refusal> {
    let until = Instant::now() + DEADLINE;
    if let Host::Name(_) = ask.target.host {
        let rule = match client.proxy.policy().by_name_alone(ask) {
            ByNameAlone::Allowed(rule) => Some(Some(rule)),
            ByNameAlone::Denied if client.proxy.only_reports() => {
                reported(client, ask, asked, &"the rules do not allow the name");
                Some(None)
            }
            ByNameAlone::Denied => return Err(Refusal::Denied),
            ByNameAlone::Unknown => None,
        };
        if let Some(rule) = rule {
            let start = Instant::now();
            let shared = &client.context.shared;
            let settings = &client.active.terms.settings;
            let tcp = &client.active.forward.spec.relay.tcp;
            let opened = chain.open(ask.target, settings, tcp, until, shared).await;
            let opened = opened.map_err(Cause::from);
            count(client, start, &opened);
            if let Some(rule) = rule {
                decided(client, rule, asked);
            }
            return told(opened, asked).map(|channel| reached(channel, None, 1));
        }
    }
    let found = found(client, ask.target, asked).await?;
    let allowed = judged(client, ask, &found, asked)?;
    let mut last = Err(Refusal::AddressProhibited);
    for (attempts, (address, rule)) in (1..).zip(allowed.into_iter().take(MOST)) {
        let opened = open(client, chain, address, until).await;
        let may_go_on = match &opened {
            Ok(_) => false,
            Err(Cause::Parent(trouble)) => trouble.is_of_target(),
            Err(_) => true,
        };
        asked.rule = rule.map(|rule| client.proxy.policy().rule_name(rule));
        last = told(opened, asked).map(|channel| reached(channel, Some(address), attempts));
        if !may_go_on || Instant::now() >= until {
            break;
        }
    }
    last
}

async fn open(
    client: Client<'_>,
    chain: Chain<'_>,
    address: SocketAddr,
    until: Instant,
) -> Result<Channel, Cause> {
    let start = Instant::now();
    let settings = &client.active.terms.settings;
    let shared = &client.context.shared;
    let opened = dial::reach(
        address,
        Origin::Author,
        Some(chain),
        settings,
        &client.active.forward.spec.relay.tcp,
        until,
        shared,
    )
    .await;
    count(client, start, &opened);
    opened
}

fn count(client: Client<'_>, start: Instant, opened: &Result<Channel, Cause>) {
    let result = match opened {
        Ok(_) => DialResult::Reached,
        Err(cause) => cause.result(),
    };
    let worker = client.context.worker;
    client.served.dialled(worker, result);
    if result == DialResult::Reached {
        client.served.connected(worker, start.elapsed());
    }
}

fn told(opened: Result<Channel, Cause>, asked: &mut Asked) -> Result<Channel, Refusal> {
    opened.map_err(|cause| {
        asked.why = Some(cause.to_string().into());
        Refusal::from(&cause)
    })
}

fn reached(channel: Channel, address: Option<SocketAddr>, attempts: u32) -> Reached {
    Reached {
        channel,
        address,
        attempts,
        seat: None,
        way: address.map_or(Way::Name, |address| Way::Address(address.ip())),
    }
}
