//! Edge. Forwards and sets for tests.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use tcpforward_protocol::snapshot::{Forward, ForwardName, LocalTargets, Settings, Snapshot};
use tcpforward_protocol::testing::{self, target};

use crate::place::Terms;
use crate::served::Served;

pub(crate) use tcpforward_protocol::testing::backend;

const SETTINGS: Settings = Settings::new(LocalTargets::Allow);

pub(crate) fn forward(name: &str, generation: i64, requires: &[&str]) -> Forward {
    let mut spec = testing::spec(vec![target("t")]);
    spec.generation = generation;
    spec.requires = requires.iter().map(|s| (*s).to_owned()).collect();
    spec.listener.port = NonZeroU16::MIN;
    spec.relay.dial.attempts = NonZeroU32::MIN;
    spec.relay.dial.deadline = Duration::from_secs(1);
    Forward::new(ForwardName::new("n", name), spec, vec![])
}

pub(crate) fn snapshot(forwards: impl IntoIterator<Item = Forward>) -> Snapshot {
    let mut snapshot = Snapshot::new(SETTINGS);
    forwards
        .into_iter()
        .for_each(|f| snapshot.upsert(Arc::new(f)));
    snapshot
}

pub(crate) fn terms() -> Terms {
    Terms {
        settings: SETTINGS,
        place: Arc::default(),
    }
}

/// By one worker.
pub(crate) fn served(forward: Forward) -> Arc<Served> {
    let now = tokio::time::Instant::now().into_std();
    Arc::new(Served::new(Arc::new(forward), terms(), 1, now, 0))
}
