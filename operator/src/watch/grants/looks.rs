//! Pure. Whether the API server has ReferenceGrants, by looks at its discovery: when to look, and what
//! to make of what is seen.

use std::time::{Duration, Instant};

/// Versions that have the fields which matter here, the preferred one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V1Beta1,
}

impl Version {
    pub(super) const ALL: [Self; 2] = [Self::V1, Self::V1Beta1];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1Beta1 => "v1beta1",
        }
    }
}

/// What follows from a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There are none.
    Forget,
    /// Nothing new.
    Stay,
    /// They are there, by that version.
    Watch(Version),
}

/// Between looks for what is not there, and for what may soon be there in a better version.
const PACE: Duration = Duration::from_secs(5);
const BETTER: Duration = Duration::from_secs(30);

/// That it is gone counts when two looks agree: one API server of several may be behind.
const AGAIN: Duration = Duration::from_millis(500);

/// After a look that failed; doubled with each, up to `BETTER`.
const RETRY: Duration = Duration::from_secs(1);

/// What looks have come to.
#[derive(Debug)]
pub(super) struct Looks {
    watching: Option<Version>,
    is_known_absent: bool,
    absences: u32,
    failures: u32,
    last: Option<Instant>,
    /// When to look again; absent: when a watch says that there is nothing.
    due: Option<Instant>,
}

impl Looks {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            watching: None,
            is_known_absent: false,
            absences: 0,
            failures: 0,
            last: None,
            due: Some(now),
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A look is over. `found`: which version is there, or nothing to be learned.
    pub(super) fn found(&mut self, found: Result<Option<Version>, ()>, now: Instant) -> Step {
        self.last = Some(now);
        let Ok(found) = found else {
            self.absences = 0;
            self.failures = self.failures.saturating_add(1);
            let wait = RETRY * 2_u32.saturating_pow(self.failures.min(6) - 1);
            self.due = Some(now + wait.min(BETTER));
            return Step::Stay;
        };
        self.failures = 0;
        match found {
            Some(version) => self.present(version, now),
            None => self.absent(now),
        }
    }

    /// A watch hears that there is nothing to watch.
    pub(super) fn missed(&mut self, now: Instant) {
        let soon = self.last.map_or(now, |last| now.max(last + AGAIN));
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }

    fn present(&mut self, version: Version, now: Instant) -> Step {
        self.absences = 0;
        self.is_known_absent = false;
        self.due = (version != Version::V1).then(|| now + BETTER);
        match self.watching.replace(version) {
            Some(before) if before == version => Step::Stay,
            _ => Step::Watch(version),
        }
    }

    fn absent(&mut self, now: Instant) -> Step {
        self.absences = self.absences.saturating_add(1);
        if self.absences < 2 {
            self.due = Some(now + AGAIN);
            return Step::Stay;
        }
        self.due = Some(now + PACE);
        self.watching = None;
        match std::mem::replace(&mut self.is_known_absent, true) {
            true => Step::Stay,
            false => Step::Forget,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::now;

    use Version::{V1, V1Beta1};

    /// Looks one after the other, each when it is due; what follows, and how long until the next.
    fn looks(found: &[Result<Option<Version>, ()>]) -> Vec<(Step, Option<u128>)> {
        let start = now();
        let mut looks = Looks::new(start);
        let mut time = start;
        let one = |found: &Result<_, ()>| {
            time = looks.due().unwrap_or(time).max(time);
            let step = looks.found(*found, time);
            (step, looks.due().map(|due| (due - time).as_millis()))
        };
        found.iter().map(one).collect()
    }

    #[test]
    fn what_is_there_is_watched_and_a_better_version_looked_for() {
        let seen = looks(&[Ok(Some(V1Beta1)), Ok(Some(V1Beta1)), Ok(Some(V1))]);
        let expected = [
            (Step::Watch(V1Beta1), Some(30_000)),
            (Step::Stay, Some(30_000)),
            (Step::Watch(V1), None),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn that_it_is_gone_counts_when_two_looks_agree_and_is_said_once() {
        let seen = looks(&[
            Ok(Some(V1)),
            Ok(None),
            Ok(Some(V1)),
            Ok(None),
            Ok(None),
            Ok(None),
        ]);
        let steps: Vec<_> = seen.iter().map(|(step, _)| *step).collect();
        let stay = Step::Stay;
        assert_eq!(
            steps,
            [Step::Watch(V1), stay, stay, stay, Step::Forget, stay]
        );
        assert_eq!(seen[3].1, Some(500));
        assert_eq!(seen[5].1, Some(5_000));
        let again = looks(&[Ok(None), Ok(None), Ok(Some(V1Beta1))]);
        assert_eq!(again[1].0, Step::Forget, "also at the start");
        assert_eq!(again[2].0, Step::Watch(V1Beta1));
    }

    /// An API server that can't be asked takes nothing away, and is not asked in a loop.
    #[test]
    fn a_look_that_fails_changes_nothing() {
        let mut found = vec![Ok(Some(V1)), Ok(None)];
        found.extend([Err(()); 8]);
        found.extend([Ok(None), Ok(None)]);
        let seen = looks(&found);
        let waits: Vec<_> = seen[2..10].iter().map(|(_, wait)| wait.unwrap()).collect();
        let expected = [1, 2, 4, 8, 16, 30, 30, 30].map(|seconds| seconds * 1000);
        assert_eq!(waits, expected);
        assert!(seen[1..11].iter().all(|(step, _)| *step == Step::Stay));
        assert_eq!(seen[11].0, Step::Forget, "two in a row, none of before");
    }

    #[test]
    fn a_watch_that_finds_nothing_asks_for_a_look_but_not_in_a_loop() {
        let start = now();
        let mut looks = Looks::new(start);
        looks.found(Ok(Some(V1)), start);
        assert_eq!(looks.due(), None);
        looks.missed(start);
        assert_eq!(looks.due(), Some(start + AGAIN));
        let later = start + Duration::from_secs(60);
        looks.missed(later);
        assert_eq!(looks.due(), Some(start + AGAIN), "the earlier one holds");
        looks.found(Ok(Some(V1)), later);
        looks.missed(later + Duration::from_secs(9));
        assert_eq!(looks.due(), Some(later + Duration::from_secs(9)));
    }
}
