//! Edge. Where the names of tunnels lead: each is asked for as it is, once for all who want it.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_resolver::proto::rr::Name;
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::hosts::PER_NAME;
use crate::hosts::name::{self, Kind, NotAName};
use crate::hosts::resolver::Resolver;
use crate::shared::Shared;
use cache::Cache;

mod cache;
mod question;

/// Of the wait for one name, its turn included.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Names that are asked for at a time: two hundred and fifty-six sockets at most.
const AT_A_TIME: usize = 64;

/// Names that wait for their turn. More would not have it in time where DNS is so slow, and where it
/// is not, none waits.
const WAITING: usize = 1024;

/// Names whose answers are kept, at 64 addresses of 17 bytes at most: a megabyte.
const KEPT: usize = 1024;

/// When descriptors are looked for again.
const SHORTAGE: Duration = Duration::from_millis(100);

/// What came of a name: its addresses, IPv6 first, each family in the order that DNS gave.
pub type Answer = Result<Arc<[IpAddr]>, NameError>;

/// Why a name leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Too many names wait already.
    #[error("{WAITING} names wait for DNS already")]
    Busy,
    /// DNS could not say.
    #[error("{0}")]
    Failed(String),
    /// It exists.
    #[error("DNS says that the name has no address")]
    NoAddress,
    /// It is none.
    #[error(transparent)]
    NotAName(#[from] NotAName),
    /// It does not exist: NXDOMAIN.
    #[error("DNS says that there is no such name")]
    NotFound,
    /// DNS did not say in time.
    #[error("no answer from DNS within {0:?}")]
    Timeout(Duration),
}

/// One per process. Sessions ask here on their own threads, where what is known costs a lock; the
/// rest is asked for by [`run`] on another one.
#[derive(Debug)]
pub struct Names {
    state: Mutex<State>,
    /// Wakes `run`.
    wanted: Notify,
    /// Names that DNS gave addresses for.
    pub answered: AtomicU64,
    /// And those that it did not, or by saying that there are none.
    pub failed: AtomicU64,
}

#[derive(Debug)]
struct State {
    cache: Cache,
    /// Everybody who waits for a name has a receiver of its sender.
    asked: HashMap<Name, Arc<Promise>>,
    /// Those of `asked` whose turn has not come.
    waiting: VecDeque<Name>,
}

type Promise = watch::Sender<Option<Answer>>;

impl Default for Names {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                cache: Cache::new(KEPT),
                asked: HashMap::new(),
                waiting: VecDeque::new(),
            }),
            wanted: Notify::new(),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }
}

impl Names {
    /// Where that name leads. It is a full name, with or without a dot at its end: `db` is `db.` and
    /// never `db.` and a search domain of this host, and what this host's own files say of it counts
    /// for nothing. All of an answer comes from one question, which is not asked again while the
    /// answer is known: who checks these addresses and dials one of them dials what was checked.
    ///
    /// # Errors
    /// There is no such name, or DNS doesn't say.
    pub async fn lookup(&self, name: &str) -> Answer {
        let name = match name::parse(name)? {
            Kind::Address(address) => return Ok(Arc::from([address])),
            Kind::Name(mut name) => {
                name.set_fqdn(true);
                name
            }
        };
        let mut promised = match self.state().look(name, Instant::now()) {
            Look::Known(answer) => return answer,
            Look::Full => return Err(NameError::Busy),
            Look::Promised(promised) => promised,
        };
        self.wanted.notify_one();
        match timeout(TIMEOUT, promised.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => answer.clone().unwrap_or_else(|| Err(lost())),
            Ok(Err(_)) => Err(lost()),
            Err(_) => Err(NameError::Timeout(TIMEOUT)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lost() -> NameError {
    NameError::Failed("this data plane ends, or its question died of a fault".to_owned())
}

enum Look {
    Full,
    Known(Answer),
    Promised(watch::Receiver<Option<Answer>>),
}

impl State {
    fn look(&mut self, name: Name, now: Instant) -> Look {
        if let Some(answer) = self.cache.find(&name, now.into_std()) {
            return Look::Known(answer);
        }
        if let Some(promise) = self.asked.get(&name) {
            return Look::Promised(promise.subscribe());
        }
        if self.waiting.len() >= WAITING {
            return Look::Full;
        }
        let (promise, promised) = watch::channel(None);
        self.asked.insert(name.clone(), Arc::new(promise));
        self.waiting.push_back(name);
        Look::Promised(promised)
    }

    /// Whose turn it is; names that nobody waits for any more have none.
    fn next(&mut self) -> Option<(Name, Arc<Promise>)> {
        while let Some(name) = self.waiting.pop_front() {
            match self.asked.get(&name) {
                Some(promise) if !promise.is_closed() => return Some((name, Arc::clone(promise))),
                _ => self.asked.remove(&name),
            };
        }
        None
    }
}

/// Asks for the names that sessions look for, until it is dropped. `servers`: whom to ask; none:
/// those of resolv.conf.
pub async fn run(shared: Arc<Shared>, servers: Vec<SocketAddr>) {
    let resolver = Arc::new(Resolver::new(servers));
    let mut asking = JoinSet::new();
    loop {
        let mut is_short = false;
        while asking.len() < AT_A_TIME {
            let Some(room) = shared.try_descriptors(PER_NAME) else {
                is_short = true;
                break;
            };
            let Some((name, promise)) = shared.names.state().next() else {
                break;
            };
            let turn = Turn {
                shared: Arc::clone(&shared),
                name,
                promise,
                _room: room,
            };
            let resolver = Arc::clone(&resolver);
            asking.spawn(async move {
                let (answer, keep) = question::ask(&resolver, &turn.name, TIMEOUT).await;
                turn.answered(answer, keep);
            });
        }
        tokio::select! {
            Some(ended) = asking.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a question about a name died of a fault of ours");
                }
            }
            () = shared.names.wanted.notified(), if asking.len() < AT_A_TIME => {}
            () = tokio::time::sleep(SHORTAGE), if is_short => {}
        }
    }
}

/// A name that is being asked for.
struct Turn {
    shared: Arc<Shared>,
    name: Name,
    promise: Arc<Promise>,
    _room: OwnedSemaphorePermit,
}

impl Turn {
    /// Keeps the answer, if it may be kept, and tells all who wait.
    fn answered(self, answer: Answer, keep: Option<Duration>) {
        let names = &self.shared.names;
        let count = match answer {
            Ok(_) => &names.answered,
            Err(_) => &names.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if let Some(keep) = keep {
            let (name, now) = (self.name.clone(), Instant::now().into_std());
            let mut state = names.state();
            state.cache.keep(name, answer.clone(), now, keep);
        }
        self.promise.send_replace(Some(answer));
    }
}

/// Whatever became of the question, the next who looks for the name may ask again.
impl Drop for Turn {
    fn drop(&mut self) {
        self.shared.names.state().asked.remove(&self.name);
    }
}

#[cfg(test)]
mod tests;
