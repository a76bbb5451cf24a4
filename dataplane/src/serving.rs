//! Edge. Owns what runs: applies wanted sets by the plan's steps, binds, retries, and lets go.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tcpforward_protocol::answer::{Refusal, RefusalCode, ServedSpec};
use tcpforward_protocol::snapshot::{Forward, ForwardName, Settings};
use tcpforward_protocol::version::Hash;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout_at};

use crate::config::Reserved;
use crate::drain::{Cut, Phase};
use crate::plan::{self, Step};
use crate::served::Served;
use crate::shared::Shared;
use crate::sync::{Applied, Wanted};
use crate::view::{Row, View};
use crate::workers::{Listen, Workers};

mod bind;

/// How long sessions of a removed forward may go on.
const REMOVED_DRAIN: Duration = Duration::from_secs(30);

/// How long a listener that was told to close may take before its address is bound all the same.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// Between two attempts to bind an address: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

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
    retries: BTreeMap<ForwardName, Retry>,
    /// Sockets on their way to be closed.
    closing: Vec<watch::Sender<()>>,
    refused: BTreeMap<ForwardName, Refusal>,
    view: Arc<RwLock<View>>,
}

#[derive(Debug)]
struct Running {
    served: Arc<Served>,
    /// Absent: given up to let others pass.
    listener: Option<Listening>,
    /// Of listeners that it had before; their sessions go on.
    former: Vec<watch::Sender<Phase>>,
}

