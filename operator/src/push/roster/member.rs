//! Edge. One connected data plane as it describes itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tcpforward_protocol::answer::{FailingBackend, Hello, Refusal, ServedSpec, Serving};
use tcpforward_protocol::delta::Scope;
use tcpforward_protocol::snapshot::ForwardName;
use tokio_util::sync::CancellationToken;

/// Forwards that one data plane may claim to serve: more than a pool can hold, so that a broken
/// one can't fill the memory.
const SERVED_FORWARDS: usize = 65_536;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) seat: u64,
    pub(super) replaced: CancellationToken,
    pub(super) pod: String,
    pub(super) node: String,
    pub(super) build: String,
    pub(super) standing: Standing,
    pub(super) serving: BTreeMap<ForwardName, ServedSpec>,
    pub(super) refused: BTreeMap<ForwardName, Refusal>,
    pub(super) failing: BTreeMap<ForwardName, Vec<FailingBackend>>,
    pub(super) listeners: BTreeMap<ForwardName, Vec<SocketAddr>>,
    pub(super) sessions: BTreeMap<ForwardName, (u64, u64)>,
}

/// Whether a member counts for what a pool serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It holds a set.
    Member,
    /// It waits for its first set and is not ready for traffic yet.
    Newcomer,
}

impl Member {
    pub(super) fn new(seat: u64, replaced: CancellationToken, hello: &Hello) -> Self {
        Self {
            seat,
            replaced,
            pod: hello.pod.clone(),
            node: hello.node.clone(),
            build: hello.build.clone(),
            standing: match hello.version {
                Some(_) => Standing::Member,
                None => Standing::Newcomer,
            },
            serving: BTreeMap::new(),
            refused: BTreeMap::new(),
            failing: BTreeMap::new(),
            listeners: BTreeMap::new(),
            sessions: BTreeMap::new(),
        }
    }

    /// The forwards about which that changes anything.
    pub(super) fn serve(&mut self, scope: Scope, serving: Vec<Serving>) -> Vec<ForwardName> {
        let mut next = match scope {
            Scope::Full => BTreeMap::new(),
            Scope::Change => std::mem::take(&mut self.serving),
        };
        let mut touched: Vec<_> = match scope {
            Scope::Full => self.serving.keys().cloned().collect(),
            Scope::Change => Vec::new(),
        };
        for one in serving {
            touched.push(one.forward.clone());
            match one.spec {
                Some(spec) if next.len() < SERVED_FORWARDS || next.contains_key(&one.forward) => {
                    next.insert(one.forward, spec);
                }
                Some(_) => {}
                None => {
                    next.remove(&one.forward);
                }
            }
        }
        self.serving = next;
        touched
    }
}

/// Keys whose values differ.
pub(super) fn differences<T: PartialEq>(
    old: &BTreeMap<ForwardName, T>,
    new: &BTreeMap<ForwardName, T>,
) -> Vec<ForwardName> {
    let changed = new
        .iter()
        .filter(|(key, value)| old.get(*key) != Some(*value));
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    changed.map(|(key, _)| key).chain(gone).cloned().collect()
}
