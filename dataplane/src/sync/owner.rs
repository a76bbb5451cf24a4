//! Edge. What is held, and what is said on which stream.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tcpforward_protocol::answer::Source;
use tcpforward_protocol::proto::{self, ToOperator, to_data_plane, to_operator};
use tcpforward_protocol::version::Version;

mod tell;

use super::assemble::{self, Assembler, Held};
use super::messages;
use super::source::{Sources, StreamId};
use super::storing::Storing;
use super::stream::{Event, Stream};
use super::{Applied, Channels, Identity, View, Wanted};
use crate::last_good::{Complete, LastGood};

/// The task that owns all streams and what is held.
pub(super) struct Sync {
    identity: Identity,
    pub(super) channels: Channels,
    sources: Sources,
    streams: BTreeMap<StreamId, Stream>,
    /// What is held, as it came.
    held: Option<Arc<Held>>,
    /// Whether the next hello names the version of what is held.
    trust: Trust,
    seq: u64,
    /// The set that an earlier life stored: it is on disk already, and perhaps not complete.
    loaded: Option<u64>,
    /// The update that waits to be in force: its nonce and where to acknowledge it.
    pending: Option<Pending>,
    /// What was last said to all streams.
    said: Arc<Applied>,
    pub(super) storing: Storing,
    view: View,
}

struct Pending {
    nonce: u64,
    stream: StreamId,
    seq: u64,
}

/// Whether what is held may be named to an operator, so that it sends only what changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// A delta can build on it.
    Held,
    /// Something went wrong, or another build wrote it: a whole set is needed.
    WholeSet,
}

