//! Pure. Forwards that are served a moment longer than they are wanted: until clients are no longer led
//! to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcpforward_protocol::snapshot::{Forward, ForwardName};

use super::{Compiler, grants};
use crate::index::Index;

/// From a Service that leads to no pod to nodes that know: their kube-proxies are told and write rules.
const SPREAD: Duration = Duration::from_secs(2);

/// Whatever becomes of the Service.
const LONGEST: Duration = Duration::from_secs(10);

/// What is held, by forward and pool.
#[derive(Clone, Debug, Default)]
pub(super) struct Holding {
    /// Absent: nobody tells the time, and nothing is held.
    now: Option<Instant>,
    held: BTreeMap<ForwardName, BTreeMap<String, Held>>,
}

#[derive(Clone, Debug)]
struct Held {
    forward: Arc<Forward>,
    since: Instant,
    closed: Option<Instant>,
    is_over: bool,
}

type Shown = BTreeMap<String, Arc<Forward>>;

impl Holding {
    /// What snapshots shall hold of a forward, by pool, if they have that, and this is wanted.
    pub(super) fn settle(
        &mut self,
        index: &Index,
        name: &ForwardName,
        former: &Shown,
        wanted: Option<(String, Arc<Forward>)>,
    ) -> Shown {
        let mut held = self.held.remove(name).unwrap_or_default();
        let mut next = Shown::new();
        for (pool, old) in former {
            let new = wanted.as_ref().filter(|(its, _)| its == pool);
            if new.is_some_and(|(_, new)| is_same_place(old, new)) {
                held.remove(pool);
                continue;
            }
            let first = old.spec.listener.port.get();
            let is_open = || index.entrances().is_open(pool, name, first);
            match (held.get(pool), self.now) {
                (Some(hold), _) if hold.is_over => drop(held.remove(pool)),
                (Some(hold), _) => drop(next.insert(pool.clone(), Arc::clone(&hold.forward))),
                (None, Some(now)) if is_open() => {
                    next.insert(pool.clone(), Arc::clone(old));
                    let hold = Held {
                        forward: Arc::clone(old),
                        since: now,
                        closed: None,
                        is_over: false,
                    };
                    held.insert(pool.clone(), hold);
                }
                (None, _) => {}
            }
        }
        if let Some((pool, forward)) = wanted {
            next.entry(pool).or_insert(forward);
        }
        held.retain(|pool, _| former.contains_key(pool));
        if !held.is_empty() {
            self.held.insert(name.clone(), held);
        }
        next
    }

    /// The forwards of which something is held no longer.
    fn look(&mut self, index: &Index, now: Instant) -> BTreeSet<ForwardName> {
        self.now = Some(now);
        let mut released = BTreeSet::new();
        for (name, held) in &mut self.held {
            for (pool, hold) in held {
                let first = hold.forward.spec.listener.port.get();
                if index.entrances().is_open(pool, name, first) {
                    hold.closed = None;
                } else {
                    hold.closed.get_or_insert(now);
                }
                let spread = hold.closed.is_some_and(|since| now >= since + SPREAD);
                hold.is_over = spread
                    || now >= hold.since + LONGEST
                    // What stands on a right that is lost waits for nothing.
                    || grants::lost(index, name, &hold.forward.grants);
                if hold.is_over {
                    released.insert(name.clone());
                }
            }
        }
        released
    }
}

impl Compiler {
    /// Tells the time; names the forwards to compile again.
    pub fn tick(&mut self, index: &Index, now: Instant) -> BTreeSet<ForwardName> {
        self.holding.look(index, now)
    }

    /// Whether a pool serves a forward only until its Service is closed.
    #[must_use]
    pub fn is_held(&self, name: &ForwardName, pool: &str) -> bool {
        let held = self.holding.held.get(name);
        held.is_some_and(|held| held.contains_key(pool))
    }
}

/// Whether clients that are led to the one come to the other as well.
fn is_same_place(old: &Forward, new: &Forward) -> bool {
    let place = |forward: &Forward| {
        let listener = &forward.spec.listener;
        (listener.port, listener.end_port, listener.address)
    };
    place(old) == place(new)
}
