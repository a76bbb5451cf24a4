//! Edge. What a session has from accept to its line in the access log, and how it finds its other side.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::record::{Record, Traffic};
use super::relayed::Reached;
use super::upstream::{self, Unserved};
use super::{Caller, tunnel};
use crate::connect::tunnel::Client;
use crate::handover::Placed;
use crate::proxy_protocol::inbound;
use crate::relay::ending::Ending;
use crate::served::{Admitted, Served};
use crate::sessions::Ticket;
use crate::socket::Connection;

/// A session, but for its sockets.
pub(super) struct Life {
    pub(super) record: Record,
    /// What counts against the limits of the forward; absent: it was not let in.
    admitted: Option<Admitted>,
    pub(super) ticket: Ticket,
    counted: Counted,
    pub(super) context: Placed,
    /// Last: nothing of it is open any more.
    _descriptors: Option<OwnedSemaphorePermit>,
}

impl Life {
    /// A session begins.
    pub(super) fn new(
        served: Arc<Served>,
        context: Placed,
        record: Record,
        descriptors: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let peer = record.endpoints.source.ip();
        Self {
            admitted: None,
            ticket: served.sessions().enter(context.worker, peer),
            counted: Counted::new(served, context.worker),
            record,
            context,
            _descriptors: descriptors,
        }
    }

    /// Of which forward.
    pub(super) fn served(&self) -> &Arc<Served> {
        &self.counted.served
    }

    /// Finds the other side.
    pub(super) async fn reach(&mut self, downstream: &Connection) -> Result<Reached, Unserved> {
        let Self {
            record,
            admitted,
            ticket,
            counted,
            context,
            ..
        } = self;
        let served = &counted.served;
        let peer = record.endpoints.source;
        // Of the socket, whatever a header will say.
        let local = record.endpoints.destination;
        let early = identify(downstream, served, ticket, record).await;
        let early = early.map_err(Unserved::Reset)?;
        // Not the one of before: what the peer said may have taken its time.
        let active = served.active();
        let listener = &active.forward.spec.listener;
        if record.is_vouched_for() && !listener.trusts(peer.ip()) {
            let refused = inbound::Refused::Untrusted;
            record.refused(&refused);
            return Err(Unserved::Reset(refused.ending()));
        }
        let caller = Caller {
            served,
            context,
            client: record.endpoints.source,
            local,
        };
        let now = Instant::now().into_std();
        // Whoever is refused is reset by the drop of its connection.
        let let_in = served.admit(&active, caller.client.ip(), now);
        *admitted = Some(let_in.map_err(|refused| Unserved::Reset(refused.ending()))?);
        let upstream = match active.proxy.clone() {
            None => upstream::reach(downstream, early, caller, &active, ticket, record).await,
            Some(proxy) => {
                let client = Client {
                    served,
                    active: &active,
                    proxy: &proxy,
                    context,
                    source: caller.client.ip().to_canonical(),
                    accepted: record.start,
                };
                // In a box, so that plain relays don't carry it.
                Box::pin(tunnel::serve(downstream, early, client, ticket, record)).await
            }
        };
        Ok(Reached::new(&active, upstream?, record))
    }

    /// It has ended like that.
    pub(super) fn over(self, ending: Ending, traffic: Traffic) {
        let Self {
            record,
            admitted,
            ticket,
            mut counted,
            context,
            _descriptors,
        } = self;
        drop(admitted);
        drop(ticket);
        counted.ending = ending;
        let served = Arc::clone(&counted.served);
        drop(counted);
        if ending == Ending::Drain {
            context.shared.cut.fetch_add(1, Ordering::Relaxed);
        }
        record.write(&served, ending, traffic);
    }
}

/// A session among those that are open; finished when it is dropped, however that comes.
struct Counted {
    served: Arc<Served>,
    worker: usize,
    ending: Ending,
}

impl Counted {
    /// Without another word it was our fault.
    fn new(served: Arc<Served>, worker: usize) -> Self {
        served.opened(worker);
        Self {
            served,
            worker,
            ending: Ending::LocalError,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.served.finished(self.worker, self.ending);
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
    let asking = inbound::origin(downstream, record.endpoints, accepted);
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
