//! Edge. One attempt, which one more backend may join when the first is slow to answer.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::attempt::{self, Cause};
use super::ports::{self, NoTurn};
use super::queue::{self, Seat, Seated};
use super::{Dialling, unix_ms};
use crate::balancer::backend::Backend;
use crate::balancer::outcome::{Failure, Observed, Outcome};
use crate::balancer::request::Candidates;
use crate::channel::Channel;
use crate::served::DialResult;

/// A backend that answered.
pub(super) struct Reached {
    pub(super) channel: Channel,
    pub(super) seat: Seat,
}

/// A backend that did not.
pub(super) struct Failed {
    pub(super) backend: Arc<Backend>,
    pub(super) cause: Cause,
}

/// When attempts of a session have to end.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// Of one attempt.
    pub(super) timeout: Duration,
    /// Of all.
    pub(super) deadline: Instant,
    /// Whether another attempt may follow.
    pub(super) is_last: bool,
}

impl Times {
    /// Of an attempt that begins now: whoever is the last hope may use all the time that is left.
    fn until(self, candidates: Candidates) -> Instant {
        match candidates {
            Candidates::More if !self.is_last => self.deadline.min(Instant::now() + self.timeout),
            Candidates::Last | Candidates::More => self.deadline,
        }
    }
}

/// Connects to the backend that was picked; if it hasn't answered after the forward's
/// `hedge_after`, to one more of its priority as well. The first answer wins. The other connection
/// is reset before a byte. Nobody's session has failed by that, but a first one that left its
/// rival all that time has failed a dial: else one that is dead and always outraced would never be
/// known as such. Of the rival, which had less time, a loss says nothing.
pub(super) async fn run(
    dialling: Dialling<'_>,
    seated: Seated,
    tried: &[Arc<Backend>],
    times: Times,
) -> Result<Reached, Vec<Failed>> {
    turn(dialling, seated.seat.backend(), times.deadline).await?;
    let start = Instant::now();
    let hedge_after = dialling.active.forward.spec.relay.dial.hedge_after;
    if hedge_after.is_some() {
        dialling.served.budget().dialled(start.into_std());
    }
    let until = times.until(seated.candidates);
    let hedge_at = hedge_after.map(|after| start + after);
    let hedge_at = hedge_at.filter(|at| *at < until && seated.candidates == Candidates::More);
    let (priority, backend) = (seated.priority, Arc::clone(seated.seat.backend()));
    let mut first = pin!(one(dialling, seated, until));
    let Some(hedge_at) = hedge_at else {
        return first.await.map_err(|failed| vec![failed]);
    };
    tokio::select! {
        biased;
        outcome = &mut first => return outcome.map_err(|failed| vec![failed]),
        () = tokio::time::sleep_until(hedge_at) => {}
    }
    let noticed = Instant::now();
    // One more socket than a session has: without room for it there is no race.
    let room = dialling.context.shared.try_descriptors(1);
    let others = [tried, std::slice::from_ref(&backend)].concat();
    let second = room.and_then(|room| Some((rival(dialling, &others, priority)?, room)));
    let Some((rival, _room)) = second else {
        return first.await.map_err(|failed| vec![failed]);
    };
    let until = times.until(rival.candidates);
    // In a box, so that all those who race nobody don't carry it.
    let mut second = Box::pin(async {
        let outcome = one(dialling, rival, until).await;
        if outcome.is_ok() {
            dialling.served.race_won(dialling.context.worker);
        }
        outcome
    });
    let (early, late) = tokio::select! {
        // Of two answers that lay in the kernel, the first one's counts.
        biased;
        outcome = &mut first => match outcome {
            Ok(reached) => return Ok(reached),
            Err(failed) => (failed, second.await),
        },
        outcome = &mut second => match outcome {
            Ok(reached) => {
                let cause = Cause::outraced(start, hedge_at, noticed, Instant::now());
                observe(dialling, &backend, start.elapsed(), &Err(cause));
                return Ok(reached);
            }
            Err(failed) => (failed, first.await),
        },
    };
    late.map_err(|late| vec![early, late])
}

