//! Edge, of one lock. Who is connected, what each serves and refuses, and how it fares.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tcpforward_protocol::answer::{Applied, Hello, Refusal, Report};
use tcpforward_protocol::snapshot::ForwardName;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::lease::now;

mod answers;
mod member;
mod sums;

pub(crate) use answers::{Account, Card, Dirty};
use member::{Departed, ENTRIES, FAILING_BACKENDS, Member, Moved, Standing, differences};

/// A data plane that is gone counts as it was for this long: one that only dials again after a
/// broken connection (its waits are at most 5 s) must not turn a condition there and back.
const DEPARTED: Duration = Duration::from_secs(10);

/// Departed ones of one pool that are remembered: as many as may be connected.
const DEPARTED_MEMBERS: usize = 8192;

/// All connected data planes of this replica.
#[derive(Debug)]
pub struct Roster {
    state: Mutex<State>,
    /// Changes when a member comes or goes.
    membership: watch::Sender<u64>,
    /// Changes when anything does.
    news: watch::Sender<u64>,
    /// Pools whose size is shown in the metrics.
    counted: Mutex<BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct State {
    pools: BTreeMap<String, Pool>,
    dirty: Dirty,
    seats: u64,
}

#[derive(Debug, Default)]
struct Pool {
    members: BTreeMap<String, Member>,
    /// Their uids, sorted: a member's place is its share of pool-wide limits.
    order: Vec<String>,
    /// Those that left a moment ago, by uid.
    departed: BTreeMap<String, Departed>,
}

impl Pool {
    fn is_empty(&self) -> bool {
        self.members.is_empty() && self.departed.is_empty()
    }
}

/// A stream's place in the roster.
#[derive(Debug)]
pub(crate) struct Seat {
    pool: String,
    uid: String,
    number: u64,
    /// A newer stream of the same data plane has taken the place.
    pub(crate) replaced: CancellationToken,
}

impl Default for Roster {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            membership: watch::channel(0).0,
            news: watch::channel(0).0,
            counted: Mutex::default(),
        }
    }
}

impl Roster {
    pub(crate) fn membership(&self) -> watch::Receiver<u64> {
        self.membership.subscribe()
    }

    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Takes a place; an older stream of the same data plane loses its own. What that one has
    /// said holds until this one says something else.
    pub(crate) fn join(&self, hello: &Hello) -> Seat {
        let replaced = CancellationToken::new();
        let mut state = self.lock();
        state.seats += 1;
        let number = state.seats;
        let pool = state.pools.entry(hello.pool.clone()).or_default();
        let older = pool.members.remove(&hello.uid);
        let departed = pool.departed.remove(&hello.uid);
        let knowledge = match older {
            Some(older) => {
                older.replaced.cancel();
                older.knowledge
            }
            None => departed.map(|gone| gone.knowledge).unwrap_or_default(),
        };
        let member = Member::new(number, replaced.clone(), hello, knowledge);
        pool.members.insert(hello.uid.clone(), member);
        if let Err(place) = pool.order.binary_search(&hello.uid) {
            pool.order.insert(place, hello.uid.clone());
        }
        drop(state);
        self.tell(&self.membership);
        Seat {
            pool: hello.pool.clone(),
            uid: hello.uid.clone(),
            number,
            replaced,
        }
    }

    /// Gives a place back. What was said there counts for a while longer.
    pub(crate) fn leave(&self, seat: &Seat) {
        let until = now() + DEPARTED;
        let mut state = self.lock();
        let State { pools, dirty, .. } = &mut *state;
        if seated(pools, seat).is_none() {
            return;
        }
        let Some(pool) = pools.get_mut(&seat.pool) else {
            return;
        };
        pool.order.retain(|uid| *uid != seat.uid);
        let member = pool.members.remove(&seat.uid);
        let counts = member.filter(|member| member.knowledge.standing == Standing::Member);
        if let Some(member) = counts {
            if pool.departed.len() < DEPARTED_MEMBERS {
                let departed = Departed {
                    pod: member.pod,
                    build: member.build,
                    knowledge: member.knowledge,
                    until,
                };
                pool.departed.insert(seat.uid.clone(), departed);
            } else {
                dirty.pools.insert(seat.pool.clone());
            }
        }
        if pool.is_empty() {
            pools.remove(&seat.pool);
        }
        drop(state);
        self.tell(&self.membership);
    }

