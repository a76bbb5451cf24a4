//! Pure. The better one of two that are drawn by weight. Two are nearly as good as all, and many
//! data planes that know nothing of each other don't all run to the same one.

use crate::balancer::ask::{Ask, Fit};
use crate::balancer::bag::Bag;
use crate::balancer::entry::Entry;
use crate::balancer::group::Part;

/// Draws for each of the two. One that is tried or slow to start is drawn again.
const DRAWS: usize = 16;

/// What makes one better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Open sessions for its share.
    Connections,
    /// That, times the time that it takes to reach it.
    Latency,
}

impl By {
    /// So much better the second one has to be. The first one was drawn by weight, and that shall
    /// not give way to noise; sessions are counted, not measured.
    fn margin(self) -> f64 {
        match self {
            Self::Connections => 1.0,
            Self::Latency => 1.25,
        }
    }
}

/// Backends to draw from.
#[derive(Debug, Default)]
pub(super) struct Draw {
    /// In step with the parts: the sum of the weights up to and with this one.
    sums: Vec<u64>,
    /// In step with the parts.
    bags: Vec<Bag>,
}

/// What was drawn.
enum Drawn {
    /// One that takes all of its share.
    Good(usize),
    Nobody,
    /// One that starts slowly; no better one was met.
    Slow(usize),
}

impl Draw {
    pub(super) fn new(parts: &[Part], entries: &mut [Entry]) -> Self {
        let mut sum = 0;
        let mut draw = Self::default();
        for part in parts {
            sum += u64::from(part.weight);
            draw.sums.push(sum);
            draw.bags
                .push(Bag::new(part.members.iter().copied(), entries));
        }
        draw
    }

    pub(super) fn bag(&mut self, part: usize) -> Option<&mut Bag> {
        self.bags.get_mut(part)
    }

    pub(super) fn pick(&mut self, by: By, ask: &mut Ask<'_>) -> Option<usize> {
        let one = match self.one(None, ask) {
            Drawn::Good(one) => one,
            Drawn::Slow(slow) => return Some(slow),
            Drawn::Nobody => return self.any(ask),
        };
        let Drawn::Good(other) = self.one(Some(one), ask) else {
            return Some(one);
        };
        let by = ask.comparable(one, other, by);
        Some(if ask.cost(other, by) * by.margin() < ask.cost(one, by) {
            other
        } else {
            one
        })
    }

    fn one(&mut self, but: Option<usize>, ask: &mut Ask<'_>) -> Drawn {
        let total = self.sums.last().copied().unwrap_or(0).max(1);
        let mut drawn = Drawn::Nobody;
        let mut draws = 0;
        while draws < DRAWS {
            draws += 1;
            let at = ask.rng.u64(0..total);
            let Some(bag) = self
                .bags
                .get_mut(self.sums.partition_point(|sum| *sum <= at))
            else {
                continue;
            };
            let nth = ask.rng.usize(0..bag.len().max(1));
            let Some(id) = bag.nth(nth).filter(|id| Some(*id) != but) else {
                continue;
            };
            match ask.fit(id) {
                Fit::Yes if ask.is_up_to_speed(id) => return Drawn::Good(id),
                Fit::Yes => drawn = Drawn::Slow(id),
                Fit::NotNow => {}
                Fit::Out => {
                    // It costs no draw: nobody meets it again.
                    bag.take_out(id, ask.entries);
                    draws -= 1;
                }
            }
        }
        drawn
    }

    /// When hardly any is left of those that the draws go to.
    fn any(&mut self, ask: &mut Ask<'_>) -> Option<usize> {
        self.bags.iter_mut().find_map(|bag| {
            let from = ask.rng.usize(0..bag.len().max(1));
            bag.first(from, ask)
        })
    }
}
