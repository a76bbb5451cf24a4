//! Edge. A forward that runs, and one that is on its way out: who tells their listeners what to do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tcpforward_protocol::snapshot::TcpOptions;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::bind::Bound;
use crate::drain::Phase;
use crate::handover::Exchange;
use crate::plan::{self, Addresses};
use crate::served::Served;
use crate::workers::Listen;

/// A forward in service.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) served: Arc<Served>,
    /// By the address as wanted; fewer than wanted: given up to let others pass.
    listeners: BTreeMap<SocketAddr, Listening>,
    /// Of listeners that it had before; their sessions go on.
    former: Vec<watch::Sender<Phase>>,
}

/// One bound address.
#[derive(Debug)]
struct Listening {
    /// As bound.
    bound: SocketAddr,
    /// Options of its sockets.
    tuned: watch::Sender<TcpOptions>,
    phase: watch::Sender<Phase>,
    holding: watch::Sender<()>,
    _permit: OwnedSemaphorePermit,
}

/// Completes once all sockets of an address are closed.
#[derive(Debug)]
pub(super) struct Closing(watch::Sender<()>);

/// A forward that is gone, but for its sessions.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) served: Arc<Served>,
    phases: Vec<watch::Sender<Phase>>,
}

impl Running {
    pub(super) fn new(served: Arc<Served>) -> Self {
        Self {
            served,
            listeners: BTreeMap::new(),
            former: Vec::new(),
        }
    }

    /// The addresses that it listens on, as wanted.
    pub(super) fn addresses(&self) -> Addresses {
        self.listeners.keys().copied().collect()
    }

    /// Whether it listens somewhere where nobody can listen beside it.
    pub(super) fn holds(&self, address: SocketAddr) -> bool {
        self.listeners.keys().any(|a| plan::overlap(*a, address))
    }

    /// The addresses that it listens on, as bound.
    pub(super) fn bound(&self) -> Vec<SocketAddr> {
        self.listeners.values().map(|l| l.bound).collect()
    }

    /// The addresses whose sockets have other options than these.
    pub(super) fn tuned_otherwise(&self, tcp: &TcpOptions) -> Addresses {
        self.filtered(|listener| *listener.tuned.borrow() != *tcp)
    }

    /// The addresses whose sockets can't be given these options.
    pub(super) fn tuned_for_good(&self, tcp: &TcpOptions) -> Addresses {
        self.filtered(|listener| !listener.tuned.borrow().can_become(tcp))
    }

    fn filtered(&self, is_meant: impl Fn(&Listening) -> bool) -> Addresses {
        let listeners = self.listeners.iter();
        let meant = listeners.filter(|(_, listener)| is_meant(listener));
        meant.map(|(address, _)| *address).collect()
    }

    /// Gives these options to all sockets that it has; their workers do it.
    pub(super) fn tune(&self, tcp: &TcpOptions) {
        for listener in self.listeners.values() {
            listener.tuned.send_if_modified(|now| {
                let is_new = now != tcp;
                if is_new {
                    now.clone_from(tcp);
                }
                is_new
            });
        }
    }

    /// Takes a bound address; what is given back is for the workers. Sockets that it had there
    /// before accept what waits for them, and no more.
    pub(super) fn listen(&mut self, bound: Bound) -> Vec<Listen> {
        let (phase, _) = watch::channel(Phase::Accept);
        let (holding, _) = watch::channel(());
        let multipath = bound.tcp.multipath;
        let (tuned, _) = watch::channel(bound.tcp);
        let share = |(socket, exchange)| Listen {
            socket,
            served: Arc::clone(&self.served),
            exchange,
            multipath,
            tuned: tuned.subscribe(),
            phase: phase.subscribe(),
            holding: holding.subscribe(),
        };
        let exchanges = Exchange::between(bound.sockets.len());
        let shares = bound.sockets.into_iter().zip(exchanges);
        let shares = shares.map(share).collect();
        tracing::info!(forward = %self.served.name, address = %bound.address, "listening");
        let listening = Listening {
            bound: bound.address,
            tuned,
            phase,
            holding,
            _permit: bound.permit,
        };
        if let Some(before) = self.listeners.insert(bound.wanted, listening) {
            before.phase.send_replace(Phase::Stop);
            self.former.push(before.phase);
        }
        shares
    }

    /// Gives up all addresses but those; sessions go on.
    pub(super) fn keep(&mut self, kept: &Addresses) -> Vec<Closing> {
        self.former.retain(|phase| !phase.is_closed());
        let closed = self.listeners.extract_if(.., |a, _| !kept.contains(a));
        let mut closing = Vec::new();
        for (_, listener) in closed {
            tracing::info!(forward = %self.served.name, address = %listener.bound, "no longer listening");
            listener.phase.send_replace(Phase::Stop);
            self.former.push(listener.phase);
            closing.push(Closing(listener.holding));
        }
        closing
    }

    /// How many groups of sockets it had before that have sessions still.
    #[cfg(test)]
    pub(super) fn former(&self) -> usize {
        self.former.len()
    }

    /// Its addresses are given up; sessions go on.
    pub(super) fn leave(self) -> Leaving {
        Leaving {
            served: self.served,
            phases: self.former,
        }
    }
}

impl Closing {
    pub(super) fn is_done(&self) -> bool {
        self.0.is_closed()
    }

    pub(super) async fn done(self) {
        self.0.closed().await;
    }
}

impl Leaving {
    /// It is wanted no more: what becomes of its sessions is what it said last.
    pub(super) fn removed(&self, now: Instant) {
        self.served.sessions().forward_gone(Some(now.into_std()));
    }

    /// It is wanted again, with the sessions that it still has.
    pub(super) fn come_back(self) -> Running {
        self.served.sessions().forward_gone(None);
        Running {
            served: self.served,
            listeners: BTreeMap::new(),
            former: self.phases,
        }
    }

    /// Whether its last session has ended.
    pub(super) fn is_over(&self) -> bool {
        self.phases.iter().all(watch::Sender::is_closed)
    }
}
