//! Edge. One stream from its hello to its end: messages in, the world's changes in, messages out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tcpforward_protocol::answer::{Hello, RefusalCode};
use tcpforward_protocol::delta::Scope;
use tcpforward_protocol::proto::{
    ToDataPlane, ToOperator, to_data_plane::Message as Down, to_operator::Message as Up,
};
use tcpforward_protocol::wire;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

use super::Shared;
use super::farewell::Farewell;
use super::roster::Seat;
use super::stream::{ACK_TIMEOUT, Close, Lease, Stream, Wanted, World};
use crate::identity::gate::refusal_counted;
use crate::identity::verdict::{Peer, Refusal};
use crate::lease::now;

/// A peer that opens a stream and says nothing holds a place that others need.
const HELLO_TIME: Duration = Duration::from_secs(10);

pub(super) type Outgoing = mpsc::Sender<Result<ToDataPlane, Status>>;

/// Talks until one side ends it; the place in the roster is given back whatever happens.
/// `peer` is who the gate has let through, if there is one.
pub(super) async fn run(
    shared: Arc<Shared>,
    peer: Option<Peer>,
    incoming: Streaming<ToOperator>,
    outgoing: Outgoing,
) {
    let Err(close) = talk(&shared, peer, incoming, &outgoing).await else {
        return;
    };
    let reason = match &close {
        Close::NoAnswer { .. } => {
            shared.metrics.push_timeouts.inc();
            "timeout"
        }
        Close::Refused(refusal) => {
            refusal_counted(&shared.metrics, refusal);
            "identity"
        }
        Close::Replaced => "replaced",
        Close::ShuttingDown => "shutdown",
        _ => "protocol",
    };
    if close != Close::ShuttingDown {
        shared
            .metrics
            .streams_refused
            .with_label_values(&[reason])
            .inc();
        tracing::warn!(reason = %close, "ended the stream of a data plane");
    }
    // A peer that does not read its last message has gone away.
    let last = outgoing.send(Err(Status::new(code(&close), close.to_string())));
    let _ = timeout(Duration::from_secs(1), last).await;
}

fn code(close: &Close) -> Code {
    match close {
        Close::Invalid(_) | Close::NotAHello | Close::OtherIdentity { .. } => Code::InvalidArgument,
        Close::NoAnswer { .. } | Close::NoHello => Code::DeadlineExceeded,
        Close::OtherContent { .. } => Code::DataLoss,
        Close::Outdated => Code::FailedPrecondition,
        Close::Refused(refusal) => refusal.code(),
        Close::Replaced => Code::Aborted,
        Close::ShuttingDown => Code::Unavailable,
    }
}

/// Gives the place back when the conversation ends.
struct Seated<'a> {
    shared: &'a Shared,
    seat: Seat,
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        self.shared.roster.leave(&self.seat);
        self.shared.roster.count(&self.shared.metrics.connected);
        tracing::debug!("a data plane's stream has ended");
    }
}

