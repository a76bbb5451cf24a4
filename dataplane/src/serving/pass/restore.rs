//! Edge. The way back: whoever lost its address in a pass gets it again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tcpforward_protocol::snapshot::{Forward, ForwardName};

use super::Pass;
use crate::plan;
use crate::serving::{Serving, bind};

impl Serving {
    /// A forward that gave up its address and got no other one takes the former one again. Who has
    /// moved there meanwhile goes back as well.
    pub(super) async fn restore(&mut self, name: &ForwardName, pass: &mut Pass) {
        let mut waiting = vec![name.clone()];
        let mut tried = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            let address = match self.running.get(&name) {
                Some(running) if running.listener.is_none() && tried.insert(name.clone()) => {
                    self.address(&running.served.active().forward)
                }
                _ => continue,
            };
            for other in self.holders(&name, address) {
                if let Some(former) = pass.moved.remove(&other) {
                    self.undo(&other, former, &name, pass);
                    waiting.push(other);
                }
            }
            self.wait_for_closing().await;
            let bound = bind::bind(address, self.workers.count(), &self.shared);
            match (bound, self.running.get_mut(&name)) {
                (Ok(bound), Some(running)) => {
                    let shares = running.listen(address, bound);
                    self.workers.listen(shares.into_iter());
                }
                (Ok(_), None) => {}
                (Err(error), _) => {
                    tracing::warn!(forward = %name, error = %error, "the former address is lost");
                    // Also one in a conflict comes back as soon as it can.
                    if let Some(forward) = pass.forward(&name)
                        && pass.failed.insert(name)
                    {
                        self.failed(&forward, &error.to_string());
                    }
                }
            }
        }
    }

    /// Takes a move back: the forward that was there stays.
    fn undo(
        &mut self,
        name: &ForwardName,
        former: Arc<Forward>,
        stays: &ForwardName,
        pass: &mut Pass,
    ) {
        self.close(name);
        if let Some(running) = self.running.get(name) {
            super::update(&running.served, former, self.terms(pass.wanted.settings));
        }
        if let Some(forward) = pass.forward(name) {
            let address = self.address(&forward);
            let winner = stays.clone();
            let text = plan::Conflict::Forward { address, winner }.to_string();
            self.failed(&forward, &text);
            pass.refuse(&forward, text);
        }
    }

    /// Others of ours that listen where this one would.
    pub(super) fn holders(&self, name: &ForwardName, address: SocketAddr) -> Vec<ForwardName> {
        let others = self.running.iter().filter(|(other, running)| {
            let listener = running.listener.as_ref();
            *other != name && listener.is_some_and(|l| plan::overlap(l.address, address))
        });
        others.map(|(other, _)| other.clone()).collect()
    }

    /// Those that are still without a listener, from whatever pass.
    pub(super) async fn restore_all(&mut self, pass: &mut Pass) {
        let without = self.running.iter().filter(|(_, r)| r.listener.is_none());
        let names: Vec<_> = without.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.restore(&name, pass).await;
        }
    }
}
