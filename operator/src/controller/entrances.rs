//! Edge. What is to be done to the Services by which clients come, while leading.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tcpforward_protocol::snapshot::ForwardName;
use tokio::sync::watch;

use super::Controller;
use super::doors::{Asked, Doors};
use super::share::Share;
use crate::compile::{Approach, Outcome, Standing};
use crate::entrance::{Gate, Live, Owned, Wish, allocation, deed};
use crate::index::Found;
use crate::patch::ServiceName;
use crate::status;
use crate::watch::Scope;

impl Controller {
    /// The same, where only these namespaces are watched, from one of the cluster's.
    pub(crate) fn within(self, scope: Scope, home: String) -> Self {
        let share = Share::new(scope, home);
        Self { share, ..self }
    }

    /// Says where pools are; those that were not looked at yet.
    pub(super) fn ask_for_entrances(&self) -> bool {
        let Some(namespaces) = &self.outputs.namespaces else {
            return false;
        };
        let entrances = self.index.entrances();
        let mut needed = self.index.pools().pod_namespaces();
        // A pool that has moved, or can't be read, leaves Services to be closed and removed.
        needed.extend(entrances.inhabited());
        let waits = needed.iter().any(|namespace| !entrances.is_read(namespace));
        namespaces.send_if_modified(|asked| {
            let changed = *asked != needed;
            *asked = needed;
            changed
        });
        waits
    }

    /// Why the Service of a forward can't be what it should be.
    pub(super) fn trouble_of(&self, name: &ForwardName) -> Option<String> {
        let approach = self.compiler.outcome(name)?.approach.as_ref()?;
        self.doors.as_ref()?.trouble(&service_of(approach))
    }

    pub(super) fn troubles(&self) -> Option<watch::Receiver<BTreeMap<ServiceName, String>>> {
        self.doors.as_ref().map(Doors::troubles)
    }

    /// Forwards whose trouble is another one.
    pub(super) fn note_troubles(&mut self) {
        let Some(doors) = &mut self.doors else { return };
        let Some(troubles) = doors.new_troubles() else {
            return;
        };
        let before = std::mem::replace(&mut self.troubled, troubles);
        let either: BTreeSet<_> = before.union(&self.troubled).cloned().collect();
        let theirs = self.compiler.outcomes().iter().filter(|(_, outcome)| {
            let approach = outcome.approach.as_ref();
            approach.is_some_and(|approach| either.contains(&service_of(approach)))
        });
        self.touched.extend(theirs.map(|(name, _)| name.clone()));
    }

    /// Hands over what is to be done to the Services of these forwards.
    pub(super) fn look_at_entrances(&mut self, names: &BTreeSet<ForwardName>, now: Instant) {
        let Some(mut doors) = self.doors.take() else {
            return;
        };
        for name in names {
            let looked_at = self.look_at_doors(&mut doors, name, now);
            doors.keep(name, &looked_at);
        }
        self.doors = Some(doors);
    }

    fn look_at_doors(
        &self,
        doors: &mut Doors,
        name: &ForwardName,
        now: Instant,
    ) -> BTreeSet<ServiceName> {
        let outcome = self.compiler.outcome(name);
        let approach = outcome.and_then(|outcome| Some((outcome, outcome.approach.as_ref()?)));
        let wanted = approach.map(|(_, approach)| service_of(approach));
        let mut looked_at: BTreeSet<ServiceName> = wanted.iter().cloned().collect();
        for (live, owned) in self.index.entrances().of(name) {
            let service = ServiceName {
                namespace: live.namespace.clone(),
                name: live.name.clone(),
            };
            if wanted.as_ref() == Some(&service) || !self.may_remove(name, outcome) {
                continue;
            }
            looked_at.insert(service.clone());
            let is_held = self.compiler.is_held(name, &owned.pool) || self.is_unclear(name, owned);
            let wish = Wish::none(is_held);
            self.hand_over(doors, name, &owned.pool, service, &wish, Some(live), now);
        }
        if let (Some((outcome, approach)), Some(service)) = (approach, wanted) {
            self.look_at_door(doors, (name, outcome, approach), service, now);
        }
        looked_at
    }

    fn look_at_door(
        &self,
        doors: &mut Doors,
        (name, outcome, approach): (&ForwardName, &Outcome, &Approach),
        service: ServiceName,
        now: Instant,
    ) {
        let entrance = &approach.entrance;
        let found = self
            .index
            .entrances()
            .find(&service.namespace, &service.name);
        let live = match found {
            Found::Absent => None,
            Found::Live(live) if approach.standing != Standing::Foreign => Some(live),
            Found::Live(_) | Found::Unread | Found::Unseen(_) => return doors.settle(&service),
        };
        let is_new = approach.first.is_none() && outcome.accepted.is_ok();
        let first = is_new.then(|| {
            let mut taken = self.compiler.taken(&self.index, &outcome.pool);
            taken.extend(doors.promised(&outcome.pool, &service));
            allocation::choose(name, entrance.count, &taken)
        });
        let wish = Wish {
            entrance: Some(entrance),
            gate: self.gate(name, outcome, live),
            is_held: self.compiler.is_held(name, &outcome.pool),
            first: first.flatten(),
            kept: approach.first,
        };
        self.hand_over(doors, name, &outcome.pool, service, &wish, live, now);
    }

    /// Whether nobody can say what is wanted: addresses of clients are not given up for that.
    fn is_unclear(&self, name: &ForwardName, owned: &Owned) -> bool {
        let pool = self.index.pools().get(&owned.pool);
        let known = self.index.known(name);
        pool.is_some_and(|pool| pool.pool.is_err()) && known.is_some()
            || known.is_some_and(|known| known.draft.is_err())
    }

    /// What is somebody else's to decide: a forward of a namespace that is not watched.
    fn may_remove(&self, name: &ForwardName, outcome: Option<&Outcome>) -> bool {
        outcome.is_some() || self.share.has_forwards_of(name.namespace())
    }

    /// It is opened once all pods serve; what is open stays so while it is served.
    fn gate(&self, name: &ForwardName, outcome: &Outcome, live: Option<&Live>) -> Gate {
        if outcome.forward.is_none() {
            return Gate::Closed;
        }
        let owned = live.and_then(|live| live.owned.as_deref());
        let is_open = owned.is_some_and(|owned| owned.gate == Some(Gate::Open));
        if is_open || status::is_applied(outcome, &self.pool_view(&outcome.pool, name)) {
            return Gate::Open;
        }
        Gate::Closed
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "two callers, and nothing to name"
    )]
    fn hand_over(
        &self,
        doors: &mut Doors,
        forward: &ForwardName,
        pool: &str,
        service: ServiceName,
        wish: &Wish<'_>,
        live: Option<&Live>,
        now: Instant,
    ) {
        let Some(deed) = deed(wish, live) else {
            return doors.settle(&service);
        };
        let owned = live.and_then(|live| live.owned.as_ref());
        let count = wish.entrance.map_or(0, |entrance| entrance.count);
        let asked = Asked {
            forward: forward.clone(),
            pool: pool.to_owned(),
            version: owned.map(|owned| owned.resource_version.clone()),
            word: deed.word(),
            ports: wish.first.map(|first| (first, count)),
            at: now,
        };
        doors.ask(service, deed, asked);
    }
}

/// Its Service.
pub(super) fn service_of(approach: &Approach) -> ServiceName {
    ServiceName {
        namespace: approach.entrance.namespace.clone(),
        name: approach.entrance.name(),
    }
}
