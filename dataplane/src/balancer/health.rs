//! Pure. Whether one backend can be used, from what checks and sessions tell.
//!
//! ```text
//!            failures in a row                    time is over
//!  usable ────────────────────────► ejected ───────────────────────► probation ──┐
//!     ▲                                ▲                                │        │ a session
//!     │                                └────────── one more failure ────┘        │ gets through
//!     └──────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Checks have a verdict of their own; while it is bad, all of this counts for nothing.

use std::time::{Duration, Instant};

use tcpforward_protocol::answer::LeftOut;
use tcpforward_protocol::snapshot::{ActiveCheck, HealthCheck, Probe};

use crate::balancer::account::CheckAccount;
use crate::balancer::backend::Failing;
use crate::balancer::outcome::{Failure, Outcome};

mod checks;
mod state;

use checks::Checks;
use state::Ejection;

pub(super) use state::Cause;
pub use state::Standing;

/// An ejection lasts at most so many base times.
const LONGEST: u32 = 10;

/// What is known of one backend.
#[derive(Debug, Default)]
pub(super) struct Health {
    checks: Checks,
    dial_failures: u32,
    early_resets: u32,
    ejection: Ejection,
    /// Ejections in a row.
    row: u32,
    /// When the latest one was over and the backend good again.
    restored: Option<Instant>,
    failing: Option<Failing>,
}

impl Health {
    pub(super) fn standing(&self) -> Standing {
        match self.ejection {
            _ if self.checks.are_bad() => Standing::Unhealthy,
            Ejection::None => Standing::Usable,
            Ejection::Out { .. } => Standing::Ejected,
            Ejection::Probation { .. } => Standing::Probation,
        }
    }

    /// A session got through to it, and it is not known yet whether it answers.
    pub(super) fn awaits_answer(&self) -> bool {
        matches!(
            self.ejection,
            Ejection::Probation {
                reached: Some(_),
                ..
            }
        )
    }

    pub(super) fn left_out(&self) -> LeftOut {
        match self.standing() {
            Standing::Ejected => LeftOut::Ejected,
            Standing::Unhealthy => LeftOut::Unhealthy,
            Standing::Probation | Standing::Usable => LeftOut::No,
        }
    }

    /// The check that leaves it out, else the latest dial, if that failed.
    pub(super) fn failing(&self) -> Option<&Failing> {
        self.checks.failing().or(self.failing.as_ref())
    }

    /// Takes what was learned. What comes back asks for an ejection; until it is granted, each
    /// further failure asks again.
    pub(super) fn hear(
        &mut self,
        outcome: Outcome,
        rules: &HealthCheck,
        now: Instant,
    ) -> Option<Cause> {
        match outcome {
            Outcome::Answered => {
                self.answered(now);
                None
            }
            Outcome::CheckFailed(failure) => {
                self.checks.failed(rules.active.as_ref(), failure);
                None
            }
            Outcome::CheckPassed => {
                let is_back = self.checks.passed(rules.active.as_ref());
                if is_back {
                    self.dial_failures = 0;
                    self.early_resets = 0;
                }
                self.passed(is_back || rules.active.as_ref().is_some_and(dials_it));
                None
            }
            Outcome::DialFailed(failure) => {
                self.dial_failures = self.dial_failures.saturating_add(1);
                self.note(failure);
                let limit = rules.passive.consecutive_dial_failures?.get();
                self.wants(Cause::Dials, self.dial_failures >= limit)
            }
            Outcome::EarlyReset(failure) => {
                let limit = rules.passive.consecutive_early_resets?.get();
                self.early_resets = self.early_resets.saturating_add(1);
                self.note(failure);
                self.wants(Cause::Resets, self.early_resets >= limit)
            }
            Outcome::Reached { .. } => {
                self.dial_failures = 0;
                self.reached(now);
                None
            }
        }
    }

    fn wants(&self, cause: Cause, is_enough: bool) -> Option<Cause> {
        match self.ejection {
            Ejection::None => is_enough.then_some(cause),
            // What was under way when it was ejected tells nothing new.
            Ejection::Out { .. } => None,
            Ejection::Probation { .. } => Some(cause),
        }
    }

    /// A check that reached what sessions dial is the latest dial.
    fn passed(&mut self, is_dial: bool) {
        let is_open = self.ejection == Ejection::None && !self.checks.are_bad();
        if is_open && is_dial && self.early_resets == 0 {
            self.failing = None;
        }
    }

