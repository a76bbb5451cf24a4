//! Edge. One pass: the steps of a plan, and the way back for a forward whose new address can't be
//! had.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tcpforward_protocol::answer::Refusal;
use tcpforward_protocol::snapshot::{Forward, ForwardName, TcpOptions};
use tokio::time::{Instant, timeout_at};

mod restore;

use super::retry::Failure;
use super::running::{Leaving, Running};
use super::{CLOSE_TIME, Serving, bind};
use crate::place::Terms;
use crate::plan::{self, Addresses, Step};
use crate::served::Served;
use crate::socket::Share;
use crate::sync::{Wanted, assemble};

/// What a pass starts from, and what has come of it so far.
struct Pass {
    wanted: Arc<Wanted>,
    refused: BTreeMap<ForwardName, Refusal>,
    /// Whose bind failed, now or a little earlier: they are tried again.
    failed: BTreeSet<ForwardName>,
    /// Who has moved, and what it was before.
    moved: BTreeMap<ForwardName, Arc<Forward>>,
}

impl Pass {
    fn forward(&self, name: &ForwardName) -> Option<Arc<Forward>> {
        self.wanted.forwards.get(name).map(Arc::clone)
    }

    fn refuse(&mut self, forward: &Forward, text: String) {
        let name = forward.name.clone();
        self.failed.insert(name.clone());
        self.refused.insert(name, bind::refusal(forward, text));
    }
}

impl Serving {
    /// True: a listener or a refusal is not what it was.
    pub(super) async fn run_plan(&mut self) -> bool {
        let Some(wanted) = self.wanted.clone() else {
            return false;
        };
        let (wanted, untuned) = self.carried(wanted);
        let bound = self.running.iter().map(|(n, r)| (n.clone(), r.addresses()));
        let bound = bound.filter(|(_, addresses)| !addresses.is_empty());
        let forwards = wanted.forwards.values();
        let addresses = forwards
            .map(|f| (f.name.clone(), self.addresses(f)))
            .collect();
        let plan = plan::plan(&bound.collect(), &addresses, &self.reserved);
        let refused = wanted.refused.iter();
        let mut pass = Pass {
            refused: refused.map(|r| (r.forward.clone(), r.clone())).collect(),
            failed: untuned,
            moved: BTreeMap::new(),
            wanted,
        };
        for (name, conflict) in &plan.conflicts {
            if let Some(forward) = pass.forward(name) {
                let refusal = bind::refusal(&forward, conflict.to_string());
                pass.refused.insert(name.clone(), refusal);
            }
        }
        for step in plan.steps {
            self.step(step, &mut pass).await;
        }
        self.leave_unwanted(&pass.wanted);
        self.restore_all(&mut pass).await;
        self.refresh(&pass);
        self.retries.keep(|name| pass.failed.contains(name));
        self.refused = pass.refused;
        self.publish()
    }

    async fn step(&mut self, step: Step, pass: &mut Pass) {
        match step {
            Step::Close(name) => self.make_way(&name, pass),
            Step::Stop(name) => self.stop(&name),
            Step::Update(name) if self.is_tuned(&name, pass) => {
                let terms = self.terms(pass.wanted.settings.clone());
                if let (Some(forward), Some(running)) =
                    (pass.forward(&name), self.running.get(&name))
                {
                    update(&running.served, forward, terms);
                }
            }
            Step::Move(name, _) | Step::Start(name, _) | Step::Update(name) => {
                let Some(forward) = pass.forward(&name) else {
                    return;
                };
                let addresses = self.addresses(&forward);
                if let Err(text) = self.start(&forward, &addresses, pass).await {
                    pass.refuse(&forward, text);
                    self.restore(&name, pass).await;
                }
            }
        }
    }

    /// Whether all sockets where it listens have the options that it wants.
    fn is_tuned(&self, name: &ForwardName, pass: &Pass) -> bool {
        let (forward, running) = (pass.wanted.forwards.get(name), self.running.get(name));
        let tcp = forward.map(|forward| &forward.spec.listener.tcp);
        tcp.zip(running)
            .is_none_or(|(tcp, running)| running.tuned_otherwise(tcp).is_empty())
    }

    /// Gives up addresses before the new ones are bound, unless it is known that this would be for
    /// nothing.
    fn make_way(&mut self, name: &ForwardName, pass: &Pass) {
        let Some(forward) = pass.forward(name) else {
            return;
        };
        let now = self.start.elapsed();
        if self.retries.blocked(&forward, now).is_some() {
            return;
        }
        let addresses = self.addresses(&forward);
        match addresses.first().map_or(Ok(()), |a| bind::probe(*a)) {
            Ok(()) => self.keep(name, &addresses),
            // The start that follows tells it.
            Err(error) => self.failed(&forward, &error.to_string()),
        }
    }

