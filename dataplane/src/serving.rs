//! Edge. Owns what runs: applies wanted sets by the plan's steps, binds, retries, and lets go.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tcpforward_protocol::answer::Refusal;
use tcpforward_protocol::snapshot::{Forward, ForwardName, Settings};
use tokio::time::{Instant, timeout_at};

use crate::config::Reserved;
use crate::drain::Cut;
use crate::plan::{self, Step};
use crate::served::Served;
use crate::shared::Shared;
use crate::sync::{Applied, Wanted};
use crate::view::{Row, View};
use crate::workers::Workers;

mod bind;
mod retry;
mod running;

use retry::{Failure, Retries};
use running::{Closing, Leaving, Running};

/// How long a listener that was told to close may take before its address is bound all the same,
/// and sessions that were cut before the process ends.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// Everything that is bound, and everyone who is still being served.
#[derive(Debug)]
pub struct Serving {
    workers: Workers,
    shared: Arc<Shared>,
    bind: IpAddr,
    reserved: Vec<Reserved>,
    wanted: Option<Arc<Wanted>>,
    running: BTreeMap<ForwardName, Running>,
    leaving: BTreeMap<ForwardName, Leaving>,
    retries: Retries,
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
            running: BTreeMap::new(),
            leaving: BTreeMap::new(),
            retries: Retries::default(),
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

    /// What is served and refused, for the operators.
    pub(crate) fn applied(&self) -> Applied {
        let bound = self
            .running
            .iter()
            .filter(|(_, running)| running.listener.is_some());
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
        self.leaving
            .values_mut()
            .for_each(|leaving| leaving.cut_if_due(now));
        self.leaving.retain(|_, leaving| !leaving.is_over());
        self.closing.retain(|closing| !closing.is_done());
        if self.retries.is_due(self.start.elapsed()) {
            let before = self.refused.clone();
            self.run_plan().await;
            return before != self.refused;
        }
        if self.leaving.len() != before {
            self.publish();
        }
        false
    }

    async fn run_plan(&mut self) {
        let Some(wanted) = self.wanted.clone() else {
            return;
        };
        let bound = self.running.iter();
        let bound = bound.filter_map(|(n, r)| Some((n.clone(), r.listener.as_ref()?.address)));
        let forwards = wanted.forwards.values();
        let addresses = forwards
            .map(|f| (f.name.clone(), self.address(f)))
            .collect();
        let plan = plan::plan(&bound.collect(), &addresses, &self.reserved);
        let mut refused: BTreeMap<_, _> = wanted
            .refused
            .iter()
            .map(|r| (r.forward.clone(), r.clone()))
            .collect();
        for (name, conflict) in &plan.conflicts {
            if let Some(forward) = wanted.forwards.get(name) {
                refused.insert(name.clone(), bind::refusal(forward, conflict.to_string()));
            }
        }
        for step in plan.steps {
            self.step(step, &wanted, &mut refused).await;
        }
        self.leave_unwanted(&wanted);
        self.retries.keep(|name| refused.contains_key(name));
        self.refused = refused;
        self.publish();
    }

    async fn step(
        &mut self,
        step: Step,
        wanted: &Wanted,
        refused: &mut BTreeMap<ForwardName, Refusal>,
    ) {
        let valid = |name: &ForwardName| wanted.forwards.get(name).map(Arc::clone);
        match step {
            Step::Close(name) => self.close(&name),
            Step::Stop(name) => self.stop(&name),
            Step::Update(name) => {
                if let (Some(forward), Some(running)) = (valid(&name), self.running.get(&name)) {
                    running
                        .served
                        .update(forward, wanted.settings, fastrand::u64(..));
                }
            }
            Step::Move(name, address) | Step::Start(name, address) => {
                let Some(forward) = valid(&name) else { return };
                if let Err(text) = self.start(&forward, address, wanted.settings).await {
                    refused.insert(name, bind::refusal(&forward, text));
                }
            }
        }
    }

