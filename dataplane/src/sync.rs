//! Edge. Holds a stream to every operator, takes updates from one, answers all.
//!
//! One task owns what is held and decides; each stream has a task that only carries messages.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tcpforward_protocol::answer::{Refusal, Report, ServedSpec};
use tcpforward_protocol::feature;
use tcpforward_protocol::snapshot::{Forward, ForwardName, Settings};
use tcpforward_protocol::version::Version;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::config::{OperatorAddress, Transport};
use crate::last_good::LastGood;
use crate::place::{Place, Share};
use owner::Sync;
use source::StreamId;

pub(crate) mod assemble;
mod messages;
mod operators;
mod owner;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
pub(crate) mod scripted;
mod source;
mod storing;
mod stream;
mod transport;

/// Takes one end of a pipe for each connection to an operator in this process.
pub type InProcess = mpsc::Sender<DuplexStream>;

/// What this program can do beyond the base of the protocol.
// One a line, so that each is added by itself.
#[rustfmt::skip]
pub(crate) const FEATURES: &[&str] = &[
    feature::BALANCING,
    feature::ESTABLISHED,
    feature::FAILOVER,
    feature::GRANTS,
    feature::HEALTH,
    feature::HOSTS,
    feature::HTTP_CONNECT,
    feature::LIMITS,
    feature::PORT_RANGES,
    feature::PROTECTED_RANGES,
    feature::PROXY_PROTOCOL,
    feature::SOURCE_RANGES,
    feature::TCP_OPTIONS,
    feature::VIA,
];

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

impl View {
    /// What operators say of where this data plane is.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            node: self.node.clone(),
            zone: self.zone.clone(),
            share: self.share(),
        }
    }

    pub(crate) fn share(&self) -> Option<Share> {
        self.share.map(|(index, of)| Share { index, of })
    }
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
    transport: Transport,
    identity: Identity,
    state_dir: Option<PathBuf>,
    held: Option<LastGood>,
    channels: Channels,
) {
    let (sender, mut events) = mpsc::channel(EVENTS);
    let mut streams = JoinSet::new();
    streams.spawn(operators::keep_all(addresses, transport, sender));
    let mut sync = Sync::new(identity, state_dir, held, channels);
    loop {
        tokio::select! {
            Some(event) = events.recv() => sync.event(event),
            Ok(()) = sync.channels.applied.changed() => sync.applied(),
            Ok(()) = sync.channels.report.changed() => sync.report(),
            Some(()) = sync.storing.written() => {}
            else => return,
        }
        sync.choose();
        sync.show();
    }
}

#[cfg(test)]
mod tests;