    /// Binds what is missing first and gives up what it won't keep afterwards. Sockets get the options
    /// that it wants; those that can't have them are replaced by some that join them first, so that no
    /// client is refused. The text says why it can't.
    async fn start(
        &mut self,
        forward: &Arc<Forward>,
        addresses: &Addresses,
        pass: &mut Pass,
    ) -> Result<(), String> {
        let now = self.start.elapsed();
        if let Some(text) = self.retries.blocked(forward, now) {
            return Err(text.to_owned());
        }
        self.wait_for_closing().await;
        let bound = match self.sockets(forward, addresses) {
            Ok(bound) => bound,
            Err(error) => {
                let ours = error.taken().and_then(|address| {
                    let (winner, _) = self.holders(&forward.name, &[address].into()).pop()?;
                    Some(plan::Conflict::Forward { address, winner }.to_string())
                });
                let text = ours.unwrap_or_else(|| error.to_string());
                self.failed(forward, &text);
                return Err(text);
            }
        };
        self.keep(&forward.name, addresses);
        if let Some(running) = self.running.get(&forward.name) {
            let former = Arc::clone(&running.served.active().forward);
            pass.moved.insert(forward.name.clone(), former);
        }
        let terms = self.terms(pass.wanted.settings.clone());
        let running = self.running_of(forward, &terms);
        update(&running.served, Arc::clone(forward), terms);
        running.tune(&forward.spec.listener.tcp);
        let shares: Vec<_> = bound.into_iter().map(|b| running.listen(b)).collect();
        for of_an_address in shares {
            self.workers.listen(of_an_address.into_iter());
        }
        Ok(())
    }

    /// What a forward lacks there, or has with options that can't be taken back.
    fn sockets(
        &self,
        forward: &Forward,
        addresses: &Addresses,
    ) -> Result<Vec<bind::Bound>, bind::Error> {
        let tcp = &forward.spec.listener.tcp;
        let Some(running) = self.running.get(&forward.name) else {
            return self.bind(addresses, Share::First, tcp);
        };
        let mut bound = self.bind(&(addresses - &running.addresses()), Share::First, tcp)?;
        let anew = &running.tuned_for_good(tcp) & addresses;
        bound.extend(self.bind(&anew, Share::Join, tcp)?);
        Ok(bound)
    }

    fn bind(
        &self,
        addresses: &Addresses,
        first: Share,
        tcp: &TcpOptions,
    ) -> Result<Vec<bind::Bound>, bind::Error> {
        bind::bind(addresses, first, self.workers.count(), tcp, &self.shared)
    }

    pub(super) fn failed(&mut self, forward: &Forward, text: &str) {
        let now = self.start.elapsed();
        if self.retries.failed(forward, text.to_owned(), now) == Failure::First {
            tracing::warn!(forward = %forward.name, error = %text, "a forward is refused");
        }
    }

    /// The forward in service: the one that runs, or the one that is leaving and comes back, or a
    /// new one.
    fn running_of(&mut self, forward: &Arc<Forward>, terms: &Terms) -> &mut Running {
        let back = self.leaving.remove(&forward.name).map(Leaving::come_back);
        let workers = self.workers.count();
        self.running.entry(forward.name.clone()).or_insert_with(|| {
            back.unwrap_or_else(|| {
                let (forward, seed) = (Arc::clone(forward), fastrand::u64(..));
                let (terms, now) = (terms.clone(), Instant::now().into_std());
                Running::new(Arc::new(Served::new(forward, terms, workers, now, seed)))
            })
        })
    }

    /// Those that could not go where they are wanted: their former spec stays, and their backends
    /// are those of today.
    fn refresh(&self, pass: &Pass) {
        let wanted = &pass.wanted;
        for (name, running) in &self.running {
            let Some(forward) = wanted.forwards.get(name) else {
                continue;
            };
            let is_elsewhere = running.addresses() != self.addresses(forward);
            if is_elsewhere || pass.failed.contains(name) {
                let former = running.served.active();
                let mixed = assemble::with_backends(&former.forward, forward);
                update(
                    &running.served,
                    Arc::new(mixed),
                    self.terms(wanted.settings.clone()),
                );
            }
        }
    }

    /// Gives up all addresses of a forward but those; its sessions go on.
    fn keep(&mut self, name: &ForwardName, kept: &Addresses) {
        if let Some(running) = self.running.get_mut(name) {
            self.closing.extend(running.keep(kept));
        }
    }

    /// For a forward that is gone. One that outlives this process only gives up its addresses.
    fn stop(&mut self, name: &ForwardName) {
        self.give_up(name);
        if let Some(leaving) = self.leaving.get(name) {
            leaving.removed(Instant::now());
        }
    }

    /// Accepts no more; sessions go on.
    pub(super) fn give_up(&mut self, name: &ForwardName) {
        self.keep(name, &Addresses::new());
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
    pub(super) async fn wait_for_closing(&mut self) {
        let deadline = Instant::now() + CLOSE_TIME;
        for closing in self.closing.drain(..) {
            // Past the deadline the bind fails and says why.
            let _ = timeout_at(deadline, closing.done()).await;
        }
    }
}

/// Swaps what is served from now on.
fn update(served: &Served, forward: Arc<Forward>, terms: Terms) {
    let now = Instant::now().into_std();
    served.update(forward, terms, now, fastrand::u64(..));
}
