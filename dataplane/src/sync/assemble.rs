//! Pure. The parts of a change to a whole set, or the reason why they make none.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use tcpforward_protocol::answer::{Refusal, RefusalCode};
use tcpforward_protocol::snapshot::{Forward, ForwardName, Settings, Target};
use tcpforward_protocol::version::{self, Hash, Version};
use tcpforward_protocol::wire::{self, Invalid};
use tcpforward_protocol::{CHANGE_BYTES, proto};

use super::FEATURES;

/// A set as an operator sent it: what can be served of it, and the name and hash of everything.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) settings: Settings,
    pub(crate) version: Version,
    pub(crate) epoch: u64,
    /// Hash of each forward of the set, also of those that are refused.
    pub(crate) hashes: BTreeMap<ForwardName, Hash>,
    /// What can be served; of a refused forward its former state, if there was one.
    pub(crate) forwards: BTreeMap<ForwardName, Arc<Forward>>,
    pub(crate) refused: BTreeMap<ForwardName, Refusal>,
}

/// Why a stream can't be believed any more; it is ended and a whole set asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("a change of nonce {got} came inside the change of nonce {open}")]
    Mixed { open: u64, got: u64 },
    #[error("the parts of one change exceed {CHANGE_BYTES} bytes")]
    TooLarge,
    #[error("a change came where nothing is held, and it is not a whole set")]
    NothingHeld,
    #[error("after the change the set has version {computed}, the operator says {told}")]
    OtherVersion { computed: Version, told: Version },
    #[error("an update makes no sense: {0}")]
    Invalid(#[from] Invalid),
}

/// Gathers the parts of one change.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    open: Option<proto::Update>,
    bytes: usize,
}

impl Assembler {
    /// Takes a part; with the last one, the whole change.
    pub(crate) fn add(&mut self, part: proto::Update) -> Result<Option<proto::Update>, Error> {
        self.bytes += part.encoded_len();
        if self.bytes > CHANGE_BYTES {
            return Err(Error::TooLarge);
        }
        let whole = match self.open.take() {
            None => part,
            Some(open) if open.nonce != part.nonce => {
                return Err(Error::Mixed {
                    open: open.nonce,
                    got: part.nonce,
                });
            }
            Some(mut open) => {
                open.upserts.extend(part.upserts);
                open.removals.extend(part.removals);
                proto::Update {
                    upserts: open.upserts,
                    removals: open.removals,
                    ..part
                }
            }
        };
        if whole.last {
            self.bytes = 0;
            return Ok(Some(whole));
        }
        self.open = Some(whole);
        Ok(None)
    }
}

impl Held {
    /// The set after a whole change. A forward that makes no sense here, or that needs what this
    /// program can't do, is refused alone and keeps its former state.
    pub(crate) fn apply(held: Option<&Self>, change: proto::Update) -> Result<Self, Error> {
        let next = Self::gather(held, change)?;
        let (computed, told) = (next.computed(), next.version);
        if computed != told {
            return Err(Error::OtherVersion { computed, told });
        }
        Ok(next)
    }

    /// The version of what is here, whatever it is called.
    pub(crate) fn computed(&self) -> Version {
        version::of_set(&self.settings, &self.hashes)
    }

