//! Edge. One connection's whole life: pick, dial, relay, a line in the access log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::access_log::{self, Line};
use crate::balancer::backend::Backend;
use crate::dial::{self, Dialled, Dialling};
use crate::relay::ending::{Ending, Side};
use crate::relay::{Prefix, Relay, sockets};
use crate::served::{Active, Served};
use crate::sessions::Ticket;
use crate::shared::Context;
use crate::socket::{self, Connection};

mod counter;

use counter::Counter;

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

/// What the access log wants to know and the ending doesn't say.
#[derive(Default)]
struct Record {
    backend: Option<Arc<Backend>>,
    attempts: u32,
    dial: Duration,
    up: u64,
    down: u64,
    error: Option<String>,
}

/// Runs it to its end. Whoever drops the future resets both sides.
pub async fn run(session: Session) {
    let Session {
        stream,
        client,
        served,
        context,
    } = session;
    let start = Instant::now();
    served.opened(context.worker);
    let local = stream.local_addr().map_or(client, socket::canonical);
    let mut record = Record::default();
    let ticket = served.sessions().enter(context.worker, client.ip());
    let downstream = Connection::new(stream);
    let caller = Caller {
        served: &served,
        context: &context,
        client,
        local,
    };
    let ending = serve(downstream, caller, &ticket, &mut record).await;
    drop(ticket);
    served.finished(context.worker, ending);
    if ending == Ending::Drain {
        context.shared.cut.fetch_add(1, Ordering::Relaxed);
    }
    access_log::write(&Line {
        forward: &served.name,
        client,
        local,
        backend: record.backend.as_deref(),
        attempts: record.attempts,
        dial: record.dial,
        duration: start.elapsed(),
        up: record.up,
        down: record.down,
        ending,
        error: record.error,
    });
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
    let active = served.active();
    let now = Instant::now().into_std();
    // Whoever is refused is reset by the drop of its connection.
    let _admitted = match served.admit(&active, caller.client.ip(), now) {
        Ok(admitted) => admitted,
        Err(refused) => return refused.ending(),
    };
    let Dialled {
        connection: upstream,
        seat,
        ..
    } = match reach(&downstream, caller, &active, ticket, record).await {
        Ok(dialled) => dialled,
        Err(ending) => return ending,
    };
    ticket.on(seat.backend(), Instant::now().into_std());
    let timeouts = active.forward.spec.timeouts;
    let meter = Counter::new(caller, &active, seat.backend());
    // Nothing of the forward's state is held while the relay lasts, which may be for days.
    drop(active);
    let mut cut = ticket.cut();
    let mut relay = Relay::new(&downstream, &upstream, timeouts, &meter, Prefix::default());
    let ended = tokio::select! {
        ended = relay.run() => Ok(ended),
        ending = &mut cut => Err(ending),
    };
    record.up = relay.passed(Side::Downstream);
    record.down = relay.passed(Side::Upstream);
    drop(relay);
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

/// A backend for the session, unless its client leaves or it is told to end before there is one.
async fn reach(
    downstream: &Connection,
    caller: Caller<'_>,
    active: &Active,
    ticket: &Ticket,
    record: &mut Record,
) -> Result<Dialled, Ending> {
    let start = Instant::now();
    let Some(offset) = active.forward.spec.listener.offset(caller.local.port()) else {
        record.error = Some("its port is none of the forward's any more".to_owned());
        return Err(Ending::NoBackend);
    };
    let dialling = Dialling {
        served: caller.served,
        active,
        context: caller.context,
        source: caller.client.ip(),
        offset,
    };
    let dialled = tokio::select! {
        dialled = dial::dial(dialling) => dialled,
        // A half-close is no error and lets the dial go on; a reset ends it.
        _ = downstream.ready(Interest::ERROR) => return Err(Ending::DownstreamRst),
        ending = ticket.cut() => return Err(ending),
    };
    record.dial = start.elapsed();
    match dialled {
        Ok(dialled) => {
            record.attempts = dialled.attempts;
            record.backend = Some(Arc::clone(dialled.seat.backend()));
            Ok(dialled)
        }
        Err(error) => {
            record.error = Some(error.to_string());
            record.attempts = error.attempts();
            Err(error.ending())
        }
    }
}

#[cfg(test)]
mod tests;
