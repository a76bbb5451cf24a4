//! Pure. The better one of two that are drawn by weight. Two are nearly as good as all, and many
//! data planes that know nothing of each other don't all run to the same one.

use crate::balancer::ask::Ask;
use crate::balancer::group::Part;

/// Draws for each of the two. One that is full, tried or slow to start is drawn again.
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
}

impl Draw {
    pub(super) fn new(parts: &[Part]) -> Self {
        let mut sum = 0;
        let add = |part: &Part| {
            sum += u64::from(part.weight);
            sum
        };
        Self {
            sums: parts.iter().map(add).collect(),
        }
    }

    pub(super) fn pick(&self, parts: &[Part], by: By, ask: &mut Ask<'_>) -> Option<usize> {
        let Some(one) = self.one(parts, None, ask) else {
            return least(parts, by, ask);
        };
        let Some(other) = self.one(parts, Some(one), ask) else {
            return Some(one);
        };
        let by = ask.comparable(one, other, by);
        Some(if ask.cost(other, by) * by.margin() < ask.cost(one, by) {
            other
        } else {
            one
        })
    }

    fn one(&self, parts: &[Part], but: Option<usize>, ask: &mut Ask<'_>) -> Option<usize> {
        let total = self.sums.last().copied().filter(|sum| *sum > 0)?;
        (0..DRAWS).find_map(|_| {
            let at = ask.rng.u64(0..total);
            let part = parts.get(self.sums.partition_point(|sum| *sum <= at))?;
            let nth = ask.rng.usize(0..part.members.len().max(1));
            let id = *part.members.get(nth)?;
            (Some(id) != but && ask.fits(id) && ask.is_up_to_speed(id)).then_some(id)
        })
    }
}

/// When hardly any fits, all are looked at.
fn least(parts: &[Part], by: By, ask: &mut Ask<'_>) -> Option<usize> {
    let mut best: Option<usize> = None;
    for &id in parts.iter().flat_map(|p| &p.members) {
        if !ask.fits(id) {
            continue;
        }
        let is_better = |best| {
            let by = ask.comparable(best, id, by);
            ask.cost(id, by) < ask.cost(best, by)
        };
        if best.is_none_or(is_better) {
            best = Some(id);
        }
    }
    best
}
