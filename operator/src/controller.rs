//! Edge. One task owns the known world: events in, snapshots and statuses out.
//!
//! Events only mark what to look at again. Nothing is published before every cache is filled.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcpforward_protocol::snapshot::ForwardName;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::compile::{Compiler, Rules};
use crate::crd::DataPlane;
use crate::index::{Event, Index, Kind, Object};
use crate::lease::{LeaseView, now};
use crate::metrics::Metrics;
use crate::patch::ServiceName;
use crate::pods::Pods;
use crate::push::{Published, Roster};
use crate::status::Addresses;
use crate::watch::{self as kinds, Zones};

mod batch;
mod beat;
mod doors;
mod entrances;
mod missing;
mod outputs;
mod pods;
mod pools;
mod publish;
mod secrets;
mod share;
mod statuses;
mod views;

use batch::Batch;
use doors::Doors;
pub use outputs::{ForwardView, Forwards};
pub(crate) use outputs::{Outputs, Pulse, Writing};
use pods::Roll;
use share::Share;
use statuses::Statuses;

/// Data planes get this long to connect before a new writer says that there are none.
const GRACE: Duration = Duration::from_secs(10);

/// How often the loop shows that it is alive, and looks for counts whose time has come.
const TICK: Duration = Duration::from_secs(1);

const KINDS: [Kind; 8] = [
    Kind::TcpForward,
    Kind::DataPlane,
    Kind::Namespace,
    Kind::Service,
    Kind::ServiceCidr,
    Kind::EndpointSlice,
    Kind::Node,
    Kind::ReferenceGrant,
];

/// The owner of the known world.
pub(crate) struct Controller {
    index: Index,
    compiler: Compiler,
    missing: BTreeSet<&'static str>,
    affected: BTreeSet<ForwardName>,
    touched: BTreeSet<ForwardName>,
    zones: Zones,
    pods: Option<watch::Receiver<Pods>>,
    roll: Roll,
    statuses: Option<Statuses>,
    pool_statuses: Option<Statuses<DataPlane>>,
    doors: Option<Doors>,
    /// Services that the API server says something against.
    troubled: BTreeSet<ServiceName>,
    share: Share,
    addresses: Addresses,
    grace: Option<Instant>,
    holds: Holds,
    roster: Arc<Roster>,
    lease: watch::Receiver<LeaseView>,
    outputs: Outputs,
    published: Published,
    metrics: Metrics,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    No,
    Yes,
}

impl Controller {
    pub(crate) fn new(
        rules: Rules,
        index: Index,
        writing: Writing,
        roster: Arc<Roster>,
        lease: watch::Receiver<LeaseView>,
        outputs: Outputs,
        metrics: Metrics,
    ) -> Self {
        let mut missing: BTreeSet<_> = KINDS.into_iter().map(kinds::word).collect();
        if outputs.secrets.is_none() {
            missing.insert(kinds::word(Kind::Secret));
        }
        let (statuses, pool_statuses, doors, addresses) = match writing {
            Writing::Cluster {
                forwards,
                pools,
                services,
            } => (
                Some(Statuses::new(forwards)),
                Some(Statuses::new(pools)),
                Some(Doors::new(services)),
                Addresses::Omitted,
            ),
            Writing::Local => (None, None, None, Addresses::Reported),
        };
        Self {
            published: Published::new(Compiler::bare(rules.place)),
            index,
            compiler: Compiler::new(rules),
            missing,
            affected: BTreeSet::new(),
            touched: BTreeSet::new(),
            zones: Zones::default(),
            pods: None,
            roll: Roll::default(),
            statuses,
            pool_statuses,
            doors,
            troubled: BTreeSet::new(),
            share: Share::All,
            addresses,
            grace: None,
            holds: Holds::No,
            roster,
            lease,
            outputs,
            metrics,
        }
    }

