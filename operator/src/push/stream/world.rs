//! Pure. What is outside of a stream and decides what it says.

use std::sync::Arc;

use tcpforward_protocol::proto;
use tcpforward_protocol::snapshot::Snapshot;
use tcpforward_protocol::version::Version;

/// A set with its name, which costs 256 hashes to compute.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) version: Version,
    /// What this replica wanted before, the latest last.
    before: Arc<[Version]>,
}

/// Versions that are remembered: minutes of a busy world.
const BEFORE: usize = 256;

impl Wanted {
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> Self {
        let version = snapshot.version();
        Self {
            snapshot,
            version,
            before: Arc::default(),
        }
    }

    /// The same as what comes after that.
    pub(crate) fn after(self, old: &Self) -> Self {
        let skipped = (old.before.len() + 1).saturating_sub(BEFORE);
        let before = old.before.iter().skip(skipped).copied();
        Self {
            before: before.chain([old.version]).collect(),
            ..self
        }
    }

    /// Whether this replica has wanted that before.
    pub(crate) fn follows(&self, version: Version) -> bool {
        self.before.contains(&version)
    }
}

/// Everything outside a stream that decides what it says.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) operator: String,
    pub(crate) wanted: Wanted,
    pub(crate) zone: String,
    pub(crate) lease: Lease,
    pub(crate) share: proto::Share,
}

/// Whether this replica's word about the world may be old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lease {
    /// The Lease was seen moving, or there is none to see.
    Fresh { epoch: u64 },
    /// It was not: only a data plane that holds nothing is better off with what is known here.
    Stale,
}

/// Of a set that comes from a stale replica: below the epoch of every fresh one, but more than
/// such a replica says of itself, so that the data plane leaves it once it has that set.
const STALE_SET: u64 = 1;

impl Lease {
    /// The epoch to greet with: a data plane that has applied any leaves a replica that says 0.
    pub(crate) fn says(self) -> u64 {
        match self {
            Self::Fresh { epoch } => epoch,
            Self::Stale => 0,
        }
    }

    /// The epoch of what is pushed.
    pub(crate) fn pushes(self) -> u64 {
        match self {
            Self::Fresh { epoch } => epoch,
            Self::Stale => STALE_SET,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::fixtures::snapshot;

    #[test]
    fn what_was_wanted_is_remembered_for_a_while() {
        let nth = |n: i64| Wanted::new(snapshot(&[("a", n)]));
        let first = nth(0);
        let mut wanted = nth(0);
        for n in 1..=BEFORE {
            wanted = nth(i64::try_from(n).unwrap()).after(&wanted);
            assert!(wanted.follows(first.version) && !wanted.follows(wanted.version));
        }
        wanted = nth(-1).after(&wanted);
        assert!(!wanted.follows(first.version) && wanted.follows(nth(1).version));
    }
}
