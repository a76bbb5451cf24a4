//! Edge. Owns what runs: applies wanted sets by the plan's steps, binds, retries, and lets go.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tcpforward_protocol::answer::Refusal;
use tcpforward_protocol::snapshot::{Forward, ForwardName, Settings};
use tokio::time::{Instant, timeout_at};

use crate::balancer::outcome::Observed;
use crate::config::Reserved;
use crate::place::{Place, Terms};
use crate::plan::Addresses;
use crate::relay::ending::Ending;
use crate::shared::Shared;
use crate::sync::{Applied, Wanted};
use crate::view::{Row, View};
use crate::workers::Workers;

mod bind;
mod carry;
mod pass;
mod retry;
mod running;
mod tuning;

use retry::Retries;
use running::{Closing, Leaving, Running};
use tuning::Tuning;

/// How long a listener that was told to close may take before its address is bound all the same,
/// and sessions that were cut before the process ends.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// How often what is due is looked for: binds to retry, sessions to close.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// Everything that is bound, and everyone who is still being served.
#[derive(Debug)]
pub struct Serving {
    workers: Workers,
    shared: Arc<Shared>,
    bind: IpAddr,
    reserved: Vec<Reserved>,
    wanted: Option<Arc<Wanted>>,
    place: Arc<Place>,
    running: BTreeMap<ForwardName, Running>,
    leaving: BTreeMap<ForwardName, Leaving>,
    retries: Retries,
    tuning: Tuning,
    closing: Vec<Closing>,
    refused: BTreeMap<ForwardName, Refusal>,
    view: Arc<RwLock<View>>,
    start: Instant,
}

impl Serving {
    /// Nothing is served yet. `bind`: where forwards without an address listen.
    #[must_use]
    pub fn new(
        workers: Workers,
        shared: Arc<Shared>,
        bind: IpAddr,
        reserved: Vec<Reserved>,
        view: Arc<RwLock<View>>,
    ) -> Self {
        Self {
            workers,
            shared,
            bind,
            reserved,
            wanted: None,
            place: Arc::default(),
            running: BTreeMap::new(),
            leaving: BTreeMap::new(),
            retries: Retries::default(),
            tuning: Tuning::default(),
            closing: Vec::new(),
            refused: BTreeMap::new(),
            view,
            start: Instant::now(),
        }
    }

    /// Makes a set what is served, as far as it can be.
    pub(crate) async fn apply(&mut self, wanted: Arc<Wanted>) {
        self.wanted = Some(wanted);
        self.run_plan().await;
    }

    /// Serves the same from another place, or with another share of what is limited.
    /// True: something is served or refused that wasn't before.
    pub async fn set_place(&mut self, place: Place) -> bool {
        if *self.place == place {
            return false;
        }
        self.place = Arc::new(place);
        self.run_plan().await
    }

    fn terms(&self, settings: Settings) -> Terms {
        Terms {
            settings,
            place: Arc::clone(&self.place),
        }
    }

    /// What is served and refused, for the operators.
    pub(crate) fn applied(&self) -> Applied {
        let bound = self
            .running
            .iter()
            .filter(|(_, running)| self.lacking(running).is_empty());
        Applied {
            seq: self.wanted.as_ref().map_or(0, |wanted| wanted.seq),
            serving: bound
                .map(|(name, running)| (name.clone(), running.served.spec()))
                .collect(),
            refused: self.refused.values().cloned().collect(),
        }
    }

    /// Does what is due: binds that failed are tried again, sessions of removed forwards are cut.
    /// True: something is served or refused that wasn't before.
    pub async fn tick(&mut self) -> bool {
        let before = self.leaving.len();
        let now = Instant::now();
        self.leaving.retain(|_, leaving| !leaving.is_over());
        self.closing.retain(|closing| !closing.is_done());
        self.tend(now);
        if self.retries.is_due(self.start.elapsed()) {
            return self.run_plan().await;
        }
        if self.leaving.len() != before {
            self.publish();
        }
        false
    }

    fn addresses(&self, forward: &Forward) -> Addresses {
        let listener = &forward.spec.listener;
        let ip = listener.address.unwrap_or(self.bind);
        let ports = listener.ports();
        ports.map(|port| SocketAddr::new(ip, port.get())).collect()
    }

    /// Where a forward should listen by what is in service, and doesn't.
    fn lacking(&self, running: &Running) -> Addresses {
        &self.addresses(&running.served.active().forward) - &running.addresses()
    }

    /// Does what is due for those that are being served: ejections end, who waits gets a place,
    /// sessions end whose time has come.
    fn tend(&self, now: Instant) {
        let running = self.running.values().map(|running| &running.served);
        let leaving = self.leaving.values().map(|leaving| &leaving.served);
        let mut rng = fastrand::Rng::new();
        for served in running.chain(leaving) {
            if served.tick(now.into_std()) == Observed::Changed {
                self.shared.news.notify_one();
            }
            served.close_sessions(now.into_std(), &mut rng);
        }
    }

    /// Shows what is served now, and has it told at once if listeners or refusals changed.
    fn publish(&self) -> bool {
        let leaving = self.leaving.iter().map(|(name, leaving)| {
            (
                name.clone(),
                Row {
                    served: Arc::clone(&leaving.served),
                    listeners: Vec::new(),
                    notes: Vec::new(),
                },
            )
        });
        let running = self.running.iter().map(|(name, running)| {
            let listeners = running.bound();
            (
                name.clone(),
                Row {
                    served: Arc::clone(&running.served),
                    listeners,
                    notes: self.tuning.notes(name).to_vec(),
                },
            )
        });
        let forwards: BTreeMap<_, Row> = leaving.chain(running).collect();
        let bound = forwards
            .values()
            .flat_map(|row| row.listeners.iter().copied());
        self.shared.set_listeners(bound);
        let view = View {
            forwards,
            refused: self.refused.clone(),
        };
        let mut shown = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = !shown.is_bound_like(&view) || shown.refused != view.refused;
        *shown = view;
        drop(shown);
        if is_new {
            self.shared.news.notify_one();
        }
        is_new
    }

    /// Stops accepting everywhere; sessions go on: that this process ends removes no forward.
    pub fn stop_all(&mut self) {
        let names: Vec<_> = self.running.keys().cloned().collect();
        names.iter().for_each(|name| self.give_up(name));
    }

    /// Waits until the last session has ended; at the deadline the others are cut. Until then
    /// what is due by time is done as ever, but no operator is heard any more.
    pub async fn end(mut self, deadline: Instant) {
        let mut tick = tokio::time::interval(TICK);
        while Instant::now() < deadline {
            let until = deadline.min(tick.tick().await + TICK);
            self.tend(Instant::now());
            if timeout_at(until, self.workers.end()).await.is_ok() {
                return;
            }
        }
        self.leaving
            .values()
            .for_each(|leaving| leaving.served.sessions().end_all(Ending::Drain));
        // Sessions end as soon as they hear of it; a worker that is stuck is left behind.
        let _ = tokio::time::timeout(CLOSE_TIME, self.workers.end()).await;
    }
}

#[cfg(test)]
mod tests;
