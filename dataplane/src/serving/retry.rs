//! Pure. Binds that failed, and when each is tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use tcpforward_protocol::snapshot::{Forward, ForwardName};
use tcpforward_protocol::version::Hash;

/// Between two attempts: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Forwards whose address can't be had for now. Times are counted from any fixed moment.
#[derive(Debug, Default)]
pub(super) struct Retries(BTreeMap<ForwardName, Retry>);

#[derive(Debug)]
struct Retry {
    spec_hash: Hash,
    at: Duration,
    pause: Duration,
    text: String,
}

/// Whether a failure is the first in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    First,
    Again,
}

impl Retries {
    /// Why this spec is not even tried now; absent: it is time.
    pub(super) fn blocked(&self, forward: &Forward, now: Duration) -> Option<&str> {
        let retry = self.0.get(&forward.name)?;
        (retry.spec_hash == forward.spec_hash && retry.at > now).then_some(retry.text.as_str())
    }

    /// It has failed, again or for the first time with this spec.
    pub(super) fn failed(&mut self, forward: &Forward, text: String, now: Duration) -> Failure {
        let before = self.0.get(&forward.name);
        let before = before.filter(|retry| retry.spec_hash == forward.spec_hash);
        let failure = before.map_or(Failure::First, |_| Failure::Again);
        let pause = before.map_or(PAUSE.0, |retry| (retry.pause * 2).min(PAUSE.1));
        let spec_hash = forward.spec_hash;
        let at = now + pause;
        self.0.insert(
            forward.name.clone(),
            Retry {
                spec_hash,
                at,
                pause,
                text,
            },
        );
        failure
    }

    /// Forgets those that no longer fail.
    pub(super) fn keep(&mut self, still: impl Fn(&ForwardName) -> bool) {
        self.0.retain(|name, _| still(name));
    }

    /// Whether one is to be tried now.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.0.values().any(|retry| retry.at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::samples::forward;

    #[test]
    fn pauses_double_and_a_new_spec_is_tried_at_once() {
        let (old, new) = (forward("f", 1, &[]), forward("f", 2, &[]));
        let mut retries = Retries::default();
        let mut now = Duration::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            retries.failed(&old, "taken".to_owned(), now);
            let start = now;
            while retries.blocked(&old, now).is_some() {
                assert!(!retries.is_due(now));
                now += Duration::from_millis(100);
            }
            assert!(retries.is_due(now));
            pauses.push((now - start).as_millis());
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(
            retries.failed(&old, "taken".to_owned(), now),
            Failure::Again
        );
        assert_eq!(retries.blocked(&old, now), Some("taken"));
        assert_eq!(retries.blocked(&new, now), None);
        assert_eq!(
            retries.failed(&new, "taken".to_owned(), now),
            Failure::First
        );
        retries.keep(|_| false);
        assert_eq!(retries.blocked(&new, now), None);
    }
}
