//! Pure. What differs from one data plane of a pool to the next, and so stands beside the snapshot.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tcpforward_protocol::snapshot::Settings;

/// What holds for all forwards here, beside what each one says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The same in the whole pool.
    pub settings: Settings,
    /// Of this data plane alone.
    pub place: Arc<Place>,
}

/// Where this data plane is, and which part of pool-wide limits is its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its node, as the operator says; empty: unknown.
    pub node: String,
    /// The zone of that node; empty: unknown.
    pub zone: String,
    /// Its part of pool-wide limits; absent: nobody has told yet.
    pub share: Option<Share>,
}

impl Place {
    /// Its part of pool-wide limits. Before it is told, all is ours.
    #[must_use]
    pub fn share(&self) -> Share {
        self.share.unwrap_or_default()
    }
}

/// One of `of` equal parts. They are told by an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Share {
    /// From 0.
    pub index: u32,
    /// At least 1.
    pub of: u32,
}

impl Default for Share {
    fn default() -> Self {
        Self { index: 0, of: 1 }
    }
}

impl Share {
    /// The same share of something else: with another number for each thing, no data plane has
    /// the smaller part of all of them.
    #[must_use]
    pub fn turned(self, by: u64) -> Self {
        let of = self.of.max(1);
        let index = (u64::from(self.index) + by % u64::from(of)) % u64::from(of);
        Self {
            index: u32::try_from(index).unwrap_or(self.index),
            of,
        }
    }

    /// What of a pool-wide limit is ours; the parts of all data planes add up to it, so with a
    /// limit below their number some have none.
    #[must_use]
    pub fn part(self, limit: u32) -> u32 {
        let of = self.of.max(1);
        limit / of + u32::from(self.index < limit % of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up_to_the_limit() {
        for (limit, of) in [(10, 3), (2, 3), (0, 2), (9, 1), (u32::MAX, 7)] {
            for by in [0, 1, u64::MAX] {
                let part = |index| Share { index, of }.turned(by).part(limit);
                let parts = (0..of).map(|index| u64::from(part(index)));
                assert_eq!(parts.sum::<u64>(), u64::from(limit));
            }
        }
    }
}
