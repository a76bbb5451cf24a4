//! Edge. The beginning of a CONNECT proxy's session: request, other side, answer.

use super::record::Record;
use super::upstream::{Unserved, Upstream};
use crate::connect::answer;
use crate::connect::refusal::Refusal;
use crate::connect::tunnel::{self, Client, Closed};
use crate::relay::ending::{Ending, Side};
use crate::sessions::Ticket;
use crate::socket::Connection;

/// A tunnel whose client has been told that it is there.
pub(super) async fn serve(
    downstream: &Connection,
    early: Vec<u8>,
    client: Client<'_>,
    ticket: &Ticket,
    record: &mut Record,
) -> Result<Upstream, Unserved> {
    let mut asked = Box::default();
    let opened = tokio::select! {
        opened = tunnel::open(downstream, early, client, ticket, &mut asked) => opened,
        ending = ticket.cut() => Err(match ending {
            Ending::Drain => Closed::Refused(Refusal::Draining),
            other => Closed::Left(other),
        }),
    };
    let outcome = match opened {
        Ok(opened) => {
            asked.status = Some(200);
            record.reached(&opened.channel, opened.address, opened.attempts);
            record.through(opened.seat.as_ref().map(|seat| seat.backend()));
            let told = answer::established(downstream).await;
            told.map_err(|error| Unserved::Reset(Ending::broken(Side::Downstream, error.kind())))
                .map(|()| Upstream {
                    channel: opened.channel,
                    seat: opened.seat,
                    early: opened.early,
                    place: Some(opened.place),
                })
        }
        Err(Closed::Refused(refusal)) => {
            asked.status = Some(refusal.status());
            let why = asked.why.take();
            record.refused(&why.unwrap_or_else(|| refusal.to_string().into()));
            Err(Unserved::Answered(refusal))
        }
        Err(Closed::Left(Ending::DownstreamFin)) => Err(Unserved::Ended(Ending::DownstreamFin)),
        Err(Closed::Left(ending)) => Err(Unserved::Reset(ending)),
    };
    if let Some(status) = asked.status {
        client.served.answered(client.context.worker, status);
    }
    record.asked(asked);
    outcome
}