    /// The same, believing the name that the set is given.
    pub(crate) fn gather(held: Option<&Self>, change: proto::Update) -> Result<Self, Error> {
        let told = Version::try_from(change.version.as_slice()).map_err(|_| Invalid {
            field: "update.version",
            value: format!("{} bytes", change.version.len()),
            why: "expected 16 bytes",
        })?;
        let settings = wire::settings_from_proto(change.settings)?;
        // Whoever compares them later sees at once that they are the same.
        let same = held.filter(|held| held.settings == settings);
        let settings = same.map_or(settings, |held| held.settings.clone());
        let mut next = match (change.full, held) {
            (true, _) => Self {
                settings,
                version: told,
                epoch: change.epoch,
                hashes: BTreeMap::new(),
                forwards: BTreeMap::new(),
                refused: BTreeMap::new(),
            },
            (false, None) => return Err(Error::NothingHeld),
            (false, Some(held)) => Self {
                settings,
                version: told,
                epoch: change.epoch,
                ..held.clone()
            },
        };
        for name in &change.removals {
            let name = name.parse().map_err(|_| invalid_name(name))?;
            next.hashes.remove(&name);
            next.forwards.remove(&name);
            next.refused.remove(&name);
        }
        for message in change.upserts {
            let (name, hash) = wire::forward_identity(&message)?;
            next.hashes.insert(name.clone(), hash);
            match accept(&name, hash, message) {
                Ok(forward) => {
                    next.refused.remove(&name);
                    next.forwards.insert(name, Arc::new(forward));
                }
                Err((refusal, message)) => {
                    if let Some(former) = held.and_then(|h| h.forwards.get(&name)) {
                        let kept = message
                            .and_then(|message| with_new_backends(former, *message))
                            .unwrap_or_else(|| Arc::clone(former));
                        next.forwards.insert(name.clone(), kept);
                    }
                    next.refused.insert(name, refusal);
                }
            }
        }
        Ok(next)
    }
}

/// A forward's former spec with today's backends of the targets that it has, and with what today is
/// said of the right to them: where they may be goes by who names them today. The hash stays the former
/// one: no operator has sent this.
pub(crate) fn with_backends(former: &Forward, today: &Forward) -> Forward {
    let mut spec = former.spec.clone();
    let targets = &mut spec.relay.targets;
    for target in targets.iter_mut() {
        let same = |now: &&Target| now.name == target.name;
        if let Some(now) = today.spec.relay.targets.iter().find(same) {
            target.origin = now.origin;
        }
    }
    let mut backends = today.backends.clone();
    backends.retain(|b| targets.iter().any(|t| t.name == b.target));
    Forward {
        spec,
        backends,
        grants: today.grants.clone(),
        ..former.clone()
    }
}

/// The same with backends and grants that came beside a spec that this program can't do.
fn with_new_backends(former: &Forward, today: proto::Forward) -> Option<Arc<Forward>> {
    let mut message = wire::forward_to_proto(former);
    message.grants = today.grants;
    message.backends = today.backends;
    let now = today.spec.and_then(|spec| spec.relay).unwrap_or_default();
    let targets = &mut message.spec.as_mut()?.relay.as_mut()?.targets;
    for target in targets.iter_mut() {
        if let Some(now) = now.targets.iter().find(|now| now.name == target.name) {
            target.service = now.service;
        }
    }
    message
        .backends
        .retain(|b| targets.iter().any(|t| t.name == b.target));
    wire::forward_from_proto(message).ok().map(Arc::new)
}

fn invalid_name(name: &str) -> Invalid {
    let value = name.chars().take(80).collect();
    Invalid {
        field: "update.removals",
        value,
        why: "expected namespace/name",
    }
}

/// A refusal comes with the forward when nothing is wrong with its backends and grants.
fn accept(
    name: &ForwardName,
    hash: Hash,
    message: proto::Forward,
) -> Result<Forward, (Refusal, Option<Box<proto::Forward>>)> {
    let spec_hash = Hash::try_from(message.spec_hash.as_slice()).unwrap_or(hash);
    let refuse = |code, text| Refusal {
        forward: name.clone(),
        spec_hash,
        code,
        text,
    };
    let needed = message
        .spec
        .as_ref()
        .map(|spec| spec.requires.as_slice())
        .unwrap_or_default();
    if let Some(missing) = needed
        .iter()
        .find(|feature| !FEATURES.contains(&feature.as_str()))
    {
        let text = format!("this data plane can't do {missing:?}: upgrade it");
        let refusal = refuse(RefusalCode::Unsupported, text);
        return Err((refusal, Some(Box::new(message))));
    }
    wire::forward_from_proto(message).map_err(|error| {
        let text = format!("{error}; data plane and operator differ in version");
        (refuse(RefusalCode::Invalid, text), None)
    })
}

#[cfg(test)]
mod tests;
