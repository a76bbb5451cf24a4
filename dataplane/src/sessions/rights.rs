//! Pure. Sessions whose right to be here is gone. They are cut whatever else is said of open
//! sessions, within seconds, and not all in one instant.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::ticket::{Open, Reached};
use crate::balancer::backend::{Backend, Condition};
use crate::relay::ending::Ending;
use crate::served::Active;

/// Each ends at a random time within this. It is promised within five seconds, of which the ticks
/// may take half of one.
const SPREAD: Duration = Duration::from_secs(3);

/// Those who have lost their right, each with the word for it.
#[derive(Debug, Default)]
pub(super) struct Rights {
    lost: Vec<(Weak<Open>, Ending)>,
}

/// What rights are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Law<'a> {
    /// What is in force.
    pub(super) active: &'a Active,
    /// The forward itself is gone, and nobody says any more what it may.
    pub(super) is_gone: bool,
}

impl Rights {
    /// How many wait for their end, by the word for it.
    pub(super) fn waiting(&self) -> BTreeMap<Ending, u64> {
        let mut waiting = BTreeMap::new();
        let there = self.lost.iter().filter(|(open, _)| open.strong_count() > 0);
        for (_, ending) in there {
            *waiting.entry(*ending).or_default() += 1;
        }
        waiting
    }

    /// Looks through all sessions. Who was found before keeps its time.
    pub(super) fn look(&mut self, all: &[Arc<Open>], law: Law<'_>, now: Instant, rng: &mut Rng) {
        self.lost.clear();
        for open in all.iter().filter(|open| !open.is_ending()) {
            let Some(ending) = lost(open, law) else {
                open.set_lost_at(None);
                continue;
            };
            let at = open
                .lost_at()
                .unwrap_or_else(|| now + SPREAD.mul_f64(rng.f64()));
            open.set_lost_at(Some(at));
            self.lost.push((Arc::downgrade(open), ending));
        }
    }

    /// Tells those to end whose time has come.
    pub(super) fn cut(&mut self, law: Law<'_>, now: Instant) {
        self.lost.retain(|(open, _)| {
            let Some(open) = open.upgrade() else {
                return false;
            };
            if open.lost_at().is_some_and(|at| at > now) {
                return true;
            }
            // By now its peer may have said whose session it is.
            if let Some(ending) = lost(&open, law) {
                open.end(ending);
            }
            false
        });
    }
}

/// Which right of a session is gone, if one is. It goes by its client's address, and if that is a
/// peer's word, by the trust in that peer. A client that has not said yet who it is counts as the peer.
/// What it leads to has to be what may be dialled now. A tunnel has to be one that would be let through
/// now, and what it leads to still there. Where another namespace's leave is needed, it has to be there
/// still, for this forward and that Service.
fn lost(open: &Open, law: Law<'_>) -> Option<Ending> {
    let listener = &law.active.forward.spec.listener;
    let may_come = match open.vouched() {
        Some(client) => listener.trusts(open.peer) && listener.allows(client),
        None => listener.allows(open.peer),
    };
    let reached = open.reached();
    let may_be_there = |backend: &Backend| {
        backend.granted.is_none() || (!law.is_gone && law.active.permits(backend))
    };
    if reached.as_ref().is_some_and(|r| !may_be_there(&r.backend)) {
        return Some(Ending::GrantLost);
    }
    let is_there = |reached: &Reached| reached.backend.condition().0 != Condition::Removed;
    let holds = open.grounds().is_none_or(|grounds| {
        law.active.upholds(&grounds) && reached.as_ref().is_none_or(is_there)
    });
    let may_go = |reached: &Reached| law.active.may_dial(&reached.backend);
    let may_go = reached.as_ref().is_none_or(may_go);
    (!may_come || !may_go || !holds).then_some(Ending::RightLost)
}
