//! Pure. What changed between two sets, cut into parts that fit a message.

use std::sync::Arc;

use prost::Message;

use crate::snapshot::{Forward, ForwardName, Snapshot};
use crate::{PART_BYTES, proto, wire};

/// What a data plane that holds one set needs to hold another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Whether this is a whole set, to replace whatever is held.
    pub scope: Scope,
    /// New or different forwards.
    pub upserts: Vec<Arc<Forward>>,
    /// Forwards that are gone; empty for a whole set.
    pub removals: Vec<ForwardName>,
}

/// Whether a delta is a whole set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What differs from the set that the receiver holds.
    Change,
    /// Everything.
    Full,
}

impl Delta {
    /// The whole of `wanted`.
    #[must_use]
    pub fn full(wanted: &Snapshot) -> Self {
        Self {
            scope: Scope::Full,
            upserts: wanted.forwards().cloned().collect(),
            removals: Vec::new(),
        }
    }

    /// The way from `held` to `wanted`, at the cost of the buckets that differ.
    #[must_use]
    pub fn between(held: &Snapshot, wanted: &Snapshot) -> Self {
        let mut delta = Self {
            scope: Scope::Change,
            upserts: Vec::new(),
            removals: Vec::new(),
        };
        for (old, new) in wanted.changed_buckets(held) {
            delta
                .removals
                .extend(old.keys().filter(|name| !new.contains_key(*name)).cloned());
            let differs = |f: &&Arc<Forward>| old.get(&f.name).is_none_or(|o| o.hash != f.hash);
            delta.upserts.extend(new.values().filter(differs).cloned());
        }
        delta
    }

    /// The messages that carry it, in order; at least one, and the last one says so.
    #[must_use]
    pub fn into_parts(self, nonce: u64, epoch: u64, wanted: &Snapshot) -> Vec<proto::Update> {
        let part = || proto::Update {
            nonce,
            epoch,
            version: wanted.version().as_bytes().to_vec(),
            full: self.scope == Scope::Full,
            ..Default::default()
        };
        let mut parts = Vec::new();
        let mut current = part();
        let mut bytes = 0;
        let mut make_room = |current: &mut proto::Update, size: usize| {
            if bytes + size > PART_BYTES && bytes > 0 {
                parts.push(std::mem::replace(current, part()));
                bytes = 0;
            }
            bytes += size;
        };
        for forward in &self.upserts {
            let message = wire::forward_to_proto(forward);
            make_room(&mut current, message.encoded_len());
            current.upserts.push(message);
        }
        for name in &self.removals {
            let name = name.to_string();
            make_room(&mut current, name.len());
            current.removals.push(name);
        }
        current.last = true;
        current.settings = Some(wire::settings_to_proto(wanted.settings()));
        parts.push(current);
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{LocalTargets, Settings};
    use crate::wire::tests::{backend, forward};

    fn snapshot(forwards: impl IntoIterator<Item = Forward>) -> Snapshot {
        let mut snapshot = Snapshot::new(Settings::new(LocalTargets::Refuse));
        forwards
            .into_iter()
            .for_each(|f| snapshot.upsert(Arc::new(f)));
        snapshot
    }

    #[test]
    fn only_what_differs_is_sent() {
        let old = snapshot([
            forward("n/same", 1),
            forward("n/gone", 1),
            forward("n/edited", 1),
        ]);
        let new = snapshot([
            forward("n/same", 1),
            forward("n/new", 1),
            forward("n/edited", 2),
        ]);
        let mut delta = Delta::between(&old, &new);
        delta.upserts.sort_by(|a, b| a.name.cmp(&b.name));
        let names: Vec<_> = delta.upserts.iter().map(|f| f.name.name()).collect();
        assert_eq!(names, ["edited", "new"]);
        assert_eq!(delta.removals, [ForwardName::new("n", "gone")]);
    }

    #[test]
    fn nothing_to_say_is_still_one_last_part() {
        let same = snapshot([forward("n/f", 1)]);
        let parts = Delta::between(&same, &same).into_parts(7, 3, &same);
        let [part] = parts.as_slice() else {
            panic!("one part, not {}", parts.len())
        };
        assert!(part.last && !part.full && part.upserts.is_empty());
        assert_eq!((part.nonce, part.epoch), (7, 3));
    }

    #[test]
    fn a_large_set_comes_in_parts_of_a_mebibyte() {
        let large = snapshot((0..40).map(|i| {
            let backends =
                (0..2000).map(|b| backend("t", &format!("10.{i}.{}.{}:80", b / 250, b % 250 + 1)));
            let small = forward(&format!("n/f{i}"), 1);
            Forward::new(small.name, small.spec, backends.collect())
        }));
        let parts = Delta::full(&large).into_parts(1, 1, &large);
        assert!(parts.len() > 1);
        assert!(
            parts
                .iter()
                .all(|part| part.encoded_len() < PART_BYTES + 1024 && part.full)
        );
        assert_eq!(parts.iter().filter(|part| part.last).count(), 1);
        assert_eq!(
            parts.iter().map(|part| part.upserts.len()).sum::<usize>(),
            40
        );
    }
}
