//! Pure. Passwords that were right, without the passwords.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

/// As many as it was made for; the one that was not asked for longest makes room.
///
/// It holds digests of hash and password under a key of this process: a hash that changes is never
/// found again, and whoever doesn't know the key can't choose digests, so that how long a look takes
/// tells nothing of those that are there. Bad verdicts are not kept: they would drive out good ones.
#[derive(Debug)]
pub(super) struct Good {
    most: usize,
    key: [u64; 4],
    /// When each was last asked for.
    used: HashMap<[u8; 32], u64>,
    /// Counts questions.
    now: u64,
}

impl Good {
    pub(super) fn new(most: usize, key: [u64; 4]) -> Self {
        Self {
            most,
            key,
            used: HashMap::new(),
            now: 0,
        }
    }

    pub(super) fn knows(&mut self, hash: &str, password: &[u8]) -> bool {
        self.now += 1;
        let digest = self.digest(hash, password);
        let Some(used) = self.used.get_mut(&digest) else {
            return false;
        };
        *used = self.now;
        true
    }

    pub(super) fn remember(&mut self, hash: &str, password: &[u8]) {
        self.now += 1;
        let digest = self.digest(hash, password);
        if self.used.len() >= self.most && !self.used.contains_key(&digest) {
            let oldest = self.used.iter().min_by_key(|(_, used)| **used);
            let oldest = oldest.map(|(digest, _)| *digest);
            oldest.map(|digest| self.used.remove(&digest));
        }
        self.used.insert(digest, self.now);
    }

    fn digest(&self, hash: &str, password: &[u8]) -> [u8; 32] {
        let mut digest = Sha256::new();
        for word in self.key {
            digest.update(word.to_le_bytes());
        }
        digest.update((hash.len() as u64).to_le_bytes());
        digest.update(hash);
        digest.update(password);
        digest.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_was_not_asked_for_longest_makes_room() {
        let mut good = Good::new(2, [0; 4]);
        good.remember("h", b"a");
        good.remember("h", b"b");
        assert!(good.knows("h", b"a"));
        good.remember("h", b"a");
        good.remember("h", b"c");
        let known = [&b"a"[..], b"b", b"c"].map(|password| good.knows("h", password));
        assert_eq!(known, [true, false, true]);
    }

    #[test]
    fn hash_and_password_are_told_apart_and_the_key_is_its_own() {
        let mut good = Good::new(9, [1, 2, 3, 4]);
        good.remember("hash", b"password");
        for (hash, password) in [("has", "hpassword"), ("hashp", "assword"), ("hash", "")] {
            assert!(!good.knows(hash, password.as_bytes()));
        }
        let other = Good::new(9, [1, 2, 3, 5]);
        assert_ne!(other.digest("hash", b""), good.digest("hash", b""));
    }
}
