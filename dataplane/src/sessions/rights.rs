//! Pure. Sessions whose right to be here is gone. They are cut whatever else is said of open
//! sessions, within seconds, and not all in one instant.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::ticket::{Open, Reached};
use crate::balancer::backend::Condition;
use crate::relay::ending::Ending;
use crate::served::Active;

/// Each ends at a random time within this. It is promised within five seconds, of which the ticks
/// may take half of one.
const SPREAD: Duration = Duration::from_secs(3);

/// Those who have lost their right.
#[derive(Debug, Default)]
pub(super) struct Rights {
    lost: Vec<Weak<Open>>,
}

impl Rights {
    /// How many wait for their end.
    pub(super) fn waiting(&self) -> u64 {
        let waiting = self.lost.iter().filter(|open| open.strong_count() > 0);
        u64::try_from(waiting.count()).unwrap_or(u64::MAX)
    }

    /// Looks through all sessions. Who was found before keeps its time.
    pub(super) fn look(&mut self, all: &[Arc<Open>], active: &Active, now: Instant, rng: &mut Rng) {
        self.lost.clear();
        for open in all.iter().filter(|open| !open.is_ending()) {
            if holds(open, active) {
                open.set_lost_at(None);
                continue;
            }
            let at = open
                .lost_at()
                .unwrap_or_else(|| now + SPREAD.mul_f64(rng.f64()));
            open.set_lost_at(Some(at));
            self.lost.push(Arc::downgrade(open));
        }
    }

    /// Tells those to end whose time has come.
    pub(super) fn cut(&mut self, active: &Active, now: Instant) {
        self.lost.retain(|open| {
            let Some(open) = open.upgrade() else {
                return false;
            };
            if open.lost_at().is_some_and(|at| at > now) {
                return true;
            }
            // By now its peer may have said whose session it is.
            if !holds(&open, active) {
                open.end(Ending::RightLost);
            }
            false
        });
    }
}

/// Whether a session may be here: by its client's address, and if that is a peer's word, by the
/// trust in that peer. A client that has not said yet who it is counts as the peer. A tunnel has to be
/// one that would be let through now, and what it leads to still there.
fn holds(open: &Open, active: &Active) -> bool {
    let listener = &active.forward.spec.listener;
    let may_come = match open.vouched() {
        Some(client) => listener.trusts(open.peer) && listener.allows(client),
        None => listener.allows(open.peer),
    };
    let Some(grounds) = open.grounds() else {
        return may_come;
    };
    let is_there = |reached: Reached| reached.backend.condition().0 != Condition::Removed;
    may_come && active.upholds(&grounds) && open.reached().is_none_or(is_there)
}
