//! Pure. What this data plane says of itself.

use std::collections::BTreeMap;

use prost::{Message, length_delimiter_len};
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

/// Bytes of one list in one message. Four lists and the rest are below `MESSAGE_BYTES`.
const LIST_BYTES: usize = 3 << 18;

/// What is said, in messages that each fit. All refusals are in each of them, because they replace
/// those that an operator heard before; of more than fit, the last by name are left out. The nonce
/// is that of the last one: with it everything is said.
pub(super) fn applied(whole: answer::Applied) -> Vec<proto::Applied> {
    let scope = whole.scope;
    let nonce = whole.nonce;
    let mut message = wire::applied_to_proto(&answer::Applied { nonce: 0, ..whole });
    fit(&mut message.refused);
    let mut rest = std::mem::take(&mut message.serving);
    let mut messages = Vec::new();
    loop {
        let more = rest.split_off(fitting(&rest));
        messages.push(proto::Applied {
            full: messages.is_empty() && scope == Scope::Full,
            serving: std::mem::replace(&mut rest, more),
            ..message.clone()
        });
        if rest.is_empty() {
            break;
        }
    }
    if let Some(last) = messages.last_mut() {
        last.nonce = nonce;
    }
    messages
}

/// Everything that is served.
pub(super) fn all_of(said: &Applied, version: Option<Version>, epoch: u64) -> Vec<proto::Applied> {
    applied(answer::Applied {
        nonce: 0,
        version,
        epoch,
        scope: Scope::Full,
        serving: difference(&BTreeMap::new(), &said.serving),
        refused: said.refused.clone(),
    })
}

/// How things go, as much of it as fits a message.
pub(super) fn report(report: &answer::Report) -> proto::Report {
    let mut message = wire::report_to_proto(report);
    fit(&mut message.failing);
    fit(&mut message.listeners);
    fit(&mut message.sessions);
    fit(&mut message.hosts);
    message
}

fn fit<M: Message>(list: &mut Vec<M>) {
    list.truncate(fitting(list));
}

/// How many of a list's first entries are sent; at least one, whatever its size.
fn fitting<M: Message>(list: &[M]) -> usize {
    let mut bytes = 0;
    let fits = |one: &&M| {
        let len = one.encoded_len();
        bytes += len + length_delimiter_len(len) + 1;
        bytes <= LIST_BYTES
    };
    let count = list.iter().take_while(fits).count();
    count.max(1).min(list.len())
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

#[cfg(test)]
mod tests {
    use tcpforward_protocol::MESSAGE_BYTES;
    use tcpforward_protocol::answer::{
        DialError, FailingBackend, HostError, HostErrorKind, LeftOut, Refusal, RefusalCode, Report,
        ResolvedHost, SessionCount,
    };
    use tcpforward_protocol::version::Hash;

    use super::*;

    fn names(count: usize) -> impl Iterator<Item = ForwardName> {
        (0..count).map(|i| ForwardName::new("n", &format!("{i:0250}")))
    }

    #[test]
    fn many_forwards_are_told_in_messages_that_fit() {
        let hash = Hash::of([b"spec".as_slice()]);
        let spec = ServedSpec {
            hash,
            generation: 1,
        };
        let refusal = |forward| Refusal {
            forward,
            spec_hash: hash,
            code: RefusalCode::BindFailed,
            text: "x".repeat(256),
        };
        let said = Applied {
            seq: 1,
            serving: names(20_000).map(|name| (name, spec)).collect(),
            refused: names(20_000).map(refusal).collect(),
        };
        let whole = all_of(&said, None, 1);
        let change = applied(answer::Applied {
            nonce: 7,
            version: None,
            epoch: 1,
            scope: Scope::Change,
            serving: difference(&said.serving, &BTreeMap::new()),
            refused: Vec::new(),
        });
        for messages in [&whole, &change] {
            assert!(messages.iter().all(|m| m.encoded_len() < MESSAGE_BYTES));
            let told: usize = messages.iter().map(|m| m.serving.len()).sum();
            assert_eq!(told, 20_000);
        }
        let full: Vec<_> = whole.iter().map(|m| m.full).take(2).collect();
        assert_eq!(full, [true, false]);
        assert!(whole.iter().all(|m| m.refused.len() > 1000));
        let nonces: Vec<_> = change.iter().map(|m| m.nonce).collect();
        let (last, before) = nonces.split_last().unwrap();
        assert!(*last == 7 && before.iter().all(|n| *n == 0));
        assert_eq!(all_of(&Applied::default(), None, 1).len(), 1);
    }

    #[test]
    fn a_report_fits_a_message() {
        let count = |forward| SessionCount {
            forward,
            open: 1,
            total: 1,
        };
        let failing = |forward| FailingBackend {
            forward,
            target: "t".repeat(63),
            address: ([127, 0, 0, 1], 80).into(),
            reason: DialError::Other,
            message: "ä".repeat(256),
            since_ms: 1,
            left_out: LeftOut::No,
        };
        // Whoever may write forwards chooses these names, and how many don't resolve.
        let host = |forward| ResolvedHost {
            forward,
            target: "t".repeat(63),
            addresses: Vec::new(),
            error: Some(HostError::new(HostErrorKind::Forbidden, "ä".repeat(256))),
        };
        let message = report(&Report {
            failing: names(20_000).map(failing).collect(),
            sessions: names(20_000).map(count).collect(),
            hosts: names(20_000).map(host).collect(),
            ..Report::default()
        });
        assert!(message.encoded_len() < MESSAGE_BYTES);
        assert!(message.sessions.len() > 1000);
        assert!(message.hosts.len() > 500 && message.failing.len() > 500);
    }
}
