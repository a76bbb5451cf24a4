//! Pure. What the other parts of the operator may know of the Lease.

use std::time::Instant;

/// The Lease as this replica sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseView {
    epoch: u64,
    held: Until,
    fresh: Until,
    met: Met,
}

/// Whether the Lease was ever read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    No,
    Yes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Always,
    Never,
    Time(Instant),
}

impl Until {
    fn includes(self, now: Instant) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Time(end) => now <= end,
        }
    }
}

impl LeaseView {
    /// A process that shares its data planes with nobody: epoch 0, always fresh.
    #[must_use]
    pub fn alone() -> Self {
        Self {
            epoch: 0,
            held: Until::Always,
            fresh: Until::Always,
            met: Met::Yes,
        }
    }

    /// Nothing is known of the Lease yet.
    #[must_use]
    pub fn unseen() -> Self {
        Self::seen(0, None, None)
    }

    pub(crate) fn seen(
        epoch: u64,
        held_until: Option<Instant>,
        fresh_until: Option<Instant>,
    ) -> Self {
        let until = |time: Option<Instant>| time.map_or(Until::Never, Until::Time);
        Self {
            epoch,
            held: until(held_until),
            fresh: until(fresh_until),
            met: match fresh_until {
                Some(_) => Met::Yes,
                None => Met::No,
            },
        }
    }

    /// The same, met or not.
    pub(super) fn with(self, met: Met) -> Self {
        Self { met, ..self }
    }

    /// The same for one that does not hold it.
    pub(super) fn of_another(self) -> Self {
        Self {
            held: Until::Never,
            ..self
        }
    }

    /// Whether the Lease was ever read, or there is none to read.
    #[must_use]
    pub fn met(&self) -> bool {
        self.met == Met::Yes
    }

    /// `leaseTransitions`; 0 without a Lease.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether this replica may write; to be asked before each write.
    #[must_use]
    pub fn holds(&self, now: Instant) -> bool {
        match self.held {
            Until::Time(end) => now < end,
            held => held.includes(now),
        }
    }

    /// Whether the Lease was seen moving within two lease durations.
    #[must_use]
    pub fn fresh(&self, now: Instant) -> bool {
        self.fresh.includes(now)
    }
}
