//! Pure. From a Service as it is to what is to be done next so that it becomes what it should be.

use serde_json::{Map, Value, json};

use super::{Entrance, Live, Owned, selector};

/// Whether a Service leads to pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// To none: whoever connects is refused at once.
    Closed,
    /// To those of its pool that are Ready.
    Open,
}

/// One request to the API server. Each says which state it was computed from, so that it does nothing
/// to another one.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// Make it, unless there is one of that name.
    Create(Value),
    /// Make those fields ours by apply which became ours when it was made.
    Claim(Value),
    /// Write what is ours.
    Apply(Value),
    /// Let nobody in; the rest stays.
    Close(Value),
    /// Take out ports that someone else has put in: apply leaves what is another manager's.
    Trim(Value),
    /// Remove the one of this uid.
    Delete(String),
}

impl Deed {
    /// As metrics and logs call it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Claim(_) => "claim",
            Self::Apply(_) => "apply",
            Self::Close(_) => "close",
            Self::Trim(_) => "trim",
            Self::Delete(_) => "delete",
        }
    }
}

/// What is wanted of a Service now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish<'a> {
    /// The Service; absent: none.
    pub entrance: Option<&'a Entrance>,
    /// Whether it may lead to pods.
    pub gate: Gate,
    /// Whether pods may still serve what came by it before: then nothing but its gate is touched.
    pub is_held: bool,
    /// The first port of pods that it gets if it has none that it may keep.
    pub first: Option<u16>,
    /// The first port of pods that it has, if it may keep its ports.
    pub kept: Option<u16>,
}

impl Wish<'_> {
    /// That there be no Service, once pods serve no more what came by it.
    #[must_use]
    pub fn none(is_held: bool) -> Self {
        Self {
            entrance: None,
            gate: Gate::Closed,
            is_held,
            first: None,
            kept: None,
        }
    }
}

/// The next step, if one is to be taken.
#[must_use]
pub fn deed(wish: &Wish<'_>, live: Option<&Live>) -> Option<Deed> {
    let Some(live) = live else {
        // One that is not served has no need of a new one.
        return Some(Deed::Create(wish.entrance?.body(wish.first?, Gate::Closed)));
    };
    let owned = live.owned.as_deref().filter(|owned| !owned.is_leaving)?;
    if let Some(claimed) = &owned.unclaimed {
        let mut metadata = version(owned);
        metadata.insert("managedFields".to_owned(), claimed.clone());
        return Some(Deed::Claim(json!({"metadata": metadata})));
    }
    let stays = wish.kept.is_some() && wish.entrance.is_some();
    if owned.gate != Some(Gate::Closed) && (!stays || wish.gate == Gate::Closed) {
        return Some(Deed::Close(close(owned)));
    }
    if wish.is_held {
        return None;
    }
    let Some(entrance) = wish.entrance else {
        return Some(Deed::Delete(owned.uid.clone()));
    };
    let first = wish.kept.or(wish.first)?;
    let gate = if stays { wish.gate } else { Gate::Closed };
    if owned.applied.as_ref() == Some(&entrance.digest(first)) && entrance.has_strays(owned) {
        return Some(Deed::Trim(trim(entrance, first, owned)));
    }
    (!is_as_wanted(entrance, first, gate, owned)).then(|| {
        let mut body = entrance.body(first, gate);
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.extend(version(owned));
        }
        Deed::Apply(body)
    })
}

/// Whether it is what was written last, and nobody has changed that since.
fn is_as_wanted(entrance: &Entrance, first: u16, gate: Gate, owned: &Owned) -> bool {
    let content = &owned.content;
    let expose = &entrance.expose;
    let ports = owned.ports.iter().map(|(port, target, _)| (*port, *target));
    let wanted = (0..entrance.count).map(|i| {
        let port = entrance.port.saturating_add(i);
        (port, first.saturating_add(i))
    });
    let policy = expose.policy.map(|policy| format!("{policy:?}"));
    owned.gate == Some(gate)
        && owned.applied.as_ref() == Some(&entrance.digest(first))
        && ports.eq(wanted)
        && content.kind.as_deref() == Some(expose.kind.word())
        && (policy.is_none() || content.policy == policy)
        && (expose.class.is_none() || content.class == expose.class)
        && content.owner.as_ref() == Some(&entrance.owner)
        && expose
            .annotations
            .iter()
            .all(|(key, value)| content.annotations.get(key) == Some(value))
}

/// The ports that are wanted and no others; those of nodes stay as they are.
fn trim(entrance: &Entrance, first: u16, owned: &Owned) -> Value {
    let mut ports = entrance.body_of_ports(first);
    for wanted in &mut ports {
        let number = wanted.get("port").and_then(Value::as_u64);
        let of_node = owned.ports.iter().find_map(|(port, _, of_node)| {
            (Some(u64::from(*port)) == number && *of_node != 0).then_some(*of_node)
        });
        if let (Some(of_node), Some(wanted)) = (of_node, wanted.as_object_mut()) {
            wanted.insert("nodePort".to_owned(), json!(of_node));
        }
    }
    json!({"metadata": version(owned), "spec": {"ports": ports}})
}

/// Nobody's pods are selected, whatever was before.
fn close(owned: &Owned) -> Value {
    let keys = owned.selector.iter().map(|key| (key.clone(), Value::Null));
    let mut wanted: Map<String, Value> = keys.collect();
    let closed = selector(&owned.pool, Gate::Closed).into_iter();
    wanted.extend(closed.map(|(key, value)| (key.to_owned(), json!(value))));
    json!({"metadata": version(owned), "spec": {"selector": wanted}})
}

/// The state that a write is computed from.
fn version(owned: &Owned) -> Map<String, Value> {
    let version = json!(owned.resource_version);
    Map::from_iter([
        ("uid".to_owned(), json!(owned.uid)),
        ("resourceVersion".to_owned(), version),
    ])
}
