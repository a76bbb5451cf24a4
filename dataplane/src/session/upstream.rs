//! Edge. The other side of a session, and what becomes of a client that gets none.

use super::Caller;
use super::record::Record;
use crate::channel::Channel;
use crate::connect::answer;
use crate::connect::refusal::Refusal;
use crate::connect::tunnel::Place;
use crate::dial::queue::Seat;
use crate::dial::{self, Dialling};
use crate::relay::ending::Ending;
use crate::served::Active;
use crate::sessions::Ticket;
use crate::socket::Connection;

/// The other side of a session.
pub(super) struct Upstream {
    pub(super) channel: Channel,
    /// The place on a backend; absent: it is nobody's.
    pub(super) seat: Option<Seat>,
    /// What the client has sent already.
    pub(super) early: Vec<u8>,
    /// What counts against the limits of a proxy.
    pub(super) place: Option<Place>,
}

/// A session that has no other side.
pub(super) enum Unserved {
    /// Its client is told why.
    Answered(Refusal),
    /// Its client has ended cleanly before it said a word.
    Ended(Ending),
    /// Its client is reset.
    Reset(Ending),
}

impl Unserved {
    /// Ends the client's connection as it deserves.
    pub(super) async fn tell(self, downstream: Connection) -> Ending {
        match self {
            Self::Answered(refusal) => {
                Box::pin(answer::refuse(downstream, &refusal)).await;
                refusal.ending()
            }
            Self::Ended(ending) => {
                downstream.finish();
                ending
            }
            Self::Reset(ending) => ending,
        }
    }
}

/// A backend for the session, unless its client leaves or it is told to end before there is one.
pub(super) async fn reach(
    downstream: &Connection,
    early: Vec<u8>,
    caller: Caller<'_>,
    active: &Active,
    ticket: &Ticket,
    record: &mut Record,
) -> Result<Upstream, Unserved> {
    let Some(offset) = active.forward.spec.listener.offset(caller.local.port()) else {
        record.refused(&"its port is none of the forward's any more");
        return Err(Unserved::Reset(Ending::NoBackend));
    };
    let dialling = Dialling {
        served: caller.served,
        active,
        context: caller.context,
        source: caller.client.ip(),
        target: None,
        offset,
    };
    let dialled = tokio::select! {
        dialled = dial::dial(dialling) => dialled,
        // A half-close is no error and lets the dial go on; a reset ends it.
        () = downstream.broken() => {
            return Err(Unserved::Reset(Ending::DownstreamRst));
        }
        ending = ticket.cut() => return Err(Unserved::Reset(ending)),
    };
    record.dialled(&dialled);
    let dialled = dialled.map_err(|error| Unserved::Reset(error.ending()))?;
    let seat = &dialled.seat;
    caller.served.reached(ticket, seat.backend(), seat.since());
    Ok(Upstream {
        channel: dialled.channel,
        seat: Some(dialled.seat),
        early,
        place: None,
    })
}
