//! Pure. One open session: what it says of itself, and how it hears that it has to end.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::{Sessions, lock};
use crate::balancer::backend::{Backend, Condition};
use crate::connect::proxy::Grounds;
use crate::relay::ending::Ending;

/// One session, as those see it who may end it.
#[derive(Debug)]
pub(super) struct Open {
    /// Who connected.
    pub(super) peer: IpAddr,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    client: Option<IpAddr>,
    grounds: Option<Arc<Grounds>>,
    reached: Option<Reached>,
    lost_at: Option<Instant>,
    ending: Option<Ending>,
    waker: Option<Waker>,
}

/// The backend of a session.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    pub(super) backend: Arc<Backend>,
    /// When it was picked.
    pub(super) since: Instant,
}

impl Open {
    pub(super) fn new(peer: IpAddr, ending: Option<Ending>) -> Self {
        let state = State {
            ending,
            ..State::default()
        };
        Self {
            peer,
            state: Mutex::new(state),
        }
    }

    /// Whose session it is by the word of the peer; absent: the peer's own.
    pub(super) fn vouched(&self) -> Option<IpAddr> {
        self.state().client
    }

    /// Whose session it is.
    pub(super) fn client(&self) -> IpAddr {
        self.vouched().unwrap_or(self.peer)
    }

    /// What its tunnel stands on; absent: it has none.
    pub(super) fn grounds(&self) -> Option<Arc<Grounds>> {
        self.state().grounds.clone()
    }

    /// The backend that it has reached.
    pub(super) fn reached(&self) -> Option<Reached> {
        self.state().reached.clone()
    }

    /// When it has to end because its right was lost.
    pub(super) fn lost_at(&self) -> Option<Instant> {
        self.state().lost_at
    }

    pub(super) fn set_lost_at(&self, at: Option<Instant>) {
        self.state().lost_at = at;
    }

    /// Whether it has been told to end.
    pub(super) fn is_ending(&self) -> bool {
        self.state().ending.is_some()
    }

    /// Tells it to end; the first word holds.
    pub(super) fn end(&self, ending: Ending) {
        let mut state = self.state();
        state.ending.get_or_insert(ending);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A session's entry among the open ones; the session is over when it is dropped.
#[derive(Debug)]
pub struct Ticket {
    pub(super) sessions: Arc<Sessions>,
    pub(super) worker: usize,
    pub(super) id: u64,
    pub(super) open: Arc<Open>,
}

impl Ticket {
    /// A trusted peer says that this is whose session it is. Whoever asks afterwards whether the
    /// client may come has to ask the configuration of then: a right that was lost before this was
    /// said is looked for under the peer's name.
    pub fn vouched_for(&self, client: IpAddr) {
        self.open.state().client = Some(client);
    }

    /// It is a tunnel on these grounds. As with `vouched_for`, who judged them before has to do it
    /// again.
    pub fn stands_on(&self, grounds: Grounds) -> Arc<Grounds> {
        let grounds = Arc::new(grounds);
        self.open.state().grounds = Some(Arc::clone(&grounds));
        // Removed during the dial, as far as rights go unseen like in `on`.
        let is_gone = |reached: Reached| reached.backend.condition().0 == Condition::Removed;
        if self.open.reached().is_some_and(is_gone) {
            self.sessions.rights_changed();
        }
        grounds
    }

    /// It has reached that backend, which was picked then.
    pub fn on(&self, backend: &Arc<Backend>, picked: Instant) {
        self.open.state().reached = Some(Reached {
            backend: Arc::clone(backend),
            since: picked,
        });
        // What has changed during the dial was unseen by who looks through the sessions. Without the
        // leave of another namespace its backends are removed.
        let condition = backend.condition().0;
        if condition != Condition::Usable {
            self.sessions.stir();
        }
        let has_no_leave = backend.granted.is_some() && self.sessions.is_gone();
        if condition == Condition::Removed || has_no_leave {
            self.sessions.rights_changed();
        }
    }

    /// Completes when the session has to end.
    #[must_use]
    pub fn cut(&self) -> Cut<'_> {
        Cut(&self.open)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.sessions.leave(self.worker, self.id);
    }
}

/// Completes when a session has to end, with the word for it.
#[derive(Debug)]
pub struct Cut<'a>(&'a Open);

impl Future for Cut<'_> {
    type Output = Ending;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ending> {
        let mut state = self.0.state();
        if let Some(ending) = state.ending {
            return Poll::Ready(ending);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}
