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
use crate::dial::{self, Dialled};
use crate::relay::ending::{Ending, Side};
use crate::relay::{Meter, Prefix, Relay, sockets};
use crate::served::Served;
use crate::sessions::Ticket;
use crate::shared::Context;
use crate::socket::{self, Connection};

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
    let ending = serve(downstream, client, &served, &context, &ticket, &mut record).await;
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

async fn serve(
    downstream: Connection,
    client: SocketAddr,
    served: &Arc<Served>,
    context: &Context,
    ticket: &Ticket,
    record: &mut Record,
) -> Ending {
    let start = Instant::now();
    let mut cut = ticket.cut();
    let active = served.active();
    let timeouts = active.forward.spec.timeouts;
    // Whoever is refused is reset by the drop of its connection.
    let _admitted = match served.admit(&active, client.ip(), start.into_std()) {
        Ok(admitted) => admitted,
        Err(refused) => return refused.ending(),
    };
    let dialled = tokio::select! {
        dialled = dial::dial(served, &active, context, client.ip()) => dialled,
        // A half-close is no error and lets the dial go on; a reset ends it.
        _ = downstream.ready(Interest::ERROR) => return Ending::DownstreamRst,
        ending = &mut cut => return ending,
    };
    // Nothing of the forward's state is held while the relay lasts, which may be for days.
    drop(active);
    record.dial = start.elapsed();
    let Dialled {
        connection: upstream,
        place,
        attempts,
    } = match dialled {
        Ok(dialled) => dialled,
        Err(error) => return refused(&error, record),
    };
    record.attempts = attempts;
    record.backend = Some(Arc::clone(place.backend()));
    ticket.on(place.backend(), Instant::now().into_std());

    let meter = Counter {
        served,
        worker: context.worker,
    };
    let mut relay = Relay::new(&downstream, &upstream, timeouts, meter, Prefix::default());
    let ended = tokio::select! {
        ended = relay.run() => Ok(ended),
        ending = &mut cut => Err(ending),
    };
    record.up = relay.passed(Side::Downstream);
    record.down = relay.passed(Side::Upstream);
    drop(relay);
    match ended {
        Ok(ended) => {
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

/// The client is reset by the drop of its connection.
fn refused(error: &dial::Error, record: &mut Record) -> Ending {
    record.error = Some(error.to_string());
    match error {
        dial::Error::Exhausted { attempts, .. } => {
            record.attempts = *attempts;
            Ending::DialFailed
        }
        dial::Error::NoBackend => Ending::NoBackend,
    }
}

struct Counter<'a> {
    served: &'a Served,
    worker: usize,
}

impl Meter for Counter<'_> {
    fn passed(&self, from: Side, bytes: u64) {
        self.served.passed(self.worker, from, bytes);
    }
}

#[cfg(test)]
mod tests;
