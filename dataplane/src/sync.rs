//! Edge. Holds a stream to every operator, takes updates from one, answers all.
//!
//! One task owns what is held and decides; each stream has a task that only carries messages.

mod assemble;
mod operators;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
pub(crate) mod scripted;
mod source;
mod stream;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tcpforward_protocol::answer::{self, Hello, Refusal, Report, ServedSpec, Serving, Source};
use tcpforward_protocol::delta::Scope;
use tcpforward_protocol::proto::{self, ToOperator, to_data_plane, to_operator};
use tcpforward_protocol::snapshot::{Forward, ForwardName, Settings};
use tcpforward_protocol::version::Version;
use tcpforward_protocol::wire;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::OperatorAddress;
use crate::last_good::{self, Complete, LastGood};
use assemble::Assembler;
pub(crate) use assemble::Held;
use source::{Sources, StreamId};
use stream::Event;

/// Takes one end of a pipe for each connection to an operator in this process.
pub type InProcess = mpsc::Sender<DuplexStream>;

/// What this program can do beyond the base of the protocol.
pub(crate) const FEATURES: [&str; 0] = [];

/// Who this data plane is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) pod: String,
    pub(crate) uid: String,
    pub(crate) node: String,
    pub(crate) pool: String,
}

/// A whole set to serve. The latest one wins.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Counts up from 1.
    pub(crate) seq: u64,
    pub(crate) settings: Settings,
    /// What can be served; of a refused forward its former state, if there was one.
    pub(crate) forwards: BTreeMap<ForwardName, Arc<Forward>>,
    /// What came and could not be understood.
    pub(crate) refused: Vec<Refusal>,
}

/// What is served, after a `Wanted` and whenever that changes by itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Applied {
    /// Of the latest `Wanted` that is in force.
    pub(crate) seq: u64,
    pub(crate) serving: BTreeMap<ForwardName, ServedSpec>,
    /// Everything that is refused, those of `Wanted` included.
    pub(crate) refused: Vec<Refusal>,
}

/// How the rest of the program hears and is heard.
pub(crate) struct Channels {
    pub(crate) wanted: watch::Sender<Option<Arc<Wanted>>>,
    pub(crate) applied: watch::Receiver<Arc<Applied>>,
    pub(crate) report: watch::Receiver<Arc<Report>>,
    pub(crate) view: watch::Sender<View>,
}

/// How things stand with the operators, for pages and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Streams on which an operator has answered.
    pub connected: usize,
    /// Which operator updates are taken from.
    pub source: Option<String>,
    /// Highest epoch applied.
    pub epoch: u64,
    /// What is held.
    pub version: Option<Version>,
    /// Index and number of shares of pool-wide limits.
    pub share: Option<(u32, u32)>,
    /// Node that this data plane is on, as the operator says.
    pub node: String,
    /// Zone of that node.
    pub zone: String,
    /// Why the last good snapshot could not be kept, if it couldn't.
    pub store_error: Option<String>,
}

/// Numbers the lives of streams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids(Arc<AtomicU64>);

