//! Pure. Forwards and sets for tests.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use tcpforward_protocol::snapshot::{
    Backend, BackendState, Dial, Forward, ForwardName, ForwardSpec, Listener, LoadBalancer,
    LocalTargets, Relay, Settings, Snapshot, TakesNew, Target, Timeouts,
};

const SETTINGS: Settings = Settings {
    local_targets: LocalTargets::Allow,
};

pub(crate) fn forward(name: &str, generation: i64, requires: &[&str]) -> Forward {
    let spec = ForwardSpec {
        generation,
        requires: requires.iter().map(|s| (*s).to_owned()).collect(),
        listener: Listener {
            port: NonZeroU16::MIN,
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
                attempts: NonZeroU32::MIN,
                deadline: Duration::from_secs(1),
            },
            load_balancer: LoadBalancer::RoundRobin,
        },
        timeouts: Timeouts {
            idle: None,
            half_closed: None,
        },
    };
    Forward::new(ForwardName::new("n", name), spec, vec![])
}

pub(crate) fn backend(target: &str, address: &str) -> Backend {
    Backend {
        target: target.to_owned(),
        address: address.parse().unwrap(),
        state: BackendState::Ready,
        takes_new: TakesNew::Yes,
        nodes: Vec::new(),
        zones: Vec::new(),
    }
}

pub(crate) fn snapshot(forwards: impl IntoIterator<Item = Forward>) -> Snapshot {
    let mut snapshot = Snapshot::new(SETTINGS);
    forwards
        .into_iter()
        .for_each(|f| snapshot.upsert(Arc::new(f)));
    snapshot
}
