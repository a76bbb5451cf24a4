//! Edge. A side that breaks: noticed also while nothing is read from it, and what it had sent is delivered.

use std::io::ErrorKind;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::{Broken, Ended, Meter, Relay};
use crate::relay::ending::{Ending, Side};
use crate::relay::sockets::broke;

impl<M: Meter> Relay<'_, M> {
    /// Notices that a side breaks while nothing is read from it.
    pub(super) fn poll_watch(&mut self, cx: &mut Context<'_>, side: Side) -> Option<Ended> {
        let [down, up] = &mut self.watches;
        let (socket, from, to, watch) = match side {
            Side::Downstream => (self.downstream, &self.up, &mut self.down, down),
            Side::Upstream => (self.upstream, &self.down, &mut self.up, up),
        };
        let is_read = from.as_ref().is_some_and(|from| from.held() == 0);
        if is_read || self.ends.broken().is_some_and(|(broken, _)| broken == side) {
            *watch = None;
            return None;
        }
        let watching = watch.get_or_insert_with(|| Box::pin(broke(socket)));
        let Poll::Ready(kind) = watching.as_mut().poll(cx) else {
            return None;
        };
        *watch = None;
        // Nobody is there any more to read this.
        *to = None;
        let is_delivered = from.is_none();
        self.ends.broke(side, kind);
        let (side, kind) = self.ends.broken().unwrap_or((side, kind));
        is_delivered.then(|| self.broken(side, kind))
    }

    /// Ends a delivery that has not moved for too long. What a broken side had sent is finite.
    pub(super) fn poll_give_up(&mut self, cx: &mut Context<'_>, moved: bool) -> Option<Ended> {
        let (side, kind) = self.ends.broken()?;
        let limit = self.limits.reset;
        let timer = self
            .give_up
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if moved {
            timer.as_mut().reset(Instant::now() + limit);
        }
        let over = timer.as_mut().poll(cx).is_ready();
        over.then(|| self.broken(side, kind))
    }

    pub(super) fn broken(&self, side: Side, kind: ErrorKind) -> Ended {
        let until = match &self.give_up {
            Some(timer) => timer.deadline(),
            None => Instant::now() + self.limits.reset,
        };
        Ended {
            ending: Ending::broken(side, kind),
            broken: Some(Broken {
                side,
                fin_passed: self.ends.first_fin() == Some(side),
                until,
            }),
        }
    }
}
