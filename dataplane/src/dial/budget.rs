//! Pure. How many dials may be raced: at most a tenth of them.

use std::time::{Duration, Instant};

/// A race is paid for by the dials of the present window and of the one before, and of no earlier
/// ones: else a quiet day would pay for a storm of races when the network turns slow.
const WINDOW: Duration = Duration::from_secs(10);

/// Dials for each race.
const DIALS_PER_RACE: u32 = 10;

/// What was dialled and raced of late.
#[derive(Debug, Default)]
pub struct Budget {
    since: Option<Instant>,
    now: Window,
    before: Window,
}

#[derive(Debug, Default)]
struct Window {
    dials: u32,
    races: u32,
}

impl Budget {
    /// A dial begins.
    pub fn dialled(&mut self, now: Instant) {
        self.turn(now);
        self.now.dials = self.now.dials.saturating_add(1);
    }

    /// Whether one may be raced.
    pub fn may_race(&mut self, now: Instant) -> bool {
        self.turn(now);
        let dials = self.now.dials.saturating_add(self.before.dials);
        let races = self.now.races.saturating_add(self.before.races);
        dials / DIALS_PER_RACE > races
    }

    /// One is raced.
    pub fn raced(&mut self, now: Instant) {
        self.turn(now);
        self.now.races = self.now.races.saturating_add(1);
    }

    fn turn(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let gone = now.saturating_duration_since(since);
        if gone >= WINDOW {
            let former = std::mem::take(&mut self.now);
            self.before = if gone < WINDOW * 2 {
                former
            } else {
                Window::default()
            };
            self.since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any moment to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn races(budget: &mut Budget, dials: u32, at: Instant) -> u32 {
        let race = |budget: &mut Budget| {
            budget.dialled(at);
            let may = budget.may_race(at);
            if may {
                budget.raced(at);
            }
            u32::from(may)
        };
        (0..dials).map(|_| race(budget)).sum()
    }

    #[test]
    fn a_tenth_of_the_dials_may_be_raced() {
        let (mut budget, start) = (Budget::default(), start());
        assert_eq!(races(&mut budget, 9, start), 0);
        assert_eq!(races(&mut budget, 1, start), 1);
        assert_eq!(races(&mut budget, 990, start), 99);
    }

    #[test]
    fn asking_costs_nothing() {
        let (mut budget, start) = (Budget::default(), start());
        (0..10).for_each(|_| budget.dialled(start));
        assert!((0..3).all(|_| budget.may_race(start)));
        budget.raced(start);
        assert!(!budget.may_race(start));
    }

    #[test]
    fn dials_of_late_pay_for_races_and_those_of_long_ago_do_not() {
        let (mut budget, start) = (Budget::default(), start());
        (0..1000).for_each(|_| budget.dialled(start));
        let mut late = start + WINDOW;
        assert_eq!(races(&mut budget, 200, late), 120);
        late += WINDOW;
        // Those 200 are paid for more than once over.
        assert_eq!(races(&mut budget, 50, late), 0);
        late += WINDOW * 2;
        (0..1000).for_each(|_| budget.dialled(late));
        late += WINDOW * 2;
        assert_eq!(races(&mut budget, 10, late), 1);
    }
}
