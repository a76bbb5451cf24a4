//! Pure. Whether what a backend answers to a check is what it should. Its bytes are foreign: they
//! come in any pieces, and only so many are looked at.

use memchr::memmem;
use tcpforward_protocol::snapshot::Probe;

use crate::probe::http::{self, Head};

/// Bytes that may come before and within what a TCP check waits for. The expected part itself has
/// at most as many.
pub const TCP_LIMIT: usize = 4 << 10;

/// Bytes of the head of an HTTP answer, interim answers included.
pub const HTTP_LIMIT: usize = 8 << 10;

/// Bytes of an answer that are shown to people.
const SHOWN: usize = 64;

/// Waits for the right answer.
#[derive(Debug)]
pub struct Expect<'a> {
    wanted: Wanted<'a>,
    got: Vec<u8>,
    limit: usize,
}

#[derive(Debug)]
enum Wanted<'a> {
    Bytes(&'a [u8]),
    Status(&'a [u16]),
}

/// What the bytes that came so far mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not the right answer, for that reason.
    Failed(String),
    /// It may still become the right one.
    More,
    /// It is.
    Passed,
}

impl<'a> Expect<'a> {
    /// For the answer to that.
    #[must_use]
    pub fn new(probe: &'a Probe) -> Self {
        let (wanted, limit) = match probe {
            Probe::Http(http) => (Wanted::Status(&http.statuses), HTTP_LIMIT),
            Probe::Tcp(tcp) => (Wanted::Bytes(&tcp.receive), TCP_LIMIT),
        };
        Self {
            wanted,
            got: Vec::new(),
            limit,
        }
    }

    /// What it means that nothing has come yet.
    #[must_use]
    pub fn begin(&self) -> Verdict {
        match self.wanted {
            Wanted::Bytes([]) => Verdict::Passed,
            Wanted::Bytes(_) | Wanted::Status(_) => Verdict::More,
        }
    }

    /// Takes what came next; what is beyond the limit is not looked at.
    pub fn add(&mut self, bytes: &[u8]) -> Verdict {
        let before = self.got.len();
        let room = self.limit.saturating_sub(before);
        self.got.extend(bytes.iter().take(room));
        match self.wanted {
            Wanted::Bytes(wanted) => self.bytes(wanted, before),
            Wanted::Status(statuses) => self.status(statuses),
        }
    }

    /// `before`: how much was searched already.
    fn bytes(&self, wanted: &[u8], before: usize) -> Verdict {
        // What was searched can be the beginning of it only in its last bytes.
        let from = before.saturating_sub(wanted.len().saturating_sub(1));
        let unsearched = self.got.get(from..).unwrap_or_default();
        if memmem::find(unsearched, wanted).is_some() {
            return Verdict::Passed;
        }
        self.until_full("the expected bytes are not among the first")
    }

    fn status(&self, statuses: &[u16]) -> Verdict {
        match http::read(&self.got) {
            Head::Malformed(error) => {
                let shown = shown(&self.got);
                Verdict::Failed(format!("no HTTP answer ({error}): {shown}"))
            }
            Head::More => self.until_full("the head of the answer is not within the first"),
            Head::Status(status) if http::is_expected(status, statuses) => Verdict::Passed,
            Head::Status(status) => {
                let expected = http::expected(statuses);
                Verdict::Failed(format!("HTTP status {status}, expected {expected}"))
            }
        }
    }

    fn until_full(&self, what: &str) -> Verdict {
        if self.got.len() < self.limit {
            return Verdict::More;
        }
        let (limit, shown) = (self.limit, shown(&self.got));
        Verdict::Failed(format!("{what} {limit}: {shown}"))
    }

    /// What came, for the text of a check that ended too early.
    #[must_use]
    pub fn got(&self) -> String {
        if self.got.is_empty() {
            return "it sent nothing".to_owned();
        }
        format!("it sent {}", shown(&self.got))
    }
}

/// The beginning of foreign bytes, so that a terminal or a log takes no harm.
fn shown(bytes: &[u8]) -> String {
    let beginning = bytes.get(..SHOWN).unwrap_or(bytes);
    let escaped = beginning.escape_ascii();
    match bytes.len() - beginning.len() {
        0 => format!("\"{escaped}\""),
        more => format!("\"{escaped}\" and {more} bytes more"),
    }
}

#[cfg(test)]
mod tests;