    /// Takes events until they end or shutdown.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        shutdown: CancellationToken,
    ) {
        let mut news = self.roster.news();
        let mut seen = self.pods.clone();
        let mut troubles = self.troubles();
        let mut tick = tokio::time::interval(TICK);
        let mut batch = Batch::default();
        loop {
            let due = batch.due();
            let pass = async {
                match due {
                    Some(time) => tokio::time::sleep_until(time.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = pods::changed(&mut seen) => batch.note(now()),
                () = doors::troubled(&mut troubles) => batch.note(now()),
                event = events.recv() => match event {
                    Some(event) => {
                        self.take(event);
                        batch.note(now());
                    }
                    None => return,
                },
                Ok(()) = news.changed() => batch.note(now()),
                Ok(()) = self.lease.changed() => batch.note(now()),
                _ = tick.tick() => self.beat(&mut batch),
                () = pass => {
                    batch.close();
                    self.pass();
                }
            }
        }
    }

    fn take(&mut self, event: Event) {
        match &event {
            Event::Replaced(kind, objects) => {
                self.missing.remove(kinds::word(*kind));
                self.touched.extend(objects.iter().filter_map(forward_name));
            }
            Event::Applied(object) => self.touched.extend(forward_name(object)),
            Event::Deleted { .. } | Event::Sight(_) | Event::Entrances(_) => {}
        }
        if let Some(zones) = self.zones.take(&event) {
            self.published = self.published.with_zones(Arc::new(zones));
        }
        self.affected.extend(self.index.apply(event));
    }

    /// Looks again at everything that was marked.
    fn pass(&mut self) {
        let waiting = self.ask_for_secrets();
        let are_unread = self.ask_for_entrances();
        let first = self.outputs.published.borrow().is_none();
        let mut waits_for: Vec<_> = self.missing.iter().copied().collect();
        if first && !waiting.is_empty() {
            waits_for.push(kinds::word(Kind::Secret));
        }
        if first && are_unread {
            waits_for.push(kinds::ENTRANCE);
        }
        let is_whole = waits_for.is_empty();
        self.outputs
            .pulse
            .send_modify(|pulse| pulse.waits_for = waits_for);
        if !is_whole {
            // The first whole pass looks at everything anyway.
            drop(self.roster.take_dirty());
            return;
        }
        self.metrics.passes.inc();
        if first {
            self.affected.extend(self.index.names().cloned());
            self.grace = Some(now() + GRACE);
        }
        // One whose Secret was not read yet stays what it was until then, but for a lost right.
        let affected = std::mem::take(&mut self.affected);
        let (later, affected) = affected.into_iter().partition(|name| {
            waiting.contains(name) && !self.compiler.loses_a_grant(&self.index, name)
        });
        self.affected = later;
        self.call_the_roll(now());
        self.note_troubles();
        let released = self.compiler.tick(&self.index, now());
        let affected = affected.into_iter().chain(released).collect();
        let mut look_at = std::mem::take(&mut self.touched);
        look_at.extend(self.compile(&affected));
        look_at.extend(self.lease_news());
        look_at.extend(self.roster_news());
        self.publish();
        self.look_at(&look_at);
        if self.holds == Holds::Yes {
            self.look_at_entrances(&look_at, now());
        }
        self.look_at_pools();
        self.count();
    }

    fn compile(&mut self, affected: &BTreeSet<ForwardName>) -> BTreeSet<ForwardName> {
        let changes = self.compiler.compile(&self.index, affected);
        let n = u64::try_from(changes.forwards.len()).unwrap_or(u64::MAX);
        self.metrics.compiled.inc_by(n);
        self.published = self.with_pools(&changes.pools);
        changes.forwards
    }

    /// A new writer looks at everything, and gives data planes time to connect.
    fn lease_news(&mut self) -> BTreeSet<ForwardName> {
        let holds = self.holding();
        let before = std::mem::replace(&mut self.holds, holds);
        if self.statuses.is_none() || before == holds || holds == Holds::No {
            return BTreeSet::new();
        }
        self.grace = Some(now() + GRACE);
        if let Some(statuses) = &mut self.statuses {
            statuses.start_over();
        }
        if let Some(statuses) = &mut self.pool_statuses {
            statuses.start_over();
        }
        if let Some(doors) = &mut self.doors {
            doors.start_over();
        }
        let with_services = self.index.entrances().forwards();
        self.index.names().chain(with_services).cloned().collect()
    }

    fn holding(&self) -> Holds {
        match self.lease.borrow().holds(now()) {
            true => Holds::Yes,
            false => Holds::No,
        }
    }
}

fn forward_name(object: &Object) -> Option<ForwardName> {
    matches!(object, Object::TcpForward(_))
        .then(|| ForwardName::new(object.namespace(), object.name()))
}

#[cfg(test)]
mod tests;