impl Ids {
    pub(crate) fn next(&self) -> StreamId {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Events of all streams that wait for the owner task; streams wait behind them.
const EVENTS: usize = 64;

/// Runs until it is dropped. `held` is the last good snapshot, if there was one; it is published
/// as the first `Wanted`.
pub(crate) async fn run(
    addresses: Vec<OperatorAddress>,
    identity: Identity,
    state_dir: Option<PathBuf>,
    held: Option<LastGood>,
    channels: Channels,
) {
    let (sender, mut events) = mpsc::channel(EVENTS);
    let mut streams = JoinSet::new();
    streams.spawn(operators::keep_all(addresses, sender));
    let mut sync = Sync::new(identity, state_dir, held, channels);
    loop {
        tokio::select! {
            Some(event) = events.recv() => sync.event(event),
            Ok(()) = sync.channels.applied.changed() => sync.applied(),
            Ok(()) = sync.channels.report.changed() => sync.report(),
            Some(stored) = sync.storing.join_next() => sync.stored(stored),
            else => return,
        }
        sync.choose();
        sync.show();
    }
}

struct Sync {
    identity: Identity,
    state_dir: Option<PathBuf>,
    channels: Channels,
    sources: Sources,
    streams: BTreeMap<StreamId, Stream>,
    /// What is held, as it came.
    held: Option<Arc<Held>>,
    /// Whether the next hello names the version of what is held.
    trust: Trust,
    seq: u64,
    /// The update that waits to be in force: its nonce and where to acknowledge it.
    pending: Option<Pending>,
    /// What was last said to all streams.
    said: Arc<Applied>,
    /// At most one write of the last good snapshot at a time.
    storing: JoinSet<Result<(), last_good::Error>>,
    /// A set in force that is not on disk.
    unstored: Option<Arc<Held>>,
    view: View,
}

struct Stream {
    outbound: mpsc::Sender<ToOperator>,
    broken: CancellationToken,
    assembler: Assembler,
    welcomed: Option<String>,
    told_source: Source,
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
    fn new(
        identity: Identity,
        state_dir: Option<PathBuf>,
        last_good: Option<LastGood>,
        channels: Channels,
    ) -> Self {
        let trust = match &last_good {
            Some(last) if last.complete == Complete::Yes => Trust::Held,
            _ => Trust::WholeSet,
        };
        let held = last_good.map(|last| Arc::new(last.held));
        let said = Arc::clone(&channels.applied.borrow());
        let mut sync = Self {
            identity,
            state_dir,
            sources: Sources::new(held.as_ref().map_or(0, |held| held.epoch)),
            streams: BTreeMap::new(),
            trust,
            seq: 0,
            pending: None,
            said,
            storing: JoinSet::new(),
            unstored: None,
            view: View::default(),
            held: None,
            channels,
        };
        if let Some(held) = held {
            sync.want(held);
        }
        sync.show();
        sync
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Opening {
                stream,
                outbound,
                broken,
            } => {
                let told_source = Source::Listening;
                let assembler = Assembler::default();
                let opening = Stream {
                    outbound,
                    broken,
                    assembler,
                    welcomed: None,
                    told_source,
                };
                self.streams.insert(stream, opening);
                self.send(stream, to_operator::Message::Hello(self.hello(told_source)));
                for part in all_of(&self.said, self.version(), self.sources.highest()) {
                    self.send(stream, to_operator::Message::Applied(part));
                }
                let report = wire::report_to_proto(&self.channels.report.borrow().clone());
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
                self.view.share = Some((share.index, share.of));
            }
            to_data_plane::Message::Share(_) => {}
            to_data_plane::Message::Update(update) => self.update(id, update),
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
            settings: held.settings,
            forwards: held.forwards.clone(),
            refused: held.refused.values().cloned().collect(),
        };
        self.held = Some(held);
        self.channels.wanted.send_replace(Some(Arc::new(wanted)));
    }

    /// What is served has changed: all streams hear it, and the update's own one as an answer.
    fn applied(&mut self) {
        let now = Arc::clone(&self.channels.applied.borrow_and_update());
        let answered = self.pending.take_if(|pending| pending.seq <= now.seq);
        let mut message = answer::Applied {
            nonce: 0,
            version: self.version(),
            epoch: self.sources.highest(),
            scope: Scope::Change,
            serving: difference(&self.said.serving, &now.serving),
            refused: now.refused.clone(),
        };
        if now.seq == self.seq && self.said.seq != now.seq {
            self.unstored.clone_from(&self.held);
            self.store();
        }
        self.said = now;
        for id in self.streams.keys().copied().collect::<Vec<_>>() {
            message.nonce = match &answered {
                Some(pending) if pending.stream == id => pending.nonce,
                _ => 0,
            };
            let applied = to_operator::Message::Applied(wire::applied_to_proto(&message));
            self.send(id, applied);
        }
    }

    fn report(&mut self) {
        let report = wire::report_to_proto(&self.channels.report.borrow_and_update().clone());
        for id in self.streams.keys().copied().collect::<Vec<_>>() {
            self.send(id, to_operator::Message::Report(report.clone()));
        }
    }

    /// Tells each stream whether it is the source, where that has changed.
    fn choose(&mut self) {
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
        let hello = Hello {
            pod: self.identity.pod.clone(),
            uid: self.identity.uid.clone(),
            node: self.identity.node.clone(),
            pool: self.identity.pool.clone(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            features: FEATURES
                .iter()
                .map(|feature| (*feature).to_owned())
                .collect(),
            version: (self.trust == Trust::Held)
                .then(|| self.version())
                .flatten(),
            epoch: self.sources.highest(),
            source,
        };
        wire::hello_to_proto(&hello)
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

    fn store(&mut self) {
        let Some(dir) = self.state_dir.clone() else {
            return;
        };
        if !self.storing.is_empty() {
            return;
        }
        if let Some(held) = self.unstored.take() {
            let pool = self.identity.pool.clone();
            self.storing
                .spawn_blocking(move || last_good::store(&dir, &pool, &held));
        }
    }

    fn stored(&mut self, stored: Result<Result<(), last_good::Error>, tokio::task::JoinError>) {
        let error = match stored {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = &error {
            tracing::warn!(error, "can't keep the last good snapshot; traffic goes on");
        }
        self.view.store_error = error;
        self.store();
    }

    fn show(&mut self) {
        let source = self.sources.chosen().and_then(|id| self.streams.get(&id));
        self.view.connected = self
            .streams
            .values()
            .filter(|s| s.welcomed.is_some())
            .count();
        self.view.source = source.and_then(|stream| stream.welcomed.clone());
        self.view.epoch = self.sources.highest();
        self.view.version = self.version();
        self.channels.view.send_if_modified(|view| {
            let changed = *view != self.view;
            view.clone_from(&self.view);
            changed
        });
    }
}

/// Entries of one message: far below the size limit.
const SERVING: usize = 5000;

/// Everything that is served, in messages of which only the first starts anew.
fn all_of(said: &Applied, version: Option<Version>, epoch: u64) -> Vec<proto::Applied> {
    let all = difference(&BTreeMap::new(), &said.serving);
    let mut chunks: Vec<&[Serving]> = all.chunks(SERVING).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let message = |(i, serving): (usize, &[Serving])| {
        wire::applied_to_proto(&answer::Applied {
            nonce: 0,
            version,
            epoch,
            scope: if i == 0 { Scope::Full } else { Scope::Change },
            serving: serving.to_vec(),
            refused: said.refused.clone(),
        })
    };
    chunks.into_iter().enumerate().map(message).collect()
}

fn difference(
    before: &BTreeMap<ForwardName, ServedSpec>,
    now: &BTreeMap<ForwardName, ServedSpec>,
) -> Vec<Serving> {
    let gone = before.keys().filter(|name| !now.contains_key(name));
    let gone = gone.map(|name| Serving {
        forward: name.clone(),
        spec: None,
    });
    let new = now
        .iter()
        .filter(|(name, spec)| before.get(name) != Some(spec));
    let new = new.map(|(name, spec)| Serving {
        forward: name.clone(),
        spec: Some(*spec),
    });
    gone.chain(new).collect()
}

#[cfg(test)]
mod tests;
