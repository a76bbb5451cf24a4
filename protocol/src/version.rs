//! Pure. Names for content: a hash for a forward, a version for a set.
//!
//! A set's version is the hash of its settings and of 256 bucket hashes, so one changed forward
//! costs its own bucket, and every replica that sees the same world names it the same.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};

use crate::snapshot::{ForwardName, Settings};
use crate::wire;

/// The first 16 bytes of a SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 16]);

/// The hash of a whole set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(Hash);

/// Bytes that are not a hash.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a hash has 16 bytes, these are {length}")]
pub struct NotAHash {
    length: usize,
}

impl Hash {
    /// Hashes the parts one after the other.
    #[must_use]
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(part);
        }
        let mut short = [0; 16];
        short
            .iter_mut()
            .zip(digest.finalize())
            .for_each(|(to, from)| *to = from);
        Self(short)
    }

    /// The bytes, for the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Version {
    /// The bytes, for the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = NotAHash;

    fn try_from(bytes: &[u8]) -> Result<Self, NotAHash> {
        bytes.try_into().map(Self).map_err(|_| NotAHash {
            length: bytes.len(),
        })
    }
}

impl TryFrom<&[u8]> for Version {
    type Error = NotAHash;

    fn try_from(bytes: &[u8]) -> Result<Self, NotAHash> {
        Hash::try_from(bytes).map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({self})")
    }
}

/// The version of a set of which only names and hashes are known. This is what a data plane can
/// compute: a forward from a newer operator may have fields that it doesn't know.
#[must_use]
pub fn of_set(settings: &Settings, forwards: &BTreeMap<ForwardName, Hash>) -> Version {
    let mut buckets = vec![Vec::new(); 256];
    for (name, hash) in forwards {
        if let Some(bucket) = buckets.get_mut(bucket_of(name)) {
            bucket.push((name, *hash));
        }
    }
    of_buckets(settings, buckets.into_iter().map(bucket))
}

pub(crate) fn bucket_of(name: &ForwardName) -> usize {
    let [first, ..] = Hash::of([name.namespace().as_bytes(), b"/", name.name().as_bytes()]).0;
    usize::from(first)
}

/// Names are separated by a byte that no name contains.
pub(crate) fn bucket<'a>(forwards: impl IntoIterator<Item = (&'a ForwardName, Hash)>) -> Hash {
    let mut digest = Sha256::new();
    for (name, hash) in forwards {
        digest.update(name.namespace());
        digest.update(b"/");
        digest.update(name.name());
        digest.update([0]);
        digest.update(hash.0);
    }
    Hash::of([digest.finalize().as_slice()])
}

pub(crate) fn of_buckets(settings: &Settings, buckets: impl Iterator<Item = Hash>) -> Version {
    let mut content = wire::settings_bytes(settings);
    buckets.for_each(|hash| content.extend(hash.0));
    Version(Hash::of([content.as_slice()]))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::{LocalTargets, Snapshot};
    use crate::wire::tests::forward;

    #[test]
    fn the_version_of_nothing_is_pinned() {
        let settings = Settings::new(LocalTargets::Refuse);
        let version = of_set(&settings, &BTreeMap::new());
        assert_eq!(version, Snapshot::new(settings).version());
        assert_eq!(version.to_string().len(), 32);
        assert_eq!(Version::try_from(version.as_bytes()), Ok(version));
        assert_eq!(
            Version::try_from([1, 2].as_slice()),
            Err(NotAHash { length: 2 })
        );
    }

    proptest! {
        #[test]
        fn both_sides_compute_the_same_version(names in prop::collection::btree_set("[a-z]{1,4}", 0..40)) {
            let settings = Settings::new(LocalTargets::Allow);
            let mut snapshot = Snapshot::new(settings.clone());
            let mut known = BTreeMap::new();
            for name in &names {
                let forward = forward(&format!("n/{name}"), 1);
                known.insert(forward.name.clone(), forward.hash);
                snapshot.upsert(Arc::new(forward));
            }
            prop_assert_eq!(snapshot.version(), of_set(&settings, &known));
        }
    }
}
