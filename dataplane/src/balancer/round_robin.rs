//! Pure. Round robin: targets by weight, the backends of a target each in its turn.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::balancer::ask::{Ask, Fit};
use crate::balancer::entry::Entry;
use crate::balancer::group::Part;
use crate::balancer::schedule::Schedule;

/// In a row, so many turns may be lost to slow starts; beyond that one is taken that is slow. A
/// backend takes one turn in ten at least, so this is reached when nearly all are.
const SKIPS: usize = 32;

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    schedule: Schedule,
    /// In step with the schedule: slot i of the schedule is the i-th ring.
    rings: Vec<Ring>,
}

/// Backends by turn: the lowest one is next, and gets a new turn behind all others.
#[derive(Debug)]
struct Ring {
    target: Arc<str>,
    by_turn: BTreeSet<(u64, usize)>,
}

impl RoundRobin {
    /// Keeps the deadlines of targets that stay; turns are the backends' own.
    pub(super) fn updated(mut self, parts: &[Part], entries: &[Entry]) -> Self {
        let turn = |id: usize| entries.get(id).map_or(0, |e| e.turn);
        let slot = |part: &Part| self.rings.iter().position(|r| r.target == part.target);
        let weights: Vec<_> = parts.iter().map(|p| (p.weight, slot(p))).collect();
        let ring = |part: &Part| Ring {
            target: Arc::clone(&part.target),
            by_turn: part.members.iter().map(|id| (turn(*id), *id)).collect(),
        };
        Self {
            schedule: self.schedule.updated(&weights),
            rings: parts.iter().map(ring).collect(),
        }
    }

    pub(super) fn pick(&mut self, ask: &mut Ask<'_>) -> Option<usize> {
        let mut slow = None;
        for _ in 0..SKIPS {
            let Self { schedule, rings } = self;
            let id = schedule.next(|slot| rings.get_mut(slot)?.next(ask))?;
            if ask.is_up_to_speed(id) {
                return Some(id);
            }
            slow = Some(id);
        }
        slow
    }

    /// Until it is put back.
    pub(super) fn take_out(&mut self, ring: usize, id: usize, entries: &[Entry]) {
        if let (Some(ring), Some(entry)) = (self.rings.get_mut(ring), entries.get(id)) {
            ring.by_turn.remove(&(entry.turn, id));
        }
    }

    /// With the turn that it had.
    pub(super) fn put_back(&mut self, ring: usize, id: usize, entries: &[Entry]) {
        if let (Some(ring), Some(entry)) = (self.rings.get_mut(ring), entries.get(id)) {
            ring.by_turn.insert((entry.turn, id));
        }
    }
}

impl Ring {
    fn next(&mut self, ask: &mut Ask<'_>) -> Option<usize> {
        let mut out = Vec::new();
        let next = self.by_turn.iter().copied().find(|(turn, id)| {
            let fit = ask.fit(*id);
            if fit == Fit::Out {
                out.push((*turn, *id));
            }
            fit == Fit::Yes
        });
        for one in out {
            self.by_turn.remove(&one);
        }
        let (turn, id) = next?;
        self.by_turn.remove(&(turn, id));
        self.by_turn.insert((ask.new_turn(id), id));
        Some(id)
    }
}
