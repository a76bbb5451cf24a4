//! Pure. What manifests hold now and held before, as events. A TcpForward gets the generation that
//! an API server would give it: 1, and one more with each change of its spec.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::index::{Event, Kind, Object};

type Key = (Kind, String, String);

/// What was announced.
#[derive(Default)]
pub(super) struct World {
    objects: BTreeMap<Key, Object>,
    /// Also of forwards that are gone: one that comes back is not mistaken for its former self.
    generations: BTreeMap<(String, String), (Value, i64)>,
    /// When each forward that is there came: the oldest keeps its port.
    arrived: BTreeMap<(String, String), i64>,
    loads: i64,
}

impl World {
    /// Everything, as a list for each kind.
    pub(super) fn everything(&self) -> Vec<Event> {
        let of = |kind: Kind| {
            let objects = self
                .objects
                .iter()
                .filter(|((other, ..), _)| *other == kind);
            Event::Replaced(kind, objects.map(|(_, object)| object.clone()).collect())
        };
        [
            Kind::TcpForward,
            Kind::DataPlane,
            Kind::Namespace,
            Kind::Service,
            Kind::ServiceCidr,
            Kind::EndpointSlice,
            Kind::Node,
            Kind::ReferenceGrant,
            Kind::Secret,
        ]
        .map(of)
        .into()
    }

    /// Takes what the manifests hold now and says what changed.
    pub(super) fn load(&mut self, objects: Vec<Object>) -> Vec<Event> {
        self.loads += 1;
        let now: BTreeMap<Key, Object> = objects
            .into_iter()
            .map(|object| self.number(object))
            .map(keyed)
            .collect();
        let applied = now
            .iter()
            .filter(|(key, object)| self.objects.get(key) != Some(object))
            .map(|(_, object)| Event::Applied(object.clone()));
        let deleted = self
            .objects
            .keys()
            .filter(|key| !now.contains_key(key))
            .map(|(kind, namespace, name)| Event::Deleted {
                kind: *kind,
                namespace: namespace.clone(),
                name: name.clone(),
            });
        let events = applied.chain(deleted).collect();
        self.arrived.retain(|(namespace, name), _| {
            now.contains_key(&(Kind::TcpForward, namespace.clone(), name.clone()))
        });
        self.objects = now;
        events
    }

    fn number(&mut self, object: Object) -> Object {
        let Object::TcpForward(mut raw) = object else {
            return object;
        };
        let spec = raw.get("spec").cloned().unwrap_or(Value::Null);
        let text = |field: &str| {
            let value = raw.get("metadata").and_then(|metadata| metadata.get(field));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let key = (text("namespace"), text("name"));
        let generation = match self.generations.get(&key) {
            None => 1,
            Some((before, generation)) if *before == spec => *generation,
            Some((_, generation)) => generation + 1,
        };
        self.generations.insert(key.clone(), (spec, generation));
        let arrived = *self.arrived.entry(key).or_insert(self.loads);
        if let Some(Value::Object(metadata)) = raw.get_mut("metadata") {
            metadata.insert("generation".to_owned(), json!(generation));
            // Nobody reads the date; it only has to be later for who came later.
            let date = Timestamp::from_second(arrived).unwrap_or(Timestamp::MAX);
            metadata.insert("creationTimestamp".to_owned(), json!(date));
        }
        Object::TcpForward(raw)
    }
}

fn keyed(object: Object) -> (Key, Object) {
    (
        (
            object.kind(),
            object.namespace().to_owned(),
            object.name().to_owned(),
        ),
        object,
    )
}
