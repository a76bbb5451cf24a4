//! Pure. What active checks say of one backend.

use tcpforward_protocol::snapshot::ActiveCheck;

use crate::balancer::account::{CheckAccount, CheckResult};
use crate::balancer::backend::Failing;
use crate::balancer::outcome::Failure;

/// The verdict, and how many in a row speak against it.
#[derive(Debug, Default)]
pub(super) struct Checks {
    verdict: Verdict,
    /// The next result decides at once: the first one, or the first by other rules.
    is_settled: bool,
    against: u32,
    failing: Option<Failing>,
    latest: Option<CheckResult>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Verdict {
    Bad,
    /// Also as long as nobody has checked: a new backend is believed to be well.
    #[default]
    Good,
}

impl Checks {
    pub(super) fn are_bad(&self) -> bool {
        self.verdict == Verdict::Bad
    }

    /// Why the verdict is bad.
    pub(super) fn failing(&self) -> Option<&Failing> {
        self.failing.as_ref().filter(|_| self.are_bad())
    }

    pub(super) fn account(&self) -> Option<CheckAccount> {
        Some(CheckAccount {
            result: self.latest?,
            failing: self.failing.clone(),
        })
    }

    /// True: it is good again.
    pub(super) fn passed(&mut self, rule: Option<&ActiveCheck>) -> bool {
        let Some(rule) = rule else {
            return false;
        };
        let was_bad = self.are_bad();
        self.latest = Some(CheckResult::Passed);
        self.count(Verdict::Good, rule.healthy_threshold.get());
        if !self.are_bad() {
            self.failing = None;
        }
        was_bad && !self.are_bad()
    }

    pub(super) fn failed(&mut self, rule: Option<&ActiveCheck>, failure: Failure) {
        let Some(rule) = rule else {
            return;
        };
        self.latest = Some(CheckResult::Failed);
        let since_ms = self.failing.as_ref().map_or(failure.at_ms, |f| f.since_ms);
        self.failing = Some(Failing {
            reason: failure.reason,
            message: failure.message,
            since_ms,
        });
        self.count(Verdict::Bad, rule.unhealthy_threshold.get());
    }

    fn count(&mut self, result: Verdict, threshold: u32) {
        if self.verdict == result {
            self.against = 0;
        } else {
            self.against += 1;
            if !self.is_settled || self.against >= threshold {
                self.verdict = result;
                self.against = 0;
            }
        }
        self.is_settled = true;
    }

    /// Keeps the verdict until the first result by other rules.
    pub(super) fn begin_again(&mut self) {
        self.is_settled = false;
        self.against = 0;
    }
}
