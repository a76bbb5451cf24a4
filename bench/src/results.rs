//! Pure. What a run came to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::figure::{Figure, median};
use crate::peer::Peer;

/// What a run came to; a file of `make bench` is one of these.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Results {
    /// Where and when.
    pub machine: Machine,
    /// How often and how long.
    pub scale: Scale,
    /// What each program says that it is.
    pub versions: BTreeMap<Peer, String>,
    /// One value a round.
    pub samples: BTreeMap<Peer, BTreeMap<Figure, Vec<f64>>>,
}

/// Where and when a run was.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Machine {
    /// Year, month and day.
    pub date: String,
    /// Such as a processor's brand.
    pub processor: String,
    /// How many of them.
    pub cores: usize,
    /// Release of Linux.
    pub kernel: String,
    /// What the kernel does about faults of the processor, by fault.
    pub mitigations: BTreeMap<String, String>,
    /// Where the kernel's time comes from.
    pub clock: String,
    /// How senders share a network, for all sockets of the run.
    pub congestion_control: String,
    /// The user that relays ran as.
    pub user: String,
}

/// How long a run is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Scale {
    /// Times that each peer has its turn.
    pub rounds: u32,
    /// Of each load.
    pub seconds: f64,
    /// Connections held idle.
    pub idle: usize,
    /// For how long they are left alone before that is watched, so that timers of their beginning run out.
    pub quiet_seconds: f64,
    /// For how long ours is watched then, once.
    pub watch_seconds: f64,
}

impl Scale {
    /// `make bench`.
    pub const FULL: Self = Self {
        rounds: 5,
        seconds: 2.0,
        idle: 5000,
        quiet_seconds: 6.0,
        watch_seconds: 60.0,
    };
    /// `make bench-quick`.
    pub const QUICK: Self = Self {
        rounds: 1,
        seconds: 1.0,
        idle: 2000,
        quiet_seconds: 6.0,
        watch_seconds: 5.0,
    };
}

impl Default for Scale {
    fn default() -> Self {
        Self::FULL
    }
}

impl Results {
    /// Adds one value.
    pub fn note(&mut self, peer: Peer, figure: Figure, value: f64) {
        let figures = self.samples.entry(peer).or_default();
        figures.entry(figure).or_default().push(value);
    }

    /// One value a round.
    #[must_use]
    pub fn samples(&self, peer: Peer, figure: Figure) -> &[f64] {
        let samples = self.samples.get(&peer);
        samples
            .and_then(|figures| figures.get(&figure))
            .map_or(&[], Vec::as_slice)
    }

    /// The middle of those; of failures the sum. Absent: not measured.
    #[must_use]
    pub fn value(&self, peer: Peer, figure: Figure) -> Option<f64> {
        let samples = self.samples(peer, figure);
        match figure {
            Figure::Failures if !samples.is_empty() => Some(samples.iter().sum()),
            _ => median(samples),
        }
    }
}
