//! Edge. One connection's whole life: whose it is, pick, dial, relay, a line in the access log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tcpforward_protocol::snapshot::ProxyVersion;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::connect::tunnel::Client;
use crate::dial::queue::Seat;
use crate::proxy_protocol::{self, UniqueId, inbound};
use crate::relay::ending::{Ending, Side};
use crate::relay::{Prefix, Relay, sockets};
use crate::served::{Active, Served};
use crate::sessions::Ticket;
use crate::shared::Context;
use crate::socket::Connection;

mod counter;
mod record;
mod tunnel;
mod upstream;

use counter::Counter;
use record::Record;
use upstream::Upstream;

/// A connection that was accepted.
#[derive(Debug)]
pub struct Session {
    /// Its socket.
    pub stream: TcpStream,
    /// Who connected.
    pub client: SocketAddr,
    /// For which forward.
    pub served: Arc<Served>,
    /// On which thread.
    pub context: Context,
}

/// Runs it to its end. Whoever drops the future resets both sides.
pub async fn run(session: Session) {
    let Session {
        stream,
        client,
        served,
        context,
    } = session;
    let mut counted = Counted::new(&served, context.worker);
    let mut record = Record::new(&stream, client);
    let ticket = served.sessions().enter(context.worker, client.ip());
    let downstream = Connection::new(stream);
    let caller = Caller {
        served: &served,
        context: &context,
        client,
        // Of the socket, whatever a header will say.
        local: record.endpoints.destination,
    };
    let ending = serve(downstream, caller, &ticket, &mut record).await;
    drop(ticket);
    counted.ending = ending;
    drop(counted);
    if ending == Ending::Drain {
        context.shared.cut.fetch_add(1, Ordering::Relaxed);
    }
    record.write(&served, ending);
}

/// A session among those that are open; finished when it is dropped, however that comes.
struct Counted<'a> {
    served: &'a Served,
    worker: usize,
    ending: Ending,
}

impl<'a> Counted<'a> {
    /// Without another word it was our fault.
    fn new(served: &'a Served, worker: usize) -> Self {
        served.opened(worker);
        Self {
            served,
            worker,
            ending: Ending::LocalError,
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.served.finished(self.worker, self.ending);
    }
}

/// Who wants what.
#[derive(Clone, Copy)]
struct Caller<'a> {
    served: &'a Arc<Served>,
    context: &'a Context,
    client: SocketAddr,
    local: SocketAddr,
}

async fn serve(
    downstream: Connection,
    caller: Caller<'_>,
    ticket: &Ticket,
    record: &mut Record,
) -> Ending {
    let served = caller.served;
    let early = match identify(&downstream, served, ticket, record).await {
        Ok(early) => early,
        Err(ending) => return ending,
    };
    // Not the one of before: what the peer said may have taken its time.
    let active = served.active();
    let listener = &active.forward.spec.listener;
    if record.is_vouched_for() && !listener.trusts(caller.client.ip()) {
        let refused = inbound::Refused::Untrusted;
        record.refused(&refused);
        return refused.ending();
    }
    let caller = Caller {
        client: record.endpoints.source,
        ..caller
    };
    let now = Instant::now().into_std();
    // Whoever is refused is reset by the drop of its connection.
    let _admitted = match served.admit(&active, caller.client.ip(), now) {
        Ok(admitted) => admitted,
        Err(refused) => return refused.ending(),
    };
    // Each in a box, because they are soon over and the session is not.
    let upstream = match active.proxy.clone() {
        None => {
            Box::pin(upstream::reach(
                &downstream,
                early,
                caller,
                &active,
                ticket,
                record,
            ))
            .await
        }
        Some(proxy) => {
            let client = Client {
                served,
                active: &active,
                proxy: &proxy,
                context: caller.context,
                source: caller.client.ip().to_canonical(),
                accepted: record.start,
            };
            Box::pin(tunnel::serve(&downstream, early, client, ticket, record)).await
        }
    };
    match upstream {
        Ok(upstream) => relay(downstream, upstream, caller, active, ticket, record).await,
        Err(unserved) => unserved.tell(downstream).await,
    }
}

async fn relay(
    downstream: Connection,
    other: Upstream,
    caller: Caller<'_>,
    active: Arc<Active>,
    ticket: &Ticket,
    record: &mut Record,
) -> Ending {
    let Upstream {
        channel: mut upstream,
        seat,
        early,
        _place,
    } = other;
    let timeouts = active.forward.spec.timeouts;
    let meter = Counter::new(caller, &active, seat.as_ref().map(Seat::backend));
    let prefix = prefix(&active, early, upstream.take_early(), record);
    // Nothing of the forward's state is held while the relay lasts, which may be for days.
    drop(active);
    let mut cut = ticket.cut();
    let (socket, tls) = upstream.parts();
    let mut relay = Relay::new(&downstream, socket, timeouts, &meter, prefix).in_tls(tls);
    let ended = tokio::select! {
        ended = relay.run() => Ok(ended),
        ending = &mut cut => Err(ending),
    };
    record.passed = (relay.passed(Side::Downstream), relay.passed(Side::Upstream));
    drop(relay);
    record.relayed(&downstream, &upstream);
    match ended {
        Ok(ended) => {
            meter.ended(ended.ending);
            tokio::select! {
                () = sockets::close(ended, downstream, upstream) => {}
                _ = cut => {}
            }
            ended.ending
        }
        // Both connections are dropped, and so reset.
        Err(ending) => ending,
    }
}

/// Finds out whose connection it is, and returns what was read beyond that.
async fn identify(
    downstream: &Connection,
    served: &Served,
    ticket: &Ticket,
    record: &mut Record,
) -> Result<Vec<u8>, Ending> {
    let active = served.active();
    let Some(accepted) = &active.forward.spec.listener.proxy_protocol else {
        return Ok(Vec::new());
    };
    // In a box, because it is soon over and the session is not.
    let asking = Box::pin(inbound::origin(downstream, record.endpoints, accepted));
    let origin = tokio::select! {
        origin = asking => origin,
        ending = ticket.cut() => return Err(ending),
    };
    match origin {
        Ok(origin) => {
            if origin.is_proxied {
                ticket.vouched_for(origin.endpoints.source.ip());
            }
            Ok(record.comes_from(origin))
        }
        Err(refused) => {
            record.refused(&refused);
            Err(refused.ending())
        }
    }
}

/// What the backend gets first: a PROXY header if it wants one, then what has been read already; and
/// what its client gets first.
fn prefix(active: &Active, early: Vec<u8>, down: Vec<u8>, record: &mut Record) -> Prefix {
    let version = active.forward.spec.relay.proxy_protocol;
    if version == Some(ProxyVersion::V2) {
        record
            .unique_id
            .get_or_insert_with(|| UniqueId::random(&mut fastrand::Rng::new()));
    }
    let header = version.map(|version| {
        let id = record.unique_id.as_ref();
        proxy_protocol::encode(version, Some(&record.endpoints), id)
    });
    Prefix {
        header: header.unwrap_or_default(),
        up: early,
        down,
    }
}

#[cfg(test)]
mod tests;