#[derive(Debug)]
struct Listening {
    /// As wanted.
    address: SocketAddr,
    /// As bound.
    bound: SocketAddr,
    phase: watch::Sender<Phase>,
    holding: watch::Sender<()>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Leaving {
    served: Arc<Served>,
    phases: Vec<watch::Sender<Phase>>,
    cut_at: Option<Instant>,
}

#[derive(Debug)]
struct Retry {
    spec_hash: Hash,
    at: Instant,
    pause: Duration,
    text: String,
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
            retries: BTreeMap::new(),
            closing: Vec::new(),
            refused: BTreeMap::new(),
            view,
        }
    }

    /// Makes a set what is served, as far as it can be.
    pub(crate) async fn apply(&mut self, wanted: Arc<Wanted>) {
        self.retries.retain(|name, retry| {
            let forward = wanted.forwards.get(name);
            forward.is_some_and(|forward| forward.spec_hash == retry.spec_hash)
        });
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
                .map(|(name, running)| (name.clone(), spec_of(&running.served)))
                .collect(),
            refused: self.refused.values().cloned().collect(),
        }
    }

    /// Does what is due: binds that failed are tried again, sessions of removed forwards are cut.
    /// True: something is served or refused that wasn't before.
    pub async fn tick(&mut self) -> bool {
        let now = Instant::now();
        let before = self.leaving.len();
        for leaving in self.leaving.values_mut() {
            if leaving.cut_at.is_some_and(|at| at <= now) {
                leaving.cut_at = None;
                let cut = Cut::removed(leaving.served.totals().open());
                for phase in &leaving.phases {
                    phase.send_replace(Phase::Cut(cut));
                }
            }
        }
        self.leaving
            .retain(|_, leaving| leaving.phases.iter().any(|p| !p.is_closed()));
        self.closing.retain(|holding| !holding.is_closed());
        for running in self.running.values_mut() {
            running.former.retain(|phase| !phase.is_closed());
        }
        if self.retries.values().any(|retry| retry.at <= now) {
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
                refused.insert(name.clone(), bind_refusal(forward, conflict.to_string()));
            }
        }
        for step in plan.steps {
            self.step(step, &wanted, &mut refused).await;
        }
        self.retries.retain(|name, _| refused.contains_key(name));
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
                    update(&running.served, forward, wanted.settings);
                }
            }
            Step::Move(name, address) | Step::Start(name, address) => {
                let Some(forward) = valid(&name) else { return };
                if let Err(text) = self.start(&forward, address, wanted.settings).await {
                    refused.insert(name, bind_refusal(&forward, text));
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
        let name = &forward.name;
        if let Some(retry) = self.retries.get(name)
            && retry.at > Instant::now()
        {
            return Err(retry.text.clone());
        }
        self.wait_for_closing().await;
        let bound = match bind::bind(address, self.workers.count(), &self.shared) {
            Ok(bound) => bound,
            Err(error) => return Err(self.try_later(forward, &error)),
        };
        self.retries.remove(name);
        self.close(name);
        let running = self.running_of(forward, settings);
        let (phase, _) = watch::channel(Phase::Accept);
        let (holding, _) = watch::channel(());
        let served = Arc::clone(&running.served);
        tracing::info!(forward = %name, address = %bound.address, "listening");
        running.listener = Some(Listening {
            address,
            bound: bound.address,
            phase: phase.clone(),
            holding: holding.clone(),
            _permit: bound.permit,
        });
        self.workers
            .listen(bound.sockets.into_iter().map(|socket| Listen {
                socket,
                served: Arc::clone(&served),
                phase: phase.subscribe(),
                holding: holding.subscribe(),
            }));
        Ok(())
    }

    fn try_later(&mut self, forward: &Forward, error: &bind::Error) -> String {
        let text = error.to_string();
        let former = self.retries.get(&forward.name);
        if former.is_none() {
            tracing::warn!(forward = %forward.name, error = %text, "a forward is refused");
        }
        let pause = former.map_or(RETRY.0, |retry| (retry.pause * 2).min(RETRY.1));
        let retry = Retry {
            spec_hash: forward.spec_hash,
            at: Instant::now() + pause,
            pause,
            text: text.clone(),
        };
        self.retries.insert(forward.name.clone(), retry);
        text
    }

    /// The forward in service, with this configuration: the one that runs, or the one that is
    /// leaving and comes back, or a new one.
    fn running_of(&mut self, forward: &Arc<Forward>, settings: Settings) -> &mut Running {
        let back = self.leaving.remove(&forward.name);
        let workers = self.workers.count();
        let running = self.running.entry(forward.name.clone()).or_insert_with(|| {
            let (served, former) = match back {
                Some(leaving) => (leaving.served, leaving.phases),
                None => {
                    let (forward, seed) = (Arc::clone(forward), fastrand::u64(..));
                    (
                        Arc::new(Served::new(forward, settings, workers, seed)),
                        Vec::new(),
                    )
                }
            };
            Running {
                served,
                listener: None,
                former,
            }
        });
        update(&running.served, Arc::clone(forward), settings);
        running
    }

    /// Gives up a forward's address; its sessions go on.
    fn close(&mut self, name: &ForwardName) {
        let Some(running) = self.running.get_mut(name) else {
            return;
        };
        if let Some(listener) = running.listener.take() {
            tracing::info!(forward = %name, address = %listener.bound, "no longer listening");
            listener.phase.send_replace(Phase::Stop);
            running.former.push(listener.phase);
            self.closing.push(listener.holding);
        }
    }

    fn stop(&mut self, name: &ForwardName) {
        self.close(name);
        if let Some(running) = self.running.remove(name) {
            let leaving = Leaving {
                served: running.served,
                phases: running.former,
                cut_at: Some(Instant::now() + REMOVED_DRAIN),
            };
            self.leaving.insert(name.clone(), leaving);
        }
    }

    /// A worker closes a listening socket only after it has emptied its queue.
    async fn wait_for_closing(&mut self) {
        let deadline = Instant::now() + CLOSE_TIME;
        for holding in self.closing.drain(..) {
            // Past the deadline the bind fails and says why.
            let _ = timeout_at(deadline, holding.closed()).await;
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
        for phase in self.leaving.values().flat_map(|leaving| &leaving.phases) {
            phase.send_replace(Phase::Cut(Cut::DRAIN));
        }
        // Sessions end as soon as they hear of it; a worker that is stuck is left behind.
        let _ = tokio::time::timeout(CLOSE_TIME, self.workers.end()).await;
    }
}

fn update(served: &Served, forward: Arc<Forward>, settings: Settings) {
    let active = served.active();
    if active.forward.hash != forward.hash || active.settings != settings {
        served.update(forward, settings, fastrand::u64(..));
    }
}

fn spec_of(served: &Served) -> ServedSpec {
    let forward = &served.active().forward;
    ServedSpec {
        hash: forward.spec_hash,
        generation: forward.spec.generation,
    }
}

fn bind_refusal(forward: &Forward, text: String) -> Refusal {
    Refusal {
        forward: forward.name.clone(),
        spec_hash: forward.spec_hash,
        code: RefusalCode::BindFailed,
        text,
    }
}
