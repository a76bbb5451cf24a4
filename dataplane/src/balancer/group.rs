//! Pure. The backends of one priority that may be picked, and the way of choosing among them.

use std::sync::Arc;

use tcpforward_protocol::snapshot::Policy;

use crate::balancer::ask::{Ask, whole};
use crate::balancer::bag::Bag;
use crate::balancer::draw::{By, Draw};
use crate::balancer::entry::Entry;
use crate::balancer::hashed::Hashed;
use crate::balancer::round_robin::RoundRobin;

/// One target's backends that may be picked; never none.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) target: Arc<str>,
    /// Index of the target.
    pub(super) index: usize,
    pub(super) weight: u32,
    /// Ids.
    pub(super) members: Vec<usize>,
}

/// One priority.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) number: u32,
    near: Pool,
    /// Only for sessions for which no near one is left: all of those are tried or full.
    far: Pool,
}

/// Backends, and whose turn it is.
#[derive(Debug)]
struct Pool {
    parts: Vec<Part>,
    chooser: Chooser,
}

/// The backends of one priority: those that its sessions go to, and those that stand by.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) near: Vec<Part>,
    pub(super) far: Vec<Part>,
}

/// What becomes of one that may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Back,
    Out,
}

#[derive(Debug)]
enum Chooser {
    Draw(Draw, By),
    Hashed(Hashed),
    RoundRobin(RoundRobin),
}

impl Group {
    /// Gives each of them its share, and goes on from `former`, if that chose in the same way.
    pub(super) fn new(
        number: u32,
        parts: Parts,
        policy: Policy,
        former: Option<Self>,
        entries: &mut [Entry],
    ) -> Self {
        for id in parts.far.iter().flat_map(|p| &p.members) {
            if let Some(entry) = entries.get_mut(*id) {
                entry.is_spare = true;
            }
        }
        let (near, far) = former.map_or((None, None), |g| (Some(g.near), Some(g.far)));
        Self {
            number,
            near: Pool::new(parts.near, policy, near, entries),
            far: Pool::new(parts.far, policy, far, entries),
        }
    }

    pub(super) fn pick(&mut self, ask: &mut Ask<'_>) -> Option<usize> {
        let near = self.near.pick(ask);
        near.or_else(|| self.far.pick(ask))
    }

    /// Nobody meets it until it is put back.
    pub(super) fn take_out(&mut self, id: usize, entries: &mut [Entry]) {
        self.turn_over(id, entries, Turn::Out);
    }

    pub(super) fn put_back(&mut self, id: usize, entries: &mut [Entry]) {
        self.turn_over(id, entries, Turn::Back);
    }

    fn turn_over(&mut self, id: usize, entries: &mut [Entry], turn: Turn) {
        let Some(entry) = entries.get(id).filter(|e| e.share > 0.0) else {
            return;
        };
        let pool = if entry.is_spare {
            &mut self.far
        } else {
            &mut self.near
        };
        let part = pool.parts.iter().position(|p| p.index == entry.target);
        if let Some(part) = part {
            pool.turn_over(part, id, entries, turn);
        }
    }

    pub(super) fn members(&self) -> impl Iterator<Item = usize> {
        let parts = self.near.parts.iter().chain(&self.far.parts);
        parts.flat_map(|p| p.members.iter().copied())
    }
}

impl Pool {
    fn new(parts: Vec<Part>, policy: Policy, former: Option<Self>, entries: &mut [Entry]) -> Self {
        share_out(&parts, entries);
        let former = former.map(|pool| pool.chooser);
        let chooser = match (policy, former) {
            (Policy::ConsistentHash, former) => {
                let hashed = match former {
                    Some(Chooser::Hashed(hashed)) => hashed,
                    _ => Hashed::default(),
                };
                Chooser::Hashed(hashed.updated(&parts, entries))
            }
            (Policy::LeastConnections, _) => {
                Chooser::Draw(Draw::new(&parts, entries), By::Connections)
            }
            (Policy::LeastLatency, _) => Chooser::Draw(Draw::new(&parts, entries), By::Latency),
            (Policy::RoundRobin, former) => {
                let before = match former {
                    Some(Chooser::RoundRobin(before)) => before,
                    _ => RoundRobin::default(),
                };
                Chooser::RoundRobin(before.updated(&parts, entries))
            }
        };
        Self { parts, chooser }
    }

    fn pick(&mut self, ask: &mut Ask<'_>) -> Option<usize> {
        match &mut self.chooser {
            Chooser::Draw(draw, by) => draw.pick(*by, ask),
            Chooser::Hashed(hashed) => hashed.pick(ask),
            Chooser::RoundRobin(round_robin) => round_robin.pick(ask),
        }
    }

    fn turn_over(&mut self, part: usize, id: usize, entries: &mut [Entry], turn: Turn) {
        let bag: Option<&mut Bag> = match &mut self.chooser {
            Chooser::Draw(draw, _) => draw.bag(part),
            Chooser::Hashed(hashed) => Some(hashed.bag()),
            Chooser::RoundRobin(round_robin) => {
                return match turn {
                    Turn::Back => round_robin.put_back(part, id, entries),
                    Turn::Out => round_robin.take_out(part, id, entries),
                };
            }
        };
        match (bag, turn) {
            (Some(bag), Turn::Back) => bag.put_back(id, entries),
            (Some(bag), Turn::Out) => bag.take_out(id, entries),
            (None, _) => {}
        }
    }
}

/// A target's weight is split over its backends.
fn share_out(parts: &[Part], entries: &mut [Entry]) {
    let total: u64 = parts.iter().map(|p| u64::from(p.weight)).sum();
    let peers: usize = parts.iter().map(|p| p.members.len()).sum();
    let peers = whole(u64::try_from(peers).unwrap_or(u64::MAX));
    for part in parts {
        let count = u64::try_from(part.members.len()).unwrap_or(u64::MAX);
        let share = f64::from(part.weight) / (whole(total) * whole(count));
        for &id in &part.members {
            if let Some(entry) = entries.get_mut(id) {
                entry.share = share;
                entry.peers = peers;
            }
        }
    }
}
