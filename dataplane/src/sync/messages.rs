//! Pure. What this data plane says of itself.

use std::collections::BTreeMap;

use tcpforward_protocol::answer::{self, Hello, ServedSpec, Serving, Source};
use tcpforward_protocol::delta::Scope;
use tcpforward_protocol::snapshot::ForwardName;
use tcpforward_protocol::version::Version;
use tcpforward_protocol::{proto, wire};

use super::{Applied, FEATURES, Identity};

/// Who this data plane is and what it holds.
pub(super) fn hello(
    identity: &Identity,
    version: Option<Version>,
    epoch: u64,
    source: Source,
) -> proto::Hello {
    wire::hello_to_proto(&Hello {
        pod: identity.pod.clone(),
        uid: identity.uid.clone(),
        node: identity.node.clone(),
        pool: identity.pool.clone(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
        features: FEATURES
            .iter()
            .map(|feature| (*feature).to_owned())
            .collect(),
        version,
        epoch,
        source,
    })
}

/// Entries of one message: far below the size limit.
const SERVING: usize = 5000;

/// Everything that is served, in messages of which only the first starts anew.
pub(super) fn all_of(said: &Applied, version: Option<Version>, epoch: u64) -> Vec<proto::Applied> {
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

/// What differs between two states of what is served.
pub(super) fn difference(
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
