//! Edge. One connection's whole life: whose it is, pick, dial, relay, a line in the access log.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::handover::Placed;
use crate::served::Served;
use crate::shared::Context;
use crate::socket::{Connection, Stream};

mod counter;
mod life;
mod record;
mod relayed;
mod tunnel;
mod upstream;

use life::Life;
use record::{Record, Traffic};
use relayed::Relayed;

/// A connection that was accepted.
#[derive(Debug)]
pub struct Session {
    /// Its socket.
    pub stream: Stream,
    /// Who connected.
    pub client: SocketAddr,
    /// For which forward.
    pub served: Arc<Served>,
    /// On which thread.
    pub context: Placed,
    /// Room for its sockets, until the session is over.
    pub descriptors: Option<OwnedSemaphorePermit>,
}

/// Runs it to its end. Whoever drops the future resets both sides.
///
/// What begins and what ends it is in boxes, because both are soon over and the session is not.
pub async fn run(session: Session) {
    let Some(mut relayed) = Box::pin(begin(session)).await else {
        return;
    };
    let (ended, traffic) = relayed.relay().await;
    Box::pin(relayed.end(ended, traffic)).await;
}

/// Who wants what.
#[derive(Clone, Copy)]
struct Caller<'a> {
    served: &'a Arc<Served>,
    context: &'a Context,
    client: SocketAddr,
    local: SocketAddr,
}

/// Finds the other side; absent: there is none, and the session is over.
async fn begin(session: Session) -> Option<Box<Relayed>> {
    let mut life = Life::new(
        session.served,
        session.context,
        Record::new(&session.stream, session.client),
        session.descriptors,
    );
    // After what counts it, so that it is closed before, whatever happens.
    let downstream = Connection::new(session.stream);
    match life.reach(&downstream).await {
        Ok(reached) => Some(Box::new(Relayed::new(downstream, reached, life))),
        Err(unserved) => {
            let ending = unserved.tell(downstream).await;
            life.over(ending, Traffic::default());
            None
        }
    }
}

#[cfg(test)]
mod tests;