    fn reached(&mut self, now: Instant) {
        match &mut self.ejection {
            // Whoever resets its sessions is reached, too.
            Ejection::None if self.early_resets > 0 => {}
            Ejection::None => self.failing = None,
            Ejection::Out { .. } => {}
            Ejection::Probation { cause, reached } => match cause {
                Cause::Dials => self.restore(now),
                Cause::Resets => *reached = reached.or(Some(now)),
            },
        }
    }

    fn answered(&mut self, now: Instant) {
        match self.ejection {
            Ejection::None if self.early_resets > 0 => self.failing = None,
            Ejection::Probation {
                cause: Cause::Resets,
                ..
            } => self.restore(now),
            Ejection::None | Ejection::Out { .. } | Ejection::Probation { .. } => {}
        }
        self.early_resets = 0;
    }

    fn restore(&mut self, now: Instant) {
        self.ejection = Ejection::None;
        self.restored = Some(now);
        self.dial_failures = 0;
        self.early_resets = 0;
        self.failing = None;
    }

    fn note(&mut self, failure: Failure) {
        let since_ms = self.failing.as_ref().map_or(failure.at_ms, |f| f.since_ms);
        self.failing = Some(Failing {
            reason: failure.reason,
            message: failure.message,
            since_ms,
        });
    }

    /// Leaves it out: one base time longer with each ejection in a row, give or take `jitter`
    /// (-0.1 to 0.1), so that many data planes don't try at the same moment. The row is one
    /// shorter for each base time in health.
    pub(super) fn eject(&mut self, cause: Cause, base: Duration, jitter: f64, now: Instant) {
        let well = self.restored.take().map(|at| now.duration_since(at));
        let forgiven = well.map_or(0, |well| well.as_millis() / base.as_millis().max(1));
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        self.row = self.row.saturating_sub(forgiven).saturating_add(1);
        let length = base.saturating_mul(self.row.min(LONGEST));
        let until = now + length.mul_f64(1.0 + jitter);
        self.ejection = Ejection::Out { until, cause };
        self.dial_failures = 0;
        self.early_resets = 0;
    }

    /// Ends an ejection before its time: nobody else is left.
    pub(super) fn release(&mut self) {
        if let Ejection::Out { cause, .. } = self.ejection {
            let reached = None;
            self.ejection = Ejection::Probation { cause, reached };
        }
    }

    /// What checks say; absent: none was made.
    pub(super) fn check(&self) -> Option<CheckAccount> {
        self.checks.account()
    }

    pub(super) fn ejected_until(&self) -> Option<Instant> {
        match self.ejection {
            Ejection::Out { until, .. } => Some(until),
            Ejection::None | Ejection::Probation { .. } => None,
        }
    }

    /// Does what is due by time alone.
    pub(super) fn tick(&mut self, rules: &HealthCheck, now: Instant) {
        if self.due(rules).is_none_or(|due| now < due) {
            return;
        }
        match self.ejection {
            Ejection::None => {}
            Ejection::Out { .. } => self.release(),
            Ejection::Probation { .. } => self.restore(now),
        }
    }

    /// When `tick` has something to do.
    pub(super) fn due(&self, rules: &HealthCheck) -> Option<Instant> {
        match self.ejection {
            Ejection::None => None,
            Ejection::Out { until, .. } => Some(until),
            Ejection::Probation { reached, .. } => {
                Some(reached? + rules.passive.base_ejection_time)
            }
        }
    }

    /// It was no backend for a while, in which nobody checked it.
    pub(super) fn come_back(&mut self) {
        self.checks.begin_again();
    }

    /// Forgets what the rules say nothing of any more; all else is kept.
    pub(super) fn adopt(&mut self, before: &HealthCheck, rules: &HealthCheck) {
        if rules.active.is_none() {
            self.checks = Checks::default();
        } else if before.active != rules.active {
            self.checks.begin_again();
        }
        let passive = rules.passive;
        let is_void = match self.ejection {
            Ejection::None => false,
            Ejection::Out { cause, .. } | Ejection::Probation { cause, .. } => match cause {
                Cause::Dials => passive.consecutive_dial_failures.is_none(),
                Cause::Resets => passive.consecutive_early_resets.is_none(),
            },
        };
        if is_void {
            self.ejection = Ejection::None;
            self.row = 0;
        }
    }
}

/// Whether it connects to the port of the backend itself.
fn dials_it(check: &ActiveCheck) -> bool {
    match &check.probe {
        Probe::Tcp(_) => true,
        Probe::Http(http) => http.port.is_none(),
    }
}

#[cfg(test)]
mod tests;
