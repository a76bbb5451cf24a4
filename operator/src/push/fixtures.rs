//! Pure. Small sets and messages for the tests of the push.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use tcpforward_protocol::answer::{Hello, Source};
use tcpforward_protocol::snapshot::{
    Backend, BackendState, Dial, Forward, ForwardName, ForwardSpec, Listener, LoadBalancer,
    LocalTargets, Relay, Settings, Snapshot, TakesNew, Target, Timeouts,
};

pub(crate) const SETTINGS: Settings = Settings {
    local_targets: LocalTargets::Refuse,
};

pub(crate) fn forward(name: &str, generation: i64) -> Forward {
    let spec = ForwardSpec {
        generation,
        requires: Vec::new(),
        listener: Listener {
            port: NonZeroU16::new(8888).unwrap(),
            address: None,
        },
        relay: Relay {
            targets: vec![Target {
                name: "t".to_owned(),
                weight: 1,
                priority: 0,
            }],
            dial: Dial {
                timeout: Duration::from_secs(1),
                attempts: NonZeroU32::new(3).unwrap(),
                deadline: Duration::from_secs(5),
            },
            load_balancer: LoadBalancer::RoundRobin,
        },
        timeouts: Timeouts {
            idle: None,
            half_closed: None,
        },
    };
    let backend = Backend {
        target: "t".to_owned(),
        address: "10.0.0.1:80".parse().unwrap(),
        state: BackendState::Ready,
        takes_new: TakesNew::Yes,
        nodes: Vec::new(),
        zones: Vec::new(),
    };
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
