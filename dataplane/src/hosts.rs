//! Edge. Resolves the names of targets, again and again, each name once for all forwards.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fastrand::Rng;
use tcpforward_protocol::snapshot::Host;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::served::Served;
use crate::shared::Shared;
use crate::view::View;
use answer::Keep;
use found::Found;
use pace::Pace;
use resolver::Resolver;

pub mod answer;
pub mod found;
pub mod name;
pub mod pace;
pub(crate) mod resolver;
#[cfg(test)]
pub(crate) mod scripted;

/// How often it is looked for names that came, went, or are due.
const TICK: Duration = Duration::from_millis(250);

/// An answer that has not come by then never will: its task died of a fault.
const LOST: Duration = Duration::from_secs(60);

/// Names that are asked for at a time; the others wait for their turn.
const AT_A_TIME: usize = 32;

/// Descriptors of one of them: a socket for each family, and as many by TCP.
pub(crate) const PER_NAME: u32 = 4;

/// Resolves what the forwards in service name, until it is dropped. `servers`: whom to ask; none:
/// those of resolv.conf.
pub async fn run(view: Arc<RwLock<View>>, shared: Arc<Shared>, servers: Vec<SocketAddr>) {
    let mut names = Names {
        names: BTreeMap::new(),
        resolver: Arc::new(Resolver::new(servers)),
        asking: JoinSet::new(),
        rng: Rng::new(),
        shared,
    };
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                names.look(&view.read().unwrap_or_else(PoisonError::into_inner));
                names.ask();
                names.show();
            }
            Some(Ok(answer)) = names.asking.join_next() => names.hear(answer),
        }
    }
}

struct Names {
    names: BTreeMap<String, Entry>,
    resolver: Arc<Resolver>,
    asking: JoinSet<Heard>,
    rng: Rng,
    shared: Arc<Shared>,
}

struct Heard {
    name: String,
    found: Found,
    keep: Keep,
}

/// One name.
struct Entry {
    /// Absent: no answer yet.
    found: Option<Found>,
    users: Vec<User>,
    /// When it is asked for next.
    due: Instant,
    is_asked: bool,
    pace: Pace,
}

/// A target that has the name.
struct User {
    served: Arc<Served>,
    target: String,
    host: Host,
}

impl Names {
    /// Finds the names of all forwards that listen, and tells new users what is known already.
    fn look(&mut self, view: &View) {
        self.names
            .values_mut()
            .for_each(|entry| entry.users.clear());
        let listening = view
            .forwards
            .values()
            .filter(|row| !row.listeners.is_empty());
        for served in listening.map(|row| &row.served) {
            for target in &served.active().forward.spec.relay.targets {
                let Some(host) = &target.host else { continue };
                let entry = self.names.entry(host.name.clone());
                let entry = entry.or_insert_with(|| Entry {
                    found: None,
                    users: Vec::new(),
                    due: Instant::now(),
                    is_asked: false,
                    pace: Pace::default(),
                });
                entry.users.push(User {
                    served: Arc::clone(served),
                    target: target.name.clone(),
                    host: host.clone(),
                });
            }
        }
        self.names.retain(|_, entry| !entry.users.is_empty());
        for entry in self.names.values() {
            entry.tell(&self.shared);
        }
    }

    fn ask(&mut self) {
        let now = Instant::now();
        let names = self.names.iter_mut();
        let mut due: Vec<_> = names.filter(|(_, entry)| entry.due <= now).collect();
        // Who waits longest is first: many names that never answer don't keep the others waiting.
        due.sort_by_key(|(_, entry)| entry.due);
        for (name, entry) in due {
            if self.asking.len() >= AT_A_TIME {
                return;
            }
            // Without descriptors the answer could not be heard: later.
            let Some(permit) = self.shared.try_descriptors(PER_NAME) else {
                return;
            };
            // Until it is heard.
            entry.due = now + LOST;
            entry.is_asked = true;
            let (resolver, name) = (Arc::clone(&self.resolver), name.clone());
            let before = entry.found.clone().unwrap_or_default();
            self.asking.spawn(async move {
                let (found, keep) = resolver.resolve(&name, &before).await;
                drop(permit);
                Heard { name, found, keep }
            });
        }
    }

    /// Shows when each name is asked for next.
    fn show(&self) {
        let waiting = self.names.iter().filter(|(_, entry)| !entry.is_asked);
        let due = waiting.map(|(name, entry)| (name.clone(), entry.due));
        self.shared.set_lookups_due(due.collect());
    }

    fn hear(&mut self, heard: Heard) {
        let count = match heard.keep {
            Some(_) => &self.shared.lookups_answered,
            None => &self.shared.lookups_failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let Some(entry) = self.names.get_mut(&heard.name) else {
            return;
        };
        let pause = match heard.keep {
            Some(ttl) => entry.pace.answered(ttl, &mut self.rng),
            None => entry.pace.failed(&mut self.rng),
        };
        entry.due = Instant::now() + pause;
        entry.is_asked = false;
        let before = entry.found.replace(heard.found);
        entry.log(&heard.name, &before.unwrap_or_default());
        entry.tell(&self.shared);
    }
}

impl Entry {
    fn tell(&self, shared: &Shared) {
        let Some(found) = &self.found else { return };
        let now = Instant::now().into_std();
        for User {
            served,
            target,
            host,
        } in &self.users
        {
            if served.set_host(target, host, found, now, fastrand::u64(..)) {
                shared.news.notify_one();
            }
        }
    }

    fn log(&self, name: &str, before: &Found) {
        let Some(found) = &self.found else { return };
        match &found.error {
            Some(error) if before.error.is_none() => {
                let kept = found.addresses.len();
                tracing::warn!(
                    name,
                    error = error.text,
                    kept,
                    "a name of a target could not be resolved"
                );
            }
            None if before.error.is_some() || found.addresses != before.addresses => {
                tracing::info!(name, addresses = ?found.addresses, "a name of a target leads there");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
