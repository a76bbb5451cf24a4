//! Edge. One check of a password, in so much time that it tells nothing.

use std::hash::{BuildHasher as _, RandomState};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::good::Good;

/// bcrypt looks at no more, and htpasswd takes longer passwords all the same.
const SIGNIFICANT: usize = 72;

/// Verdicts that are remembered, at 40 bytes: more users than a forward has that are busy at a time.
const REMEMBERED: usize = 1024;

/// What of a password counts.
pub(super) struct Secret(Box<[u8]>);

impl Secret {
    /// None: a password of htpasswd holds no NUL, and bcrypt would take `a\0a` for `a`, as its key
    /// goes round and round.
    pub(super) fn new(password: &[u8]) -> Option<Self> {
        let significant = password.get(..SIGNIFICANT).unwrap_or(password);
        let is_possible = !significant.contains(&0);
        is_possible.then(|| Self(significant.into()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a password is checked against.
pub(super) enum Test {
    Hash(Arc<str>),
    /// Nothing, for the time that it takes.
    Vain {
        cost: u32,
    },
}

/// What the threads have in common.
#[derive(Debug)]
pub(super) struct Work {
    good: Mutex<Good>,
    hashed: AtomicU64,
}

impl Default for Work {
    fn default() -> Self {
        // The standard library seeds its hashers from the kernel, and needs no answer to what to do
        // where that fails.
        let key = [0_u64; 4].map(|word| RandomState::new().hash_one(word));
        Self {
            good: Mutex::new(Good::new(REMEMBERED, key)),
            hashed: AtomicU64::new(0),
        }
    }
}

impl Work {
    pub(super) fn hashed(&self) -> u64 {
        self.hashed.load(Ordering::Relaxed)
    }

    pub(super) fn remembers(&self, test: &Test, secret: &Secret) -> bool {
        match test {
            Test::Hash(hash) => self.good().knows(hash, secret.bytes()),
            Test::Vain { .. } => false,
        }
    }

    /// The hashes are compared in constant time, by the crate.
    pub(super) fn verify(&self, test: &Test, secret: &Secret) -> bool {
        // A client that opens many connections at once asks the same many times.
        if self.remembers(test, secret) {
            return true;
        }
        self.hashed.fetch_add(1, Ordering::Relaxed);
        match test {
            Test::Hash(hash) => {
                let is_right = bcrypt::verify(secret.bytes(), hash).unwrap_or(false);
                if is_right {
                    self.good().remember(hash, secret.bytes());
                }
                is_right
            }
            Test::Vain { cost } => {
                let hash = bcrypt::hash_with_salt(secret.bytes(), *cost, black_box([0; 16]));
                let _ = black_box(hash);
                false
            }
        }
    }

    fn good(&self) -> MutexGuard<'_, Good> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