async fn talk(
    shared: &Shared,
    peer: Option<Peer>,
    mut incoming: Streaming<ToOperator>,
    outgoing: &Outgoing,
) -> Result<(), Close> {
    let first = tokio::select! {
        () = shared.shutdown.cancelled() => return Err(Close::ShuttingDown),
        first = timeout(HELLO_TIME, incoming.message()) => first.map_err(|_| Close::NoHello)?,
    };
    let Ok(Some(first)) = first else {
        return Ok(());
    };
    let Some(Up::Hello(hello)) = first.message else {
        return Err(Close::NotAHello);
    };
    let hello = wire::hello_from_proto(hello)?;
    // Later hellos of the stream can't name another pod or pool.
    peer.as_ref().map_or(Ok(()), |peer| peer.says(&hello))?;
    let mut stream = Stream::new(hello);
    let seat = shared.roster.join(stream.hello());
    let place = Seated { shared, seat };
    shared.roster.count(&shared.metrics.connected);
    let hello = stream.hello();
    tracing::info!(
        pod = hello.pod,
        pool = hello.pool,
        node = hello.node,
        "data plane connected"
    );

    compare(shared, hello);
    let mut published = shared.published.clone();
    let mut lease = shared.lease.clone();
    let mut membership = shared.roster.membership();
    let mut accounts = shared.accounts.clone();
    let mut farewell = Farewell::default();
    loop {
        let world = world(shared, &stream, &place.seat);
        if let Some(world) = &world {
            say(shared, &mut stream, world, outgoing).await?;
        }
        let heard_all = || has_heard_all(shared, &stream, world.as_ref());
        farewell.look(lost(shared, peer.as_ref()), heard_all, now())?;
        let deadline = wake(&stream, farewell.end());
        tokio::select! {
            () = place.seat.replaced.cancelled() => return Err(Close::Replaced),
            () = shared.shutdown.cancelled() => return Err(Close::ShuttingDown),
            message = incoming.message() => match message {
                Ok(Some(message)) => hear(shared, &mut stream, &place.seat, message)?,
                Ok(None) | Err(_) => return Ok(()),
            },
            Ok(()) = published.changed() => {}
            Ok(()) = lease.changed() => {}
            Ok(()) = membership.changed() => {}
            Ok(()) = accounts.changed() => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
}

/// When there is something to do if nothing happens.
fn wake(stream: &Stream, farewell: Option<Instant>) -> tokio::time::Instant {
    let deadline = stream.deadline().unwrap_or_else(|| now() + ACK_TIMEOUT);
    farewell.map_or(deadline, |end| deadline.min(end)).into()
}

/// Why a data plane is none any more, if that is so.
fn lost(shared: &Shared, peer: Option<&Peer>) -> Option<Refusal> {
    let accounts = shared.accounts.borrow();
    peer?.stays(&accounts).err()
}

/// Whether a data plane that is none any more has nothing left to hear: that its pool serves nothing is
/// for it, what others serve by that pool is not.
fn has_heard_all(shared: &Shared, stream: &Stream, world: Option<&World>) -> bool {
    let published = shared.published.borrow();
    let pool = &stream.hello().pool;
    let serves = published.as_ref().is_some_and(|world| world.serves(pool));
    serves || world.is_none_or(|world| stream.holds_all_of(world))
}

/// `None` until the first whole pass was computed: a half-known world is never told. Nor is one that
/// another operator may serve.
fn world(shared: &Shared, stream: &Stream, seat: &Seat) -> Option<World> {
    let published = shared.published.borrow().clone()?;
    let lease = *shared.lease.borrow();
    if !lease.met() {
        return None;
    }
    let hello = stream.hello();
    Some(World {
        operator: shared.identity.clone(),
        wanted: published.of_pool(&hello.pool).clone(),
        zone: published.zone_of(&hello.node).to_owned(),
        lease: if lease.fresh(now()) {
            Lease::Fresh {
                epoch: lease.epoch(),
            }
        } else {
            Lease::Stale
        },
        share: shared.roster.share(seat),
    })
}

async fn say(
    shared: &Shared,
    stream: &mut Stream,
    world: &World,
    outgoing: &Outgoing,
) -> Result<(), Close> {
    let told = stream.next(world, now())?;
    if let Some(scope) = told.pushed {
        let scope = match scope {
            Scope::Change => "delta",
            Scope::Full => "full",
        };
        shared.metrics.pushes.with_label_values(&[scope]).inc();
        let Wanted { version, .. } = &world.wanted;
        tracing::debug!(pod = stream.hello().pod, scope, %version, "pushed");
    }
    for message in told.messages {
        let nonce = match &message {
            Down::Update(update) => update.nonce,
            Down::Share(_) | Down::Welcome(_) => 0,
        };
        let message = ToDataPlane {
            message: Some(message),
        };
        // A full queue means that the peer does not read.
        match timeout(ACK_TIMEOUT, outgoing.send(Ok(message))).await {
            Ok(Ok(())) => {}
            // The stream is gone; reading will say so.
            Ok(Err(_)) => return Ok(()),
            Err(_) => return Err(Close::NoAnswer { nonce }),
        }
    }
    Ok(())
}

fn hear(
    shared: &Shared,
    stream: &mut Stream,
    seat: &Seat,
    message: ToOperator,
) -> Result<(), Close> {
    match message.message {
        Some(Up::Hello(hello)) => {
            stream.greeted(wire::hello_from_proto(hello)?)?;
            compare(shared, stream.hello());
        }
        Some(Up::Applied(applied)) => {
            let applied = wire::applied_from_proto(applied)?;
            if let Some(took) = stream.answered(&applied, now())? {
                shared.metrics.push_seconds.observe(took.as_secs_f64());
            }
            for refusal in shared.roster.applied(seat, applied) {
                let code = word(refusal.code);
                shared.metrics.nacks.with_label_values(&[code]).inc();
                let pod = &stream.hello().pod;
                let (forward, text) = (&refusal.forward, &refusal.text);
                tracing::warn!(pod, %forward, code, text, "a data plane refuses a forward");
            }
        }
        Some(Up::Report(report)) => {
            shared.roster.report(seat, wire::report_from_proto(report));
        }
        // From a newer data plane: what we don't know, we don't need.
        None => {}
    }
    Ok(())
}

/// A moment behind another replica is usual after a takeover; if it lasts, nothing is taken from
/// here, and someone has to know.
fn compare(shared: &Shared, hello: &Hello) {
    let lease = *shared.lease.borrow();
    if !lease.fresh(now()) || hello.epoch <= lease.epoch() {
        return;
    }
    shared.behind.call_once(|| {
        tracing::warn!(
            pod = hello.pod,
            applied = hello.epoch,
            epoch = lease.epoch(),
            "a data plane has applied a later epoch than the Lease shows (leaseTransitions); it \
             takes nothing from this operator until the Lease has caught up"
        );
    });
}

/// The word for a kind of refusal in metrics.
fn word(code: RefusalCode) -> &'static str {
    match code {
        RefusalCode::BindFailed => "bind_failed",
        RefusalCode::Invalid => "invalid",
        RefusalCode::Unsupported => "unsupported",
    }
}
