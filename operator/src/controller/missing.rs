//! Pure. Since when pods that are Ready have not been connected.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;

use crate::status::Patience;

/// A pod that is missed for this long counts: longer than one that dials again needs, and than one that
/// has left counts as it was.
const PATIENCE: Duration = Duration::from_secs(12);

/// A pod by its pool and uid.
pub(super) type Missed = (String, String);

/// Those that are missed now. There are as many as pods are kept.
#[derive(Debug, Default)]
pub(super) struct Missing(BTreeMap<Missed, Since>);

#[derive(Clone, Copy, Debug)]
struct Since {
    start: Instant,
    wall: Timestamp,
    patience: Patience,
}

impl Missing {
    /// Takes note of who is missed; the pools where that changes who counts.
    pub(super) fn look(
        &mut self,
        missed: BTreeSet<Missed>,
        now: Instant,
        wall: Timestamp,
    ) -> BTreeSet<String> {
        let mut turned = BTreeSet::new();
        self.0.retain(|key, _| {
            let stays = missed.contains(key);
            if !stays {
                turned.insert(key.0.clone());
            }
            stays
        });
        for key in missed {
            let pool = key.0.clone();
            let since = self.0.entry(key).or_insert_with(|| {
                turned.insert(pool.clone());
                Since {
                    start: now,
                    wall,
                    patience: Patience::Left,
                }
            });
            let is_over = now.saturating_duration_since(since.start) >= PATIENCE;
            if is_over && since.patience == Patience::Left {
                since.patience = Patience::Over;
                turned.insert(pool);
            }
        }
        turned
    }

    /// Since when a pod is missed, if it is.
    pub(super) fn of(&self, pool: &str, uid: &str) -> Option<(Timestamp, Patience)> {
        let since = self.0.get(&(pool.to_owned(), uid.to_owned()))?;
        Some((since.wall, since.patience))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::now;

    #[test]
    fn a_pod_counts_after_twelve_seconds_and_each_turn_is_told_once() {
        let start = now();
        let wall = Timestamp::UNIX_EPOCH;
        let mut missing = Missing::default();
        let mut look = |seconds, uids: &[&str]| {
            let missed = uids
                .iter()
                .map(|uid| ("edge".to_owned(), (*uid).to_owned()));
            let time = start + Duration::from_secs(seconds);
            let turned = missing.look(missed.collect(), time, wall);
            let patience = ["a", "b"].map(|uid| missing.of("edge", uid).map(|(_, p)| p));
            (turned.len(), patience)
        };
        let (left, over) = (Some(Patience::Left), Some(Patience::Over));
        assert_eq!(look(0, &[]), (0, [None, None]));
        assert_eq!(look(1, &["a"]), (1, [left, None]));
        assert_eq!(look(5, &["a", "b"]), (1, [left, left]));
        assert_eq!(look(12, &["a", "b"]), (0, [left, left]));
        assert_eq!(look(13, &["a", "b"]), (1, [over, left]));
        assert_eq!(look(14, &["a", "b"]), (0, [over, left]));
        assert_eq!(look(16, &["a"]), (1, [over, None]));
        assert_eq!(look(17, &["a", "b"]), (1, [over, left]), "anew");
        assert_eq!(look(18, &[]), (1, [None, None]));
    }
}
