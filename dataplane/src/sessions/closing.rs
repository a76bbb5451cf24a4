//! Pure. Which open sessions have to end, and when. Judged anew each time, by what is so at the
//! moment: what passes again before a session's turn has come ends nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Instant;

use fastrand::Rng;
use tcpforward_protocol::snapshot::{EstablishedConnections, Fate};

use super::ticket::{Open, Reached};
use super::turns::{Pace, Turns};
use crate::balancer::backend::Condition;
use crate::relay::ending::Ending;

/// What decides over the sessions of a forward, as of now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// What the forward says.
    pub(super) established: &'a EstablishedConnections,
    /// Since when the forward itself is gone; absent: it isn't.
    pub(super) gone_since: Option<Instant>,
}

/// What becomes of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It may go on until then, and ends so.
    Drains(Instant, Ending),
    /// It has to end.
    Due(Ending),
    /// Nothing is wrong.
    Stays,
}

/// Sessions that will be closed with one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doomed {
    /// They may still end by themselves for a while.
    pub draining: u64,
    /// They wait for their turn.
    pub due: u64,
}

/// Sessions that have to end, and who is looked for next.
#[derive(Debug, Default)]
pub(super) struct Closing {
    due: Turns<Weak<Open>>,
    pace: Pace,
    /// When the first of those that drain has drained long enough.
    look_at: Option<Instant>,
}

impl Closing {
    /// Whether there may be sessions that will be closed.
    pub(super) fn is_busy(&self) -> bool {
        self.look_at.is_some() || self.due.peek().is_some()
    }

    /// Whether a drain is over.
    pub(super) fn must_look(&self, now: Instant) -> bool {
        self.look_at.is_some_and(|at| at <= now)
    }

    /// Looks through all sessions.
    pub(super) fn look(
        &mut self,
        all: &[Arc<Open>],
        rules: &Rules<'_>,
        now: Instant,
        rng: &mut Rng,
    ) {
        self.look_at = None;
        let mut due: Vec<(IpAddr, Weak<Open>)> = Vec::new();
        for open in all.iter().filter(|open| !open.is_ending()) {
            match verdict(open, rules, now) {
                Verdict::Drains(until, _) => {
                    self.look_at = Some(self.look_at.map_or(until, |at| at.min(until)));
                }
                Verdict::Due(_) => due.push((open.client(), Arc::downgrade(open))),
                Verdict::Stays => {}
            }
        }
        self.due = Turns::new(due.into_iter(), rng);
    }

    /// Tells as many to end as the pace allows.
    pub(super) fn close(&mut self, rules: &Rules<'_>, now: Instant) {
        while let Some(open) = self.due.peek() {
            let open = open.upgrade().filter(|open| !open.is_ending());
            let due = open.and_then(|open| match verdict(&open, rules, now) {
                Verdict::Due(ending) => Some((open, ending)),
                Verdict::Drains(..) | Verdict::Stays => None,
            });
            if let Some((open, ending)) = due {
                if !self.pace.allows(rules.established.closes_per_second, now) {
                    return;
                }
                open.end(ending);
            }
            self.due.advance();
        }
    }
}

/// Those that will be closed, by the word for it.
pub(super) fn doomed(
    all: &[Arc<Open>],
    rules: &Rules<'_>,
    now: Instant,
) -> BTreeMap<Ending, Doomed> {
    let mut doomed: BTreeMap<_, Doomed> = BTreeMap::new();
    for open in all.iter().filter(|open| !open.is_ending()) {
        match verdict(open, rules, now) {
            Verdict::Drains(_, ending) => doomed.entry(ending).or_default().draining += 1,
            Verdict::Due(ending) => doomed.entry(ending).or_default().due += 1,
            Verdict::Stays => {}
        }
    }
    doomed
}

fn verdict(open: &Open, rules: &Rules<'_>, now: Instant) -> Verdict {
    let established = rules.established;
    let gone = rules
        .gone_since
        .map(|since| (established.on_removed, since, Ending::Removed));
    let left = open
        .reached()
        .and_then(|reached| of_backend(&reached, established));
    let wrongs = [gone, left].into_iter().flatten();
    let ends = wrongs.filter_map(|(fate, since, ending)| match fate {
        Fate::Close => Some((since, ending)),
        Fate::Drain => Some((since.checked_add(established.drain_timeout)?, ending)),
        Fate::Keep => None,
    });
    match ends.min_by_key(|(at, _)| *at) {
        None => Verdict::Stays,
        Some((at, ending)) if at <= now => Verdict::Due(ending),
        Some((at, ending)) => Verdict::Drains(at, ending),
    }
}

/// What is said of sessions on a backend that is in such a condition, and since when.
fn of_backend(
    reached: &Reached,
    established: &EstablishedConnections,
) -> Option<(Fate, Instant, Ending)> {
    let (condition, since) = reached.backend.condition();
    let (fate, ending) = match condition {
        Condition::FailedBack => (established.on_failback, Ending::Failback),
        Condition::NotReady => (established.on_not_ready, Ending::NotReady),
        Condition::Removed => (established.on_removed, Ending::Removed),
        Condition::Terminating => (established.on_terminating, Ending::Terminating),
        Condition::Unhealthy => (established.on_unhealthy, Ending::Unhealthy),
        Condition::Usable => return None,
    };
    // Who came there later was sent there all the same, for want of a better one. A removed one
    // gets nobody, but a dial may have been on its way.
    let concerns = condition == Condition::Removed || reached.since <= since;
    concerns.then_some((fate, since, ending))
}
