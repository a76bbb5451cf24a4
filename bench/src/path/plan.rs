//! Pure. What is moved over which path, how often, and in which order.

use std::cmp::Reverse;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::load::Way;
use crate::path::direction::Shape;
use crate::path::route::Route;

/// A whole run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Plan {
    /// The path, but for its loss.
    pub shape: Shape,
    /// How senders share it.
    pub controls: Controls,
    /// What is moved.
    pub cells: Vec<Cell>,
    /// Paths side by side.
    pub lanes: usize,
}

/// Two congestion controls.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Controls {
    /// What is there without a forwarder.
    pub slow: String,
    /// What forwarders are told.
    pub fast: String,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Cell {
    /// Percent of packets that are lost, each way.
    pub loss: f64,
    /// Where the bytes go.
    pub way: Way,
    /// How many.
    pub bytes: u64,
    /// How often.
    pub rounds: u32,
}

/// One transfer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Job {
    /// Which line of the plan.
    pub cell: usize,
    /// What is moved.
    pub what: Cell,
    /// Which time it is.
    pub round: u32,
    /// How it goes.
    pub route: Route,
}

const KB: u64 = 1000;
const MB: u64 = 1_000_000;

impl Default for Controls {
    fn default() -> Self {
        Self {
            slow: "cubic".to_owned(),
            fast: "bbr".to_owned(),
        }
    }
}

impl Plan {
    /// `make bench-path`: under ten minutes, of which the longest transfer takes eight.
    #[must_use]
    pub fn full() -> Self {
        let mut cells = Vec::new();
        for way in [Way::Down, Way::Up] {
            cells.push(cell(0.0, way, MB, 3));
            cells.push(cell(0.0, way, 20 * MB, 3));
            for loss in [0.5, 1.0] {
                cells.push(cell(loss, way, 10 * KB, 15));
                // Chance takes a packet before the window has grown, or after: that takes many to find the middle.
                cells.push(cell(loss, way, MB, 41));
                cells.push(cell(loss, way, 20 * MB, 3));
            }
        }
        cells.push(cell(1.0, Way::Down, 100 * MB, 1));
        Self::of(cells, 9)
    }

    /// `bench path --quick`: a quarter of a minute.
    #[must_use]
    pub fn quick() -> Self {
        let ways = [Way::Down, Way::Up];
        let cells = ways.map(|way| cell(1.0, way, MB, 3));
        Self::of(cells.to_vec(), 4)
    }

    fn of(cells: Vec<Cell>, lanes: usize) -> Self {
        Self {
            shape: Shape {
                delay: Duration::from_millis(40),
                rate: 100_000_000,
                // As much as the path itself holds.
                room: 1_000_000,
                loss: 0.0,
            },
            controls: Controls::default(),
            cells,
            lanes,
        }
    }

    /// The path with the loss of one line.
    #[must_use]
    pub fn shape(&self, cell: Cell) -> Shape {
        Shape {
            loss: cell.loss / 100.0,
            ..self.shape
        }
    }

    /// All transfers: those that keep a line busy, and with it the processor, which go one after the other, and those
    /// that may go side by side. The longest first, the routes of a round beside each other.
    #[must_use]
    pub fn jobs(&self) -> [Vec<Job>; 2] {
        let mut jobs = Vec::new();
        for (i, &what) in self.cells.iter().enumerate() {
            for round in 1..=what.rounds {
                jobs.extend(Route::ALL.map(|route| Job {
                    cell: i,
                    what,
                    round,
                    route,
                }));
            }
        }
        jobs.sort_by_key(|job| (Reverse(job.what.bytes), job.round));
        let (busy, slow): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.is_busy());
        [busy, slow]
    }
}

impl Job {
    fn is_busy(&self) -> bool {
        self.route.is_fast(self.what.way) || self.what.loss == 0.0
    }

    /// The same for all of a round, so that routes, ways and losses meet the same luck.
    #[must_use]
    pub fn seed(&self) -> u64 {
        // Neighbours begin far from each other.
        u64::from(self.round).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

fn cell(loss: f64, way: Way, bytes: u64, rounds: u32) -> Cell {
    Cell {
        loss,
        way,
        bytes,
        rounds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_each_route_in_each_round_and_one_seed_for_them() {
        let plan = Plan::full();
        let jobs = plan.jobs().concat();
        for (i, cell) in plan.cells.iter().enumerate() {
            for round in 1..=cell.rounds {
                let of = |job: &&Job| job.cell == i && job.round == round;
                let found: Vec<_> = jobs.iter().filter(of).collect();
                assert_eq!(found.len(), Route::ALL.len());
                assert!(found.iter().all(|job| job.seed() == found[0].seed()));
            }
        }
    }

    #[test]
    fn what_takes_long_comes_first_and_what_is_fast_goes_alone() {
        let [busy, slow] = Plan::full().jobs();
        assert_eq!(slow.first().map(|job| job.what.bytes), Some(100 * MB));
        assert!(slow.iter().all(|job| !job.route.is_fast(job.what.way)));
        assert!(busy.iter().any(|job| job.route == Route::Slow));
        assert!(slow.iter().all(|job| job.what.loss > 0.0));
    }
}
