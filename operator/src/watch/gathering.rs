//! Edge. Lists in parts become whole ones; the watches of several namespaces become one.

use std::collections::BTreeSet;

use kube::Resource;
use kube::runtime::watcher;

use crate::index::{Event, Kind, Object};

type Key = (String, String);

/// Joins the watches of one kind: one for each namespace, or one for all.
pub(super) struct Gathering {
    kind: Kind,
    sources: Vec<Source>,
    delivered: bool,
}

#[derive(Default)]
struct Source {
    /// A list that is not whole yet.
    list: Option<Vec<Object>>,
    /// A whole one that waits for those of the other namespaces.
    first: Option<Vec<Object>>,
    known: BTreeSet<Key>,
}

fn key(object: &Object) -> Key {
    (object.namespace().to_owned(), object.name().to_owned())
}

impl Gathering {
    pub(super) fn new(kind: Kind, sources: usize) -> Self {
        Self {
            kind,
            sources: std::iter::repeat_with(Source::default)
                .take(sources)
                .collect(),
            delivered: false,
        }
    }

    pub(super) fn take<K: Resource>(
        &mut self,
        source: usize,
        event: watcher::Event<K>,
        convert: fn(K) -> Option<Object>,
    ) -> Vec<Event> {
        let convert = |mut object: K| {
            object.meta_mut().managed_fields = None;
            convert(object)
        };
        let Some(from) = self.sources.get_mut(source) else {
            return Vec::new();
        };
        match event {
            watcher::Event::Init => from.list = Some(Vec::new()),
            watcher::Event::InitApply(object) => {
                from.list.get_or_insert_default().extend(convert(object));
            }
            watcher::Event::InitDone => return self.listed(source),
            watcher::Event::Apply(object) => {
                let Some(object) = convert(object) else {
                    return Vec::new();
                };
                from.known.insert(key(&object));
                return self.changed(source, object);
            }
            watcher::Event::Delete(object) => {
                let Some(object) = convert(object) else {
                    return Vec::new();
                };
                from.known.remove(&key(&object));
                return self.gone(source, key(&object));
            }
        }
        Vec::new()
    }

    /// A source that can't be read counts as empty.
    pub(super) fn give_up(&mut self, source: usize) -> Vec<Event> {
        match self.sources.get_mut(source) {
            Some(from) if !self.delivered && from.first.is_none() => {
                from.list = Some(Vec::new());
                self.listed(source)
            }
            _ => Vec::new(),
        }
    }

    fn listed(&mut self, source: usize) -> Vec<Event> {
        let alone = self.sources.len() == 1;
        let Some(from) = self.sources.get_mut(source) else {
            return Vec::new();
        };
        let list = from.list.take().unwrap_or_default();
        let before = std::mem::replace(&mut from.known, list.iter().map(key).collect());
        if self.delivered && alone {
            return vec![Event::Replaced(self.kind, list)];
        }
        if self.delivered {
            let gone: Vec<_> = before.difference(&from.known).cloned().collect();
            let deleted = gone.into_iter().map(|key| self.deleted(key));
            return deleted
                .chain(list.into_iter().map(Event::Applied))
                .collect();
        }
        from.first = Some(list);
        if self.sources.iter().any(|source| source.first.is_none()) {
            return Vec::new();
        }
        self.delivered = true;
        let lists = self
            .sources
            .iter_mut()
            .filter_map(|source| source.first.take());
        vec![Event::Replaced(self.kind, lists.flatten().collect())]
    }

    fn changed(&mut self, source: usize, object: Object) -> Vec<Event> {
        match self
            .sources
            .get_mut(source)
            .and_then(|from| from.first.as_mut())
        {
            Some(first) => {
                let changed = key(&object);
                first.retain(|old| key(old) != changed);
                first.push(object);
                Vec::new()
            }
            None => vec![Event::Applied(object)],
        }
    }

    fn gone(&mut self, source: usize, gone: Key) -> Vec<Event> {
        match self
            .sources
            .get_mut(source)
            .and_then(|from| from.first.as_mut())
        {
            Some(first) => {
                first.retain(|old| key(old) != gone);
                Vec::new()
            }
            None => vec![self.deleted(gone)],
        }
    }

    fn deleted(&self, (namespace, name): Key) -> Event {
        Event::Deleted {
            kind: self.kind,
            namespace,
            name,
        }
    }
}