    /// Binds first and gives up the former address afterwards; the text says why it can't.
    async fn start(
        &mut self,
        forward: &Arc<Forward>,
        address: SocketAddr,
        settings: Settings,
    ) -> Result<(), String> {
        let now = self.start.elapsed();
        if let Some(text) = self.retries.blocked(forward, now) {
            return Err(text.to_owned());
        }
        self.wait_for_closing().await;
        let bound = bind::bind(address, self.workers.count(), &self.shared).map_err(|error| {
            let text = error.to_string();
            if self.retries.failed(forward, text.clone(), now) == Failure::First {
                tracing::warn!(forward = %forward.name, error = %text, "a forward is refused");
            }
            text
        })?;
        self.close(&forward.name);
        let shares = self.running_of(forward, settings).listen(address, bound);
        self.workers.listen(shares.into_iter());
        Ok(())
    }

    /// The forward in service, with this configuration: the one that runs, or the one that is
    /// leaving and comes back, or a new one.
    fn running_of(&mut self, forward: &Arc<Forward>, settings: Settings) -> &mut Running {
        let back = self.leaving.remove(&forward.name).map(Leaving::come_back);
        let workers = self.workers.count();
        let running = self.running.entry(forward.name.clone()).or_insert_with(|| {
            back.unwrap_or_else(|| {
                let (forward, seed) = (Arc::clone(forward), fastrand::u64(..));
                Running::new(Arc::new(Served::new(forward, settings, workers, seed)))
            })
        });
        running
            .served
            .update(Arc::clone(forward), settings, fastrand::u64(..));
        running
    }

    /// Gives up a forward's address; its sessions go on.
    fn close(&mut self, name: &ForwardName) {
        let closing = self.running.get_mut(name).and_then(Running::close);
        self.closing.extend(closing);
    }

    fn stop(&mut self, name: &ForwardName) {
        self.close(name);
        if let Some(running) = self.running.remove(name) {
            self.leaving.insert(name.clone(), running.leave());
        }
    }

    /// Those that have no listener at present are in no plan.
    fn leave_unwanted(&mut self, wanted: &Wanted) {
        let names = self
            .running
            .keys()
            .filter(|name| !wanted.forwards.contains_key(*name));
        let names: Vec<_> = names.cloned().collect();
        names.iter().for_each(|name| self.stop(name));
    }

    /// A worker closes a listening socket only after it has emptied its queue.
    async fn wait_for_closing(&mut self) {
        let deadline = Instant::now() + CLOSE_TIME;
        for closing in self.closing.drain(..) {
            // Past the deadline the bind fails and says why.
            let _ = timeout_at(deadline, closing.done()).await;
        }
    }

    fn address(&self, forward: &Forward) -> SocketAddr {
        let listener = forward.spec.listener;
        SocketAddr::new(listener.address.unwrap_or(self.bind), listener.port.get())
    }

    fn publish(&self) {
        let leaving = self.leaving.iter().map(|(name, leaving)| {
            (
                name.clone(),
                Row {
                    served: Arc::clone(&leaving.served),
                    listeners: Vec::new(),
                },
            )
        });
        let running = self.running.iter().map(|(name, running)| {
            let listeners = running.listener.iter().map(|l| l.bound).collect();
            (
                name.clone(),
                Row {
                    served: Arc::clone(&running.served),
                    listeners,
                },
            )
        });
        let forwards = leaving.chain(running).collect();
        let view = View {
            forwards,
            refused: self.refused.clone(),
        };
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = view;
        self.shared.news.notify_one();
    }

    /// Stops accepting everywhere; sessions go on.
    pub fn stop_all(&mut self) {
        let names: Vec<_> = self.running.keys().cloned().collect();
        names.iter().for_each(|name| self.stop(name));
    }

    /// Waits until the last session has ended; at the deadline the others are cut.
    pub async fn end(mut self, deadline: Instant) {
        if timeout_at(deadline, self.workers.end()).await.is_ok() {
            return;
        }
        self.leaving
            .values()
            .for_each(|leaving| leaving.cut(Cut::DRAIN));
        // Sessions end as soon as they hear of it; a worker that is stuck is left behind.
        let _ = tokio::time::timeout(CLOSE_TIME, self.workers.end()).await;
    }
}
