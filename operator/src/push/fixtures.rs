//! Pure. Small sets and messages for the tests of the push.

use std::sync::Arc;

use tcpforward_protocol::answer::{Hello, Source};
use tcpforward_protocol::snapshot::{Forward, ForwardName, LocalTargets, Settings, Snapshot};
use tcpforward_protocol::testing;

pub(crate) const SETTINGS: Settings = Settings::new(LocalTargets::Refuse);

pub(crate) fn forward(name: &str, generation: i64) -> Forward {
    let mut spec = testing::spec(vec![testing::target("t")]);
    spec.generation = generation;
    let backend = testing::backend("t", "10.0.0.1:80");
    Forward::new(ForwardName::new("n", name), spec, vec![backend])
}

pub(crate) fn snapshot(forwards: &[(&str, i64)]) -> Arc<Snapshot> {
    let mut snapshot = Snapshot::new(SETTINGS);
    for (name, generation) in forwards {
        snapshot.upsert(Arc::new(forward(name, *generation)));
    }
    Arc::new(snapshot)
}

pub(crate) fn hello(uid: &str) -> Hello {
    Hello {
        pod: format!("pod-{uid}"),
        uid: uid.to_owned(),
        node: "node-1".to_owned(),
        pool: "default".to_owned(),
        build: "test".to_owned(),
        features: Vec::new(),
        version: None,
        epoch: 0,
        source: Source::Chosen,
    }
}