impl Sync {
    pub(super) fn new(
        identity: Identity,
        state_dir: Option<PathBuf>,
        last_good: Option<LastGood>,
        channels: Channels,
    ) -> Self {
        let storing = Storing::new(state_dir, identity.pool.clone());
        let trust = match &last_good {
            Some(last) if last.complete == Complete::Yes => Trust::Held,
            _ => Trust::WholeSet,
        };
        let share = last_good.as_ref().and_then(|last| last.share);
        let held = last_good.map(|last| Arc::new(last.held));
        let said = Arc::clone(&channels.applied.borrow());
        let mut sync = Self {
            identity,
            sources: Sources::new(held.as_ref().map_or(0, |held| held.epoch)),
            streams: BTreeMap::new(),
            trust,
            seq: 0,
            loaded: None,
            pending: None,
            said,
            storing,
            view: View {
                share: share.map(|share| (share.index, share.of)),
                ..View::default()
            },
            held: None,
            channels,
        };
        // Before the set: else limits of the whole pool would be ours for a moment.
        sync.show();
        if let Some(held) = held {
            sync.want(held);
            sync.loaded = Some(sync.seq);
        }
        sync.show();
        sync
    }

    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Opening {
                stream,
                outbound,
                broken,
            } => {
                let opening = Stream::new(outbound, broken);
                self.streams.insert(stream, opening);
                self.send(
                    stream,
                    to_operator::Message::Hello(self.hello(Source::Listening)),
                );
                for part in messages::all_of(&self.said, self.version(), self.sources.highest()) {
                    self.send(stream, to_operator::Message::Applied(part));
                }
                let report = messages::report(&self.channels.report.borrow().clone());
                self.send(stream, to_operator::Message::Report(report));
            }
            Event::Ended { stream } => self.end(stream),
            Event::Said { stream, message } => self.hear(stream, message),
        }
    }

    fn hear(&mut self, id: StreamId, message: to_data_plane::Message) {
        match message {
            to_data_plane::Message::Welcome(welcome) => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    tracing::info!(
                        operator = welcome.operator,
                        epoch = welcome.epoch,
                        "an operator answers"
                    );
                    stream.welcomed = Some(welcome.operator);
                    self.view.node = welcome.node;
                    self.view.zone = welcome.zone;
                    self.sources.heard(id, welcome.epoch);
                }
            }
            to_data_plane::Message::Share(share) if self.sources.chosen() == Some(id) => {
                let before = self.view.share.replace((share.index, share.of));
                if before != self.view.share {
                    self.keep_share();
                }
            }
            to_data_plane::Message::Share(_) => {}
            to_data_plane::Message::Update(update) => self.update(id, update),
        }
    }

    /// Stores it with the set that is in force, if that is whole: one that another build stored
    /// stays as it is until an operator sends a new one.
    fn keep_share(&mut self) {
        let share = self.view.share();
        let is_in_force = self.said.seq == self.seq && self.trust == Trust::Held;
        if let Some(held) = self.held.as_ref().filter(|_| is_in_force) {
            self.storing.keep(Arc::clone(held), share);
        }
    }

    fn update(&mut self, id: StreamId, update: proto::Update) {
        if self.sources.chosen() != Some(id) {
            return;
        }
        if update.epoch < self.sources.highest() {
            tracing::warn!(
                epoch = update.epoch,
                highest = self.sources.highest(),
                "refused an update of a stale epoch"
            );
            self.sources.heard(id, update.epoch);
            return;
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let change = match stream.assembler.add(update) {
            Ok(None) => return,
            Ok(Some(change)) => change,
            Err(error) => return self.disbelieve(id, &error),
        };
        let nonce = change.nonce;
        match Held::apply(self.held.as_deref(), change) {
            Ok(held) => {
                self.trust = Trust::Held;
                self.sources.applied(held.epoch);
                self.want(Arc::new(held));
                self.pending = Some(Pending {
                    nonce,
                    stream: id,
                    seq: self.seq,
                });
            }
            Err(error) => self.disbelieve(id, &error),
        }
    }

    /// Ends a stream that makes no sense and asks for a whole set from then on.
    fn disbelieve(&mut self, id: StreamId, error: &assemble::Error) {
        tracing::warn!(%error, "an update makes no sense; a whole set is asked for");
        self.trust = Trust::WholeSet;
        self.end(id);
    }

    fn want(&mut self, held: Arc<Held>) {
        self.seq += 1;
        let wanted = Wanted {
            seq: self.seq,
            settings: held.settings.clone(),
            forwards: held.forwards.clone(),
            refused: held.refused.values().cloned().collect(),
        };
        self.held = Some(held);
        self.channels.wanted.send_replace(Some(Arc::new(wanted)));
    }

    /// Tells each stream whether it is the source, where that has changed.
    pub(super) fn choose(&mut self) {
        let chosen = self.sources.chosen();
        for id in self.streams.keys().copied().collect::<Vec<_>>() {
            let source = if chosen == Some(id) {
                Source::Chosen
            } else {
                Source::Listening
            };
            let hello = self.hello(source);
            if let Some(stream) = self.streams.get_mut(&id)
                && stream.told_source != source
            {
                stream.told_source = source;
                stream.assembler = Assembler::default();
                self.send(id, to_operator::Message::Hello(hello));
            }
        }
    }

    fn hello(&self, source: Source) -> proto::Hello {
        let named = self.version().filter(|_| self.trust == Trust::Held);
        messages::hello(&self.identity, named, self.sources.highest(), source)
    }

    /// The version of what is in force, or on its way to be.
    fn version(&self) -> Option<Version> {
        self.held.as_ref().map(|held| held.version)
    }

    /// A stream whose operator doesn't read is ended rather than waited for.
    fn send(&mut self, id: StreamId, message: to_operator::Message) {
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        if stream
            .outbound
            .try_send(ToOperator {
                message: Some(message),
            })
            .is_err()
        {
            self.end(id);
        }
    }

    fn end(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.remove(&id) {
            stream.broken.cancel();
            if let Some(operator) = stream.welcomed {
                tracing::warn!(operator, "an operator is gone; traffic goes on");
            }
        }
        self.sources.ended(id);
        self.pending.take_if(|pending| pending.stream == id);
    }

    pub(super) fn show(&mut self) {
        let source = self.sources.chosen().and_then(|id| self.streams.get(&id));
        self.view.connected = self
            .streams
            .values()
            .filter(|s| s.welcomed.is_some())
            .count();
        self.view.source = source.and_then(|stream| stream.welcomed.clone());
        self.view.epoch = self.sources.highest();
        self.view.version = self.version();
        self.view.store_error = self.storing.error().map(str::to_owned);
        self.channels.view.send_if_modified(|view| {
            let changed = *view != self.view;
            view.clone_from(&self.view);
            changed
        });
    }
}