/// Waits for ports where they are few. Before anything is timed: no backend is slow because of that, and none is
/// to be raced.
async fn turn(
    dialling: Dialling<'_>,
    backend: &Arc<Backend>,
    until: Instant,
) -> Result<(), Vec<Failed>> {
    let address = attempt::moved(backend.address, dialling.offset);
    let (Ok(address), None) = (address, dialling.active.backends_parent()) else {
        return Ok(());
    };
    let waits = &dialling.context.shared.port_waits;
    if ports::turn(address, until, waits).await == Err(NoTurn) {
        observe(dialling, backend, Duration::ZERO, &Err(Cause::NoTurn));
        let backend = Arc::clone(backend);
        let cause = Cause::NoTurn;
        return Err(vec![Failed { backend, cause }]);
    }
    Ok(())
}

/// Who may race, if races are not too many already.
fn rival(dialling: Dialling<'_>, others: &[Arc<Backend>], priority: u32) -> Option<Seated> {
    let now = Instant::now().into_std();
    if !dialling.served.budget().may_race(now) {
        return None;
    }
    // The first one may wait for ports to the parent, and so would this one: no backend is slow because of that.
    if dialling.active.backends_parent().is_some() && ports::is_pausing() {
        return None;
    }
    let seated = queue::pick(dialling.served, others, dialling.asker(), Some(priority)).ok()?;
    // It would have to wait itself.
    let address = attempt::moved(seated.seat.backend().address, dialling.offset);
    if address.is_ok_and(ports::is_held) {
        return None;
    }
    // Only now: without a rival nothing is spent.
    dialling.served.budget().raced(now);
    dialling.served.raced(dialling.context.worker);
    Some(seated)
}

/// One connection, and what it tells of its backend.
async fn one(dialling: Dialling<'_>, seated: Seated, until: Instant) -> Result<Reached, Failed> {
    // A trial is over when its outcome is told.
    let Seated { seat, trial, .. } = seated;
    let start = Instant::now();
    let settings = &dialling.active.terms.settings;
    let tcp = &dialling.active.forward.spec.relay.tcp;
    let outcome = match attempt::moved(seat.backend().address, dialling.offset) {
        Ok(address) => {
            let parent = dialling.active.backends_parent();
            let chain = parent.map(|parent| parent.alone());
            let origin = seat.backend().origin;
            let shared = &dialling.context.shared;
            attempt::reach(address, origin, chain, settings, tcp, until, shared).await
        }
        Err(cause) => Err(cause),
    };
    observe(dialling, seat.backend(), start.elapsed(), &outcome);
    if let Some(trial) = trial {
        drop(trial);
        let now = Instant::now().into_std();
        dialling.served.queue().serve(dialling.served, now);
    }
    match outcome {
        Ok(channel) => Ok(Reached { channel, seat }),
        Err(cause) => Err(Failed {
            backend: Arc::clone(seat.backend()),
            cause,
        }),
    }
}

fn observe(
    dialling: Dialling<'_>,
    backend: &Arc<Backend>,
    connect: Duration,
    outcome: &Result<Channel, Cause>,
) {
    let Dialling {
        served, context, ..
    } = dialling;
    let result = outcome
        .as_ref()
        .map_or_else(Cause::result, |_| DialResult::Reached);
    served.dialled(context.worker, result);
    let learned = match (result, outcome) {
        (DialResult::Failed(reason), Err(cause)) if cause.tells_of_backend(dialling.offset) => {
            let message = cause.to_string();
            tracing::debug!(forward = %served.name, target = %backend.target,
                address = %backend.address, cause = %message, "a dial failed");
            Outcome::DialFailed(Failure {
                reason,
                message,
                at_ms: unix_ms(),
            })
        }
        (DialResult::Reached, _) => {
            served.connected(context.worker, connect);
            Outcome::Reached { connect }
        }
        _ => return,
    };
    if served.observe(backend, learned, Instant::now().into_std()) == Observed::Changed {
        context.shared.news.notify_one();
    }
}
