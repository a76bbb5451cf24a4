//! Edge. What all operators hear: what is served, and how things go.

use std::sync::Arc;

use tcpforward_protocol::answer;
use tcpforward_protocol::delta::Scope;
use tcpforward_protocol::proto::to_operator;

use super::Sync;
use crate::sync::messages;

impl Sync {
    /// What is served has changed: all streams hear it, and the update's own one as an answer.
    pub(in crate::sync) fn applied(&mut self) {
        let now = Arc::clone(&self.channels.applied.borrow_and_update());
        let answered = self.pending.take_if(|pending| pending.seq <= now.seq);
        let mut message = answer::Applied {
            nonce: 0,
            version: self.version(),
            epoch: self.sources.highest(),
            scope: Scope::Change,
            serving: messages::difference(&self.said.serving, &now.serving),
            refused: now.refused.clone(),
        };
        let is_new =
            now.seq == self.seq && self.said.seq != now.seq && self.loaded != Some(now.seq);
        if let Some(held) = self.held.as_ref().filter(|_| is_new) {
            self.storing.keep(Arc::clone(held), self.view.share());
        }
        self.said = now;
        for id in self.streams.keys().copied().collect::<Vec<_>>() {
            message.nonce = match &answered {
                Some(pending) if pending.stream == id => pending.nonce,
                _ => 0,
            };
            for part in messages::applied(message.clone()) {
                self.send(id, to_operator::Message::Applied(part));
            }
        }
    }

    pub(in crate::sync) fn report(&mut self) {
        let report = messages::report(&self.channels.report.borrow_and_update().clone());
        for id in self.streams.keys().copied().collect::<Vec<_>>() {
            self.send(id, to_operator::Message::Report(report.clone()));
        }
    }
}