    /// Forgets those that are gone for good; to be called every now and then.
    pub(crate) fn forget_departed(&self, now: Instant) {
        let mut state = self.lock();
        let State { pools, dirty, .. } = &mut *state;
        let mut changed = false;
        pools.retain(|name, pool| {
            let before = pool.departed.len();
            pool.departed.retain(|_, departed| now < departed.until);
            if pool.departed.len() != before {
                changed = true;
                dirty.pools.insert(name.clone());
            }
            !pool.is_empty()
        });
        drop(state);
        if changed {
            self.tell(&self.news);
        }
    }

    /// Takes in an answer; the refusals that were not known before.
    pub(crate) fn applied(&self, seat: &Seat, applied: Applied) -> Vec<Refusal> {
        let mut state = self.lock();
        let State { pools, dirty, .. } = &mut *state;
        let Some(member) = seated(pools, seat).map(|member| &mut member.knowledge) else {
            return Vec::new();
        };
        if member.stand(applied.scope, applied.version) == Moved::Yes {
            dirty.pools.insert(seat.pool.clone());
        }
        let mut touched = member.serve(applied.scope, applied.serving);
        let refused: BTreeMap<_, _> = applied
            .refused
            .into_iter()
            .take(ENTRIES)
            .map(|refusal| (refusal.forward.clone(), refusal))
            .collect();
        let new = refused
            .values()
            .filter(|r| {
                let known = member.refused.get(&r.forward);
                known.is_none_or(|k| k.spec_hash != r.spec_hash || k.code != r.code)
            })
            .cloned()
            .collect();
        touched.extend(differences(&member.refused, &refused));
        member.refused = refused;
        dirty.forwards.extend(touched);
        drop(state);
        self.tell(&self.news);
        new
    }

    pub(crate) fn report(&self, seat: &Seat, report: Report) {
        let mut failing = BTreeMap::<_, Vec<_>>::new();
        for backend in report.failing.into_iter().take(FAILING_BACKENDS) {
            failing
                .entry(backend.forward.clone())
                .or_default()
                .push(backend);
        }
        let mut listeners = BTreeMap::<_, Vec<_>>::new();
        for bound in report.listeners.into_iter().take(ENTRIES) {
            listeners
                .entry(bound.forward)
                .or_default()
                .push(bound.address);
        }
        let mut hosts = BTreeMap::<_, Vec<_>>::new();
        for host in report.hosts.into_iter().take(ENTRIES) {
            hosts.entry(host.forward.clone()).or_default().push(host);
        }
        let sessions = report
            .sessions
            .into_iter()
            .take(ENTRIES)
            .map(|count| (count.forward, (count.open, count.total)))
            .collect();
        let mut state = self.lock();
        let State { pools, dirty, .. } = &mut *state;
        let Some(member) = seated(pools, seat).map(|member| &mut member.knowledge) else {
            return;
        };
        let before = dirty.forwards.len();
        dirty
            .forwards
            .extend(differences(&member.failing, &failing));
        dirty
            .forwards
            .extend(differences(&member.listeners, &listeners));
        dirty.forwards.extend(differences(&member.hosts, &hosts));
        let changed = dirty.forwards.len() != before;
        member.failing = failing;
        member.listeners = listeners;
        member.hosts = hosts;
        member.sessions = sessions;
        drop(state);
        if changed {
            self.tell(&self.news);
        }
    }

    pub(crate) fn take_dirty(&self) -> Dirty {
        std::mem::take(&mut self.lock().dirty)
    }

    /// What every data plane of the pool that holds a set says about one forward, and what those
    /// said that left a moment ago.
    pub(crate) fn accounts(&self, pool: &str, forward: &ForwardName) -> Vec<Account> {
        let state = self.lock();
        let Some(pool) = state.pools.get(pool) else {
            return Vec::new();
        };
        let here = pool.members.iter();
        let here = here.map(|(uid, member)| (uid, &member.pod, &member.knowledge));
        let gone = pool.departed.iter();
        let gone = gone.map(|(uid, departed)| (uid, &departed.pod, &departed.knowledge));
        here.chain(gone)
            .filter_map(|(uid, pod, knowledge)| knowledge.account(uid, pod, forward))
            .collect()
    }

    fn tell(&self, channel: &watch::Sender<u64>) {
        channel.send_modify(|n| *n += 1);
        if !std::ptr::eq(channel, &raw const self.news) {
            self.news.send_modify(|n| *n += 1);
        }
    }

    /// A panic while the lock was held leaves plain data behind.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seated<'a>(pools: &'a mut BTreeMap<String, Pool>, seat: &Seat) -> Option<&'a mut Member> {
    let member = pools.get_mut(&seat.pool)?.members.get_mut(&seat.uid)?;
    (member.seat == seat.number).then_some(member)
}

#[cfg(test)]
mod tests;
