//! Edge. What the controller looks at by the clock.

use super::Controller;
use super::batch::Batch;
use crate::lease::now;

impl Controller {
    pub(super) fn beat(&mut self, batch: &mut Batch) {
        let now = now();
        self.outputs.pulse.send_modify(|pulse| pulse.beat = now);
        self.roster.forget_departed(now);
        if self.grace.is_some_and(|end| now >= end) {
            self.grace = None;
            self.touched.extend(self.index.names().cloned());
            batch.note(now);
        }
        if self.call_the_roll(now) {
            batch.note(now);
        }
        let released = self.compiler.tick(&self.index, now);
        let late = self
            .doors
            .as_ref()
            .map(|doors| doors.due(now))
            .unwrap_or_default();
        if !released.is_empty() || !late.is_empty() {
            self.affected.extend(released);
            self.touched.extend(late);
            batch.note(now);
        }
        if let Some(statuses) = &mut self.statuses {
            let due = statuses.take_due(now);
            if !due.is_empty() {
                self.touched.extend(due);
                batch.note(now);
            }
        }
        if let Some(statuses) = &mut self.pool_statuses
            && !statuses.take_due(now).is_empty()
        {
            batch.note(now);
        }
        // Holding ends by the clock as well as by news of the Lease.
        if self.holds != self.holding() {
            batch.note(now);
        }
    }
}
