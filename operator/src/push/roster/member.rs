//! Edge. One data plane as it describes itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use tcpforward_protocol::answer::{
    FailingBackend, Hello, Refusal, ResolvedHost, ServedSpec, Serving,
};
use tcpforward_protocol::delta::Scope;
use tcpforward_protocol::snapshot::ForwardName;
use tcpforward_protocol::version::Version;
use tokio_util::sync::CancellationToken;

use super::Account;

/// Forwards that one data plane may claim to serve: more than a pool can hold, so that a broken
/// one can't fill the memory.
const SERVED_FORWARDS: usize = 65_536;

/// Refusals, listeners, resolved names and session counts of one data plane that are kept: one for each forward
/// that it may serve.
pub(super) const ENTRIES: usize = SERVED_FORWARDS;

/// Failing backends of one data plane that are kept, each with a text: more than a person reads.
pub(super) const FAILING_BACKENDS: usize = 16_384;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) seat: u64,
    pub(super) replaced: CancellationToken,
    pub(super) pod: String,
    pub(super) node: String,
    pub(super) build: String,
    pub(super) knowledge: Knowledge,
}

/// What a data plane has said of itself. It outlives a stream: the next one of the same data plane
/// starts with it.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    pub(super) standing: Standing,
    /// Whether all that it serves was ever heard.
    whole: bool,
    pub(super) serving: BTreeMap<ForwardName, ServedSpec>,
    pub(super) refused: BTreeMap<ForwardName, Refusal>,
    pub(super) failing: BTreeMap<ForwardName, Vec<FailingBackend>>,
    pub(super) hosts: BTreeMap<ForwardName, Vec<ResolvedHost>>,
    pub(super) listeners: BTreeMap<ForwardName, Vec<SocketAddr>>,
    pub(super) sessions: BTreeMap<ForwardName, (u64, u64)>,
}

/// One that is gone, for a while.
#[derive(Debug)]
pub(super) struct Departed {
    pub(super) pod: String,
    pub(super) build: String,
    pub(super) knowledge: Knowledge,
    /// When it counts no more.
    pub(super) until: Instant,
}

/// Whether a member counts for what a pool serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// It holds a set, and has said all that it serves.
    Member,
    /// It waits for its first set, or has not said yet what it serves.
    #[default]
    Newcomer,
}

/// Whether an answer has changed where a data plane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    No,
    Yes,
}

impl Member {
    pub(super) fn new(
        seat: u64,
        replaced: CancellationToken,
        hello: &Hello,
        knowledge: Knowledge,
    ) -> Self {
        Self {
            seat,
            replaced,
            pod: hello.pod.clone(),
            node: hello.node.clone(),
            build: hello.build.clone(),
            knowledge,
        }
    }
}

impl Knowledge {
    /// What the data plane says about one forward; `None`: it does not count.
    pub(super) fn account(&self, uid: &str, pod: &str, forward: &ForwardName) -> Option<Account> {
        (self.standing == Standing::Member).then(|| Account {
            uid: uid.to_owned(),
            pod: pod.to_owned(),
            serving: self.serving.get(forward).copied(),
            refused: self.refused.get(forward).cloned(),
            failing: self.failing.get(forward).cloned().unwrap_or_default(),
            hosts: self.hosts.get(forward).cloned().unwrap_or_default(),
            listeners: self.listeners.get(forward).cloned().unwrap_or_default(),
        })
    }

    /// Takes in which set is held. It means nothing before all that is served was heard.
    pub(super) fn stand(&mut self, scope: Scope, version: Option<Version>) -> Moved {
        let before = self.standing;
        self.whole |= scope == Scope::Full;
        if self.whole {
            self.standing = match version {
                Some(_) => Standing::Member,
                None => Standing::Newcomer,
            };
        }
        if self.standing == before {
            Moved::No
        } else {
            Moved::Yes
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
