//! Edge. The way back: whoever lost an address in a pass gets it again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tcpforward_protocol::snapshot::{Forward, ForwardName};

use super::Pass;
use crate::plan::{self, Addresses};
use crate::serving::Serving;
use crate::socket::Share;

impl Serving {
    /// A forward that gave up addresses and got no others takes the former ones again. Who has
    /// moved there meanwhile goes back as well.
    pub(super) async fn restore(&mut self, name: &ForwardName, pass: &mut Pass) {
        let mut waiting = vec![name.clone()];
        let mut tried = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            let lacking = match self.running.get(&name) {
                Some(running) if tried.insert(name.clone()) => self.lacking(running),
                _ => continue,
            };
            for (other, address) in self.holders(&name, &lacking) {
                if let Some(former) = pass.moved.remove(&other) {
                    let winner = name.clone();
                    let conflict = plan::Conflict::Forward { address, winner };
                    self.undo(&other, former, &conflict, pass);
                    waiting.push(other);
                }
            }
            self.wait_for_closing().await;
            // Each for itself: what can be had again is better than nothing.
            for address in lacking {
                self.bind_again(&name, address, pass);
            }
        }
    }

    fn bind_again(&mut self, name: &ForwardName, address: SocketAddr, pass: &mut Pass) {
        let running = self.running.get(name);
        let tcp = running.map(|r| r.served.active().forward.spec.listener.tcp.clone());
        let bound = self.bind(&[address].into(), Share::First, &tcp.unwrap_or_default());
        match (bound, self.running.get_mut(name)) {
            (Ok(bound), Some(running)) => {
                for bound in bound {
                    let shares = running.listen(bound);
                    self.workers.listen(shares.into_iter());
                }
            }
            (Ok(_), None) => {}
            (Err(error), _) => {
                tracing::warn!(forward = %name, error = %error, "a former address is lost");
                // Also one in a conflict comes back as soon as it can.
                if let Some(forward) = pass.forward(name)
                    && pass.failed.insert(name.clone())
                {
                    self.failed(&forward, &error.to_string());
                }
            }
        }
    }

    /// Takes a move back: the forward that was there stays.
    fn undo(
        &mut self,
        name: &ForwardName,
        former: Arc<Forward>,
        conflict: &plan::Conflict,
        pass: &mut Pass,
    ) {
        self.keep(name, &self.addresses(&former));
        if let Some(running) = self.running.get(name) {
            super::update(
                &running.served,
                former,
                self.terms(pass.wanted.settings.clone()),
            );
        }
        if let Some(forward) = pass.forward(name) {
            let text = conflict.to_string();
            self.failed(&forward, &text);
            pass.refuse(&forward, text);
        }
    }

    /// Others of ours that listen where this one would, and at which of these addresses.
    pub(super) fn holders(
        &self,
        name: &ForwardName,
        addresses: &Addresses,
    ) -> Vec<(ForwardName, SocketAddr)> {
        let others = self.running.iter().filter(|(other, _)| *other != name);
        let held = others.filter_map(|(other, running)| {
            let is_held = |a: &&SocketAddr| running.holds(**a);
            Some((other.clone(), *addresses.iter().find(is_held)?))
        });
        held.collect()
    }

    /// Those that still lack an address, from whatever pass.
    pub(super) async fn restore_all(&mut self, pass: &mut Pass) {
        let running = self.running.iter();
        let lacking = running.filter(|(_, running)| !self.lacking(running).is_empty());
        let names: Vec<_> = lacking.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.restore(&name, pass).await;
        }
    }
}
