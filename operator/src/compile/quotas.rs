//! Pure. Which forwards of a namespace are within what a pool serves of it: the oldest.

use std::collections::{BTreeMap, BTreeSet};

use tcpforward_protocol::snapshot::ForwardName;

/// A pool and a namespace.
pub(super) type Group = (String, String);

/// All forwards that their pool takes, but for their number.
#[derive(Clone, Debug, Default)]
pub(super) struct Quotas {
    places: BTreeMap<ForwardName, (Group, Place)>,
    groups: BTreeMap<Group, Queue>,
}

/// When it was created, and which it is.
type Place = (Option<String>, ForwardName);

#[derive(Clone, Debug, Default)]
struct Queue {
    all: BTreeSet<Place>,
    beyond: BTreeSet<ForwardName>,
}

/// Who stands in the queue of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) pool: &'a str,
    pub(super) created: Option<&'a String>,
}

impl Quotas {
    /// Notes where a forward stands now, if it does; names the groups that may be other ones.
    pub(super) fn note(
        &mut self,
        name: &ForwardName,
        candidate: Option<Candidate<'_>>,
    ) -> Vec<Group> {
        let mut touched = Vec::new();
        if let Some((group, place)) = self.places.remove(name) {
            if let Some(queue) = self.groups.get_mut(&group) {
                queue.all.remove(&place);
            }
            touched.push(group);
        }
        if let Some(Candidate { pool, created }) = candidate {
            let group = (pool.to_owned(), name.namespace().to_owned());
            let place = (created.cloned(), name.clone());
            let queue = self.groups.entry(group.clone()).or_default();
            queue.all.insert(place.clone());
            self.places.insert(name.clone(), (group.clone(), place));
            touched.push(group);
        }
        touched
    }

    /// Judges these groups; names the forwards of which it is said anew whether they are within.
    pub(super) fn judge(
        &mut self,
        groups: &BTreeSet<Group>,
        limit: impl Fn(&str) -> Option<usize>,
    ) -> BTreeSet<ForwardName> {
        let mut changed = BTreeSet::new();
        for group in groups {
            let Some(queue) = self.groups.get_mut(group) else {
                continue;
            };
            let within = limit(&group.0).unwrap_or(usize::MAX);
            let beyond = queue.all.iter().skip(within).map(|(_, name)| name);
            let former = std::mem::replace(&mut queue.beyond, beyond.cloned().collect());
            changed.extend(former.symmetric_difference(&queue.beyond).cloned());
            if queue.all.is_empty() {
                self.groups.remove(group);
            }
        }
        changed
    }

    /// Whether it is one too many.
    pub(super) fn is_beyond(&self, name: &ForwardName) -> bool {
        let group = self.places.get(name).map(|(group, _)| group);
        let queue = group.and_then(|group| self.groups.get(group));
        queue.is_some_and(|queue| queue.beyond.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(quotas: &mut Quotas, name: &str, created: Option<&str>, limit: usize) -> Vec<String> {
        let name = ForwardName::new("shop", name);
        let created = created.map(str::to_owned);
        let candidate = created.as_ref().map(|_| Candidate {
            pool: "edge",
            created: created.as_ref(),
        });
        let groups = quotas.note(&name, candidate).into_iter().collect();
        let changed = quotas.judge(&groups, |_| Some(limit));
        changed.iter().map(|name| name.name().to_owned()).collect()
    }

    #[test]
    fn the_oldest_are_within_and_names_decide_between_equals() {
        let mut quotas = Quotas::default();
        assert_eq!(note(&mut quotas, "b", Some("2026-01-02"), 2), [""; 0]);
        assert_eq!(note(&mut quotas, "c", Some("2026-01-02"), 2), [""; 0]);
        assert_eq!(note(&mut quotas, "a", Some("2026-01-02"), 2), ["c"]);
        assert_eq!(note(&mut quotas, "z", Some("2026-01-01"), 2), ["b"]);
        let beyond =
            |quotas: &Quotas, name: &str| quotas.is_beyond(&ForwardName::new("shop", name));
        assert!(beyond(&quotas, "b") && beyond(&quotas, "c") && !beyond(&quotas, "z"));
        assert_eq!(note(&mut quotas, "a", None, 2), ["b"]);
        assert_eq!(note(&mut quotas, "z", None, 2), ["c"]);
        assert_eq!(note(&mut quotas, "b", Some("2026-01-02"), 1), ["c"]);
    }

    #[test]
    fn who_has_left_leaves_nothing_behind() {
        let mut quotas = Quotas::default();
        note(&mut quotas, "a", Some("2026-01-01"), 0);
        note(&mut quotas, "a", None, 0);
        assert!(quotas.groups.is_empty() && quotas.places.is_empty());
    }
}
