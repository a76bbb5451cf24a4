//! Edge. Whether a password is right: bcrypt, on threads of its own, and what was right is remembered.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bcrypt::HashParts;
use tcpforward_protocol::snapshot::{Subject, User};
use tokio::sync::oneshot;
use tokio::time::timeout;

use pool::{Job, Pool};
use verify::{Secret, Test};

mod good;
mod pool;
mod verify;

/// How long a session waits for its turn and its verdict.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one check may cost at most, as a power of two: about a second. A higher cost would keep the
/// users of all other forwards waiting.
const MAX_COST: u32 = 14;

/// Where there is no user at all: what htpasswd takes when it is not told.
const DEFAULT_COST: u32 = 5;

/// The users of one forward.
#[derive(Clone)]
pub struct Users {
    hashes: HashMap<String, Arc<str>>,
    /// Of whoever is none of them.
    cost: u32,
    left_out: Vec<String>,
}

impl Users {
    /// Takes lines of htpasswd; of two with a name the first one counts, as for httpd.
    #[must_use]
    pub fn new(users: &[User]) -> Self {
        let mut made = Self {
            hashes: HashMap::new(),
            cost: 0,
            left_out: Vec::new(),
        };
        for User { name, hash } in users {
            let Some(cost) = usable_cost(hash) else {
                made.left_out.push(name.clone());
                continue;
            };
            made.cost = made.cost.max(cost);
            let hash = || Arc::from(hash.as_str());
            made.hashes.entry(name.clone()).or_insert_with(hash);
        }
        if made.hashes.is_empty() {
            made.cost = DEFAULT_COST;
        }
        made
    }

    /// Those whose hash is none of bcrypt, or of one that costs too much: they are refused.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// What a password of that user is checked against; absent: there is no such user.
    #[must_use]
    pub fn proof(&self, name: &str) -> Option<&Arc<str>> {
        self.hashes.get(name)
    }

    /// How a password of that user is checked. Whoever is unknown costs as much as the dearest of
    /// those who are known, so that time doesn't tell who is.
    fn test(&self, name: &str) -> Test {
        match self.hashes.get(name) {
            Some(hash) => Test::Hash(Arc::clone(hash)),
            None => Test::Vain { cost: self.cost },
        }
    }
}

/// Without the hashes, which are nobody's business.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users")
            .field("count", &self.hashes.len())
            .finish_non_exhaustive()
    }
}

/// `$2x$` is for hashes of a version that read bytes beyond ASCII wrongly: none of htpasswd's.
fn usable_cost(hash: &str) -> Option<u32> {
    let is_plain = ["$2a$", "$2b$", "$2y$"]
        .iter()
        .any(|version| hash.starts_with(version));
    let cost = hash.parse::<HashParts>().ok()?.get_cost();
    (is_plain && (4..=MAX_COST).contains(&cost)).then_some(cost)
}

/// Why nobody has proven to be anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too many passwords wait to be checked, or this one did not have its turn in time.
    #[error("too many passwords wait to be checked")]
    Busy,
    /// There is no such user, or that is not the password.
    #[error("no such user with that password")]
    Wrong,
}

/// One per process.
#[derive(Debug, Default)]
pub struct Checker {
    pool: Pool,
}

impl Checker {
    /// Who that is. A password that was right lately costs a SHA-256, any other one a bcrypt; who
    /// leaves before its turn costs nothing.
    ///
    /// # Errors
    /// It is not who it says, or nobody has time to look.
    pub async fn check(
        &self,
        users: &Users,
        name: &str,
        password: &[u8],
    ) -> Result<Subject, Refused> {
        let subject = || Subject::User(name.to_owned());
        let secret = Secret::new(password).ok_or(Refused::Wrong)?;
        let test = users.test(name);
        if self.pool.work().remembers(&test, &secret) {
            return Ok(subject());
        }
        let (verdict, heard) = oneshot::channel();
        let job = Job {
            test,
            secret,
            verdict,
        };
        self.pool.submit(job).map_err(|_| Refused::Busy)?;
        match timeout(PATIENCE, heard).await {
            Ok(Ok(true)) => Ok(subject()),
            Ok(Ok(false)) => Err(Refused::Wrong),
            // Its thread died, or there was no time for it.
            Ok(Err(_)) | Err(_) => Err(Refused::Busy),
        }
    }

    /// How many hashes were computed.
    #[must_use]
    pub fn hashed(&self) -> u64 {
        self.pool.work().hashed()
    }
}

#[cfg(test)]
mod tests;
