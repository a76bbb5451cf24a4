//! Pure. How clients come to a forward: by which Service, how far that is, and where pods listen then.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use serde_json::Value;
use tcpforward_protocol::snapshot::{ForwardName, Listener};

use super::ports::By;
use super::{Compiler, Place, pools};
use crate::crd::status::Address;
use crate::entrance::{Entrance, Gate, Live, Owned, allocation};
use crate::forward::Draft;
use crate::index::{Found, Index, Unseen};

/// Where pods of a pool without hostNetwork listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodPorts {
    /// Where the Services say that lead to them.
    Allocated,
    /// Nobody looks at Services: it is judged as if they listened where clients dial.
    AsWritten,
}

/// The Service of a forward, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approach {
    /// What is wanted.
    pub entrance: Entrance,
    /// How far it is.
    pub standing: Standing,
    /// The first port of pods, if it is allocated and nobody else's.
    pub first: Option<u16>,
    /// Where clients come; empty: there is no Service of ours.
    pub addresses: Vec<Address>,
}

/// How far a Service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is none.
    Absent,
    /// It is there, and leads to no pod.
    Closed,
    /// Someone else has one of that name.
    Foreign,
    /// It is being deleted.
    Leaving,
    /// It leads to pods.
    Open,
    /// It leads to pods, and has no address of a load balancer yet.
    Unbalanced,
    /// Its ports have to be other ones.
    Unallocated,
    /// Nobody has looked yet.
    Unread,
    /// Nobody looks.
    Unseen(Unseen),
}

impl Approach {
    fn new(index: &Index, entrance: Entrance) -> Self {
        let found = index
            .entrances()
            .find(&entrance.namespace, &entrance.name());
        let (standing, owned) = match found {
            Found::Absent => (Standing::Absent, None),
            Found::Unread => (Standing::Unread, None),
            Found::Unseen(why) => (Standing::Unseen(why), None),
            Found::Live(live) => match ours(live, &entrance) {
                None => (Standing::Foreign, None),
                Some(owned) if owned.is_leaving => (Standing::Leaving, None),
                Some(owned) => (standing(&entrance, owned), Some((live, owned))),
            },
        };
        let first = owned.and_then(|(live, owned)| allocated(index, &entrance, live, owned));
        Self {
            standing: match (first, owned) {
                (None, Some(_)) => Standing::Unallocated,
                _ => standing,
            },
            first,
            addresses: owned.map_or_else(Vec::new, |(_, owned)| owned.addresses.clone()),
            entrance,
        }
    }
}

impl Compiler {
    /// The Service by which clients of a forward come, whether or not it is served.
    pub(super) fn approach(
        &self,
        index: &Index,
        name: &ForwardName,
        draft: &Draft,
    ) -> Option<Approach> {
        if self.rules.place == Place::Manifests || self.rules.pod_ports == PodPorts::AsWritten {
            return None;
        }
        let pool = pools::valid(index, &draft.pool)?;
        // What the pool does not allow is not kept for the day when it does.
        if pool.no_exposure(&draft.pool, draft).is_some() {
            return None;
        }
        let expose = pool.service_of(draft)?;
        let known = index.pools().get(&draft.pool)?;
        let owner = known.raw.pointer("/metadata/uid").and_then(Value::as_str);
        let (port, count) = Entrance::ports(&draft.spec.listener);
        let entrance = Entrance {
            pool: draft.pool.clone(),
            owner: owner.unwrap_or_default().to_owned(),
            forward: name.clone(),
            namespace: pool.account.namespace.clone(),
            port,
            count,
            expose: expose.clone(),
        };
        Some(Approach::new(index, entrance))
    }

    /// Where its pods listen; none: that is not known yet.
    pub(super) fn pod_listener(
        &self,
        index: &Index,
        name: &ForwardName,
        draft: &Draft,
    ) -> Option<(Listener, By)> {
        let mut listener = draft.spec.listener.clone();
        let Some(approach) = self.approach(index, name, draft) else {
            return Some((listener, By::Name));
        };
        let first = approach.first?;
        let last = first.saturating_add(approach.entrance.count.saturating_sub(1));
        listener.port = NonZeroU16::new(first)?;
        listener.end_port = match listener.end_port {
            Some(_) => NonZeroU16::new(last),
            None => None,
        };
        Some((listener, By::Allocation))
    }

    /// Ports of a pool's pods that nobody may be given.
    #[must_use]
    pub fn taken(&self, index: &Index, pool: &str) -> BTreeSet<u16> {
        let given = index.entrances().taken(pool);
        given.chain(self.ports.named(pool)).collect()
    }
}

/// Two forwards of one name are one, and another one's Service is as foreign as anybody's.
fn ours<'a>(live: &'a Live, entrance: &Entrance) -> Option<&'a Owned> {
    let owned = live.owned.as_deref()?;
    (owned.pool == entrance.pool && owned.forward == entrance.forward).then_some(owned)
}

fn standing(entrance: &Entrance, owned: &Owned) -> Standing {
    match owned.gate {
        Some(Gate::Open) if entrance.is_balanced() && !owned.is_balanced => Standing::Unbalanced,
        Some(Gate::Open) => Standing::Open,
        Some(Gate::Closed) | None => Standing::Closed,
    }
}

fn allocated(index: &Index, entrance: &Entrance, live: &Live, owned: &Owned) -> Option<u16> {
    // Others may have put ports beside ours, and clients may dial other ones of pods that stay.
    let moved = || {
        let (first, count) = owned.allocation?;
        (count == entrance.count).then_some(first)
    };
    let first = entrance.allocation(owned).or_else(moved)?;
    let last = first.checked_add(entrance.count.checked_sub(1)?)?;
    let is_ours = [first, last]
        .iter()
        .all(|port| allocation::RANGE.contains(port));
    (is_ours && index.entrances().is_first(live, owned)).then_some(first)
}
