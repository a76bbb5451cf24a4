//! Edge. A session that has both sides: the long part, of which little is kept, and its end.

use tcpforward_protocol::snapshot::{ProxyVersion, TcpKeepalive, Timeouts};

use super::counter::Counter;
use super::life::Life;
use super::record::{Record, Traffic};
use super::upstream::Upstream;
use crate::access_log::Sockets;
use crate::channel::Channel;
use crate::connect::tunnel::Place;
use crate::dial::queue::Seat;
use crate::proxy_protocol;
use crate::relay::ending::{Ending, Side};
use crate::relay::{Ended, Lane, Prefix, Relay, sockets};
use crate::served::Active;
use crate::socket::{Connection, TcpInfo};

/// The other side, and what of the forward's state holds for the whole session. The rest of it isn't
/// held: a session may last for days.
pub(super) struct Reached {
    upstream: Channel,
    seat: Option<Seat>,
    /// In a box, because most sessions have none.
    place: Option<Box<Place>>,
    prefix: Option<Box<Prefix>>,
    /// Whether a reset before the backend's first byte is held against it.
    minds_early_resets: bool,
}

impl Reached {
    pub(super) fn new(active: &Active, other: Upstream, record: &mut Record) -> Self {
        let Upstream {
            mut channel,
            seat,
            early,
            place,
        } = other;
        let relay = &active.forward.spec.relay;
        let passive = relay.health_check.passive;
        Self {
            prefix: prefix(relay.proxy_protocol, early, channel.take_early(), record),
            upstream: channel,
            seat,
            place: place.map(Box::new),
            minds_early_resets: passive.consecutive_early_resets.is_some(),
        }
    }
}

/// A session with both sides.
pub(super) struct Relayed {
    downstream: Connection,
    reached: Reached,
    life: Life,
}

impl Relayed {
    pub(super) fn new(downstream: Connection, reached: Reached, life: Life) -> Self {
        Self {
            downstream,
            reached,
            life,
        }
    }

    /// Relays until it is over, or it has to end.
    pub(super) async fn relay(&mut self) -> (Result<Ended, Ending>, Traffic) {
        let Self {
            downstream,
            reached,
            life,
        } = self;
        let meter = Counter::new(
            life.served(),
            &life.context,
            reached.seat.as_ref().map(Seat::backend),
            reached.minds_early_resets,
        );
        let lane = Lane {
            pipes: &life.context.shared.pipes,
            worker: life.context.worker,
        };
        let (upstream, tls) = reached.upstream.parts();
        let prefix = reached.prefix.take();
        // Not from the dial on: most of a session's time they would be kept for nothing.
        let (timeouts, keepalive) = asked_for(&life.served().active());
        let relay = Relay::new(downstream, upstream, timeouts, keepalive, &meter, prefix);
        let mut relay = relay.in_tls(tls).by_pipes(lane);
        let mut cut = life.ticket.cut();
        let ended = tokio::select! {
            ended = relay.run() => Ok(ended),
            ending = &mut cut => Err(ending),
        };
        let traffic = Traffic {
            up: relay.passed(Side::Downstream),
            down: relay.passed(Side::Upstream),
            sockets: Sockets::default(),
        };
        if let Ok(ended) = &ended {
            meter.ended(ended.ending);
        }
        (ended, traffic)
    }

    /// Ends both sides as they deserve; both are reset where the session was cut.
    pub(super) async fn end(self: Box<Self>, ended: Result<Ended, Ending>, mut traffic: Traffic) {
        let Self {
            downstream,
            reached:
                Reached {
                    upstream,
                    seat,
                    place,
                    ..
                },
            life,
        } = *self;
        traffic.sockets = Sockets {
            downstream: TcpInfo::of(&*downstream),
            upstream: TcpInfo::of(&**upstream),
        };
        let ending = match ended {
            Ok(ended) => {
                tokio::select! {
                    () = sockets::close(ended, downstream, upstream) => {}
                    _ = life.ticket.cut() => {}
                }
                ended.ending
            }
            Err(ending) => {
                drop((downstream, upstream));
                ending
            }
        };
        drop((seat, place));
        life.over(ending, traffic);
    }
}

fn asked_for(active: &Active) -> (Timeouts, TcpKeepalive) {
    let spec = &active.forward.spec;
    (spec.timeouts, spec.relay.tcp.keepalive)
}

/// What the backend gets first: a PROXY header if it wants one, then what has been read already; and
/// what its client gets first.
fn prefix(
    version: Option<ProxyVersion>,
    early: Vec<u8>,
    down: Vec<u8>,
    record: &mut Record,
) -> Option<Box<Prefix>> {
    let header = version.map(|version| {
        let id = (version == ProxyVersion::V2).then(|| record.unique_id());
        proxy_protocol::encode(version, Some(&record.endpoints), id.as_ref())
    });
    let prefix = Prefix {
        header: header.unwrap_or_default(),
        up: early,
        down,
    };
    (!prefix.is_empty()).then(|| Box::new(prefix))
}
