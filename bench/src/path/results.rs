//! Pure. What a run over long paths came to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::figure::median;
use crate::path::direction::Counts;
use crate::path::plan::{Cell, Plan};
use crate::path::route::Route;
use crate::results::Machine;

/// What a run came to; `bench/path.json` is one of these.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Results {
    /// Where and when.
    pub machine: Machine,
    /// What ours says that it is.
    pub version: String,
    /// What was asked for.
    pub plan: Plan,
    /// What the paths were.
    pub path: Path,
    /// What forwarders say of their socket options, such as buffers that the kernel made smaller.
    pub notes: Vec<String>,
    /// Seconds of each round, by line of the plan.
    pub seconds: Vec<BTreeMap<Route, Vec<f64>>>,
}

/// What the paths were, measured.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Path {
    /// Milliseconds of the quickest handshake, on the slowest path.
    pub rtt: f64,
    /// All packets, both ways.
    pub counts: Counts,
    /// Microseconds by which 99 % of packets were late at most, on the worst path.
    pub late: f64,
}

impl Path {
    /// Adds another path.
    pub fn add(&mut self, other: Self) {
        self.rtt = self.rtt.max(other.rtt);
        self.late = self.late.max(other.late);
        self.counts.offered += other.counts.offered;
        self.counts.lost += other.counts.lost;
        self.counts.dropped += other.counts.dropped;
    }
}

impl Results {
    /// Nothing measured yet.
    #[must_use]
    pub fn new(machine: Machine, version: String, plan: Plan) -> Self {
        Self {
            machine,
            version,
            path: Path::default(),
            notes: Vec::new(),
            seconds: plan.cells.iter().map(|_| BTreeMap::new()).collect(),
            plan,
        }
    }

    /// Adds the time of one transfer.
    pub fn note(&mut self, cell: usize, route: Route, seconds: f64) {
        if let Some(routes) = self.seconds.get_mut(cell) {
            routes.entry(route).or_default().push(seconds);
        }
    }

    /// Lines of the table with what was measured.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let lines = self.plan.cells.iter().zip(&self.seconds);
        lines.map(|(cell, seconds)| Line {
            cell: *cell,
            seconds,
        })
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// What was moved.
    pub cell: Cell,
    seconds: &'a BTreeMap<Route, Vec<f64>>,
}

impl Line<'_> {
    /// The middle of all rounds; absent: not measured.
    #[must_use]
    pub fn seconds(&self, route: Route) -> Option<f64> {
        median(self.seconds.get(&route)?)
    }

    /// The slowest round.
    #[must_use]
    pub fn worst(&self, route: Route) -> Option<f64> {
        let seconds = self.seconds.get(&route)?.iter().copied();
        seconds.max_by(f64::total_cmp)
    }

    /// Millions of bits a second.
    #[must_use]
    pub fn rate(&self, route: Route) -> Option<f64> {
        let bits = crate::outcome::float(self.cell.bytes) * 8.0;
        Some(bits / 1e6 / self.seconds(route)?)
    }

    /// How many times as fast as directly by the slow congestion control.
    #[must_use]
    pub fn gain(&self, route: Route) -> Option<f64> {
        Some(self.seconds(Route::Slow)? / self.seconds(route)?)
    }

    /// The gain of the better forwarder, where there is a target for it.
    #[must_use]
    pub fn reached(&self) -> Option<f64> {
        let has_target = self.cell.loss >= TARGET_LOSS && self.cell.bytes >= TARGET_BYTES;
        let gains = [Route::AtClient, Route::AtServer].map(|route| self.gain(route));
        let best = gains.into_iter().flatten().max_by(f64::total_cmp);
        best.filter(|_| has_target)
    }
}

/// The gain that a forwarder has to reach, from these on.
pub const TARGET: f64 = 2.0;
const TARGET_LOSS: f64 = 1.0;
const TARGET_BYTES: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_are_of_the_middle_and_targets_are_for_long_transfers_over_bad_paths() {
        let plan = Plan::full();
        let at = |loss, bytes| {
            let mut cells = plan.cells.iter();
            let found = cells.position(|cell| (cell.loss, cell.bytes) == (loss, bytes));
            found.unwrap()
        };
        let mut results = Results::new(Machine::default(), String::new(), plan.clone());
        let cells = [at(1.0, 1_000_000), at(1.0, 10_000), at(0.0, 1_000_000)];
        for cell in cells {
            for seconds in [4.0, 9.0, 1.0] {
                results.note(cell, Route::Slow, seconds);
                results.note(cell, Route::AtServer, seconds / 4.0);
            }
            results.note(cell, Route::AtClient, 4.0);
        }
        let lines: Vec<_> = results.lines().collect();
        let [long, short, clean] = cells.map(|cell| lines[cell]);
        assert_eq!(long.gain(Route::AtServer), Some(4.0));
        assert_eq!(long.gain(Route::AtClient), Some(1.0));
        assert_eq!(long.gain(Route::Fast), None);
        assert_eq!(long.rate(Route::Slow), Some(2.0));
        assert_eq!(long.worst(Route::Slow), Some(9.0));
        let reached = [long, short, clean].map(|line| line.reached());
        assert_eq!(reached, [Some(4.0), None, None]);
    }
}
