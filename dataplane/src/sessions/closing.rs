//! Pure. Which open sessions have to end, and when. Judged anew each time, by what is so at the
//! moment: what passes again before a session's turn has come ends nothing.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Instant;

use fastrand::Rng;
use tcpforward_protocol::snapshot::{EstablishedConnections, Fate};

use super::Open;
use super::turns::{Pace, Turns};
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
    /// It may go on until then.
    Drains(Instant),
    /// It has to end.
    Due(Ending),
    /// Nothing is wrong.
    Stays,
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
                Verdict::Drains(until) => {
                    self.look_at = Some(self.look_at.map_or(until, |at| at.min(until)));
                }
                Verdict::Due(_) => due.push((open.source, Arc::downgrade(open))),
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
                Verdict::Drains(_) | Verdict::Stays => None,
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

fn verdict(_open: &Open, rules: &Rules<'_>, now: Instant) -> Verdict {
    let established = rules.established;
    let gone = rules.gone_since.map(|since| {
        let ends = ending_at(established.on_removed, since, established);
        judge(ends, Ending::Removed, now)
    });
    gone.unwrap_or(Verdict::Stays)
}

fn ending_at(fate: Fate, since: Instant, established: &EstablishedConnections) -> Option<Instant> {
    match fate {
        Fate::Close => Some(since),
        Fate::Drain => since.checked_add(established.drain_timeout),
        Fate::Keep => None,
    }
}

fn judge(ends: Option<Instant>, ending: Ending, now: Instant) -> Verdict {
    match ends {
        None => Verdict::Stays,
        Some(at) if at <= now => Verdict::Due(ending),
        Some(at) => Verdict::Drains(at),
    }
}
