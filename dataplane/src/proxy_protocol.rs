//! Pure. The PROXY protocol, versions 1 and 2: who a connection comes from, said before its first
//! byte by whoever passes it on. Every byte of a header is checked, and none behind it is asked for.

use std::fmt;
use std::net::SocketAddr;

use fastrand::Rng;

mod encode;
pub mod inbound;
mod v1;
mod v2;

pub use encode::encode;

/// What a header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The connection that is passed on; absent: the sender speaks for itself, or doesn't know.
    pub endpoints: Option<Endpoints>,
    /// The sender's name for the connection (version 2).
    pub unique_id: Option<UniqueId>,
}

/// Both ends of a connection, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Who connected.
    pub source: SocketAddr,
    /// Where.
    pub destination: SocketAddr,
}

/// One connection's name across the proxies that it passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueId(Box<[u8]>);

impl UniqueId {
    /// What the specification allows at most.
    pub const MAX_BYTES: usize = 128;

    /// Any bytes, but not too many.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= Self::MAX_BYTES).then(|| Self(bytes.into()))
    }

    /// One that nobody else has: 128 random bits, as text.
    #[must_use]
    pub fn random(rng: &mut Rng) -> Self {
        Self(format!("{:032x}", rng.u128(..)).into_bytes().into())
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// As it is where it is plain text, otherwise in hexadecimal.
impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = std::str::from_utf8(&self.0).ok();
        match text.filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic())) {
            Some(text) => f.write_str(text),
            None => self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Version 1.
    #[error("an address of the header is none of its family")]
    Address,
    /// Version 2.
    #[error("the header's checksum is wrong")]
    Checksum,
    /// Version 2, neither LOCAL nor PROXY.
    #[error("the header's command is unknown")]
    Command,
    /// Neither TCP over IPv4, TCP over IPv6 nor unknown.
    #[error("the header speaks of a protocol other than TCP")]
    Family,
    /// Version 2: no room for the addresses, or too long.
    #[error("the header's length is impossible")]
    Length,
    /// Version 1.
    #[error("a port of the header is none")]
    Port,
    /// Version 1: not six words with single spaces in between.
    #[error("the header's line has not the words of one")]
    Syntax,
    /// Version 2: a field that doesn't fit into the header or isn't as long as its kind is.
    #[error("a field behind the header's addresses has an impossible length")]
    Tlv,
    /// Version 1: no end of line within 107 bytes.
    #[error("the header's line is too long")]
    TooLong,
    /// Neither 1 nor 2.
    #[error("the header's version is unknown")]
    Version,
}

/// What is known after more bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The whole header is there.
    Done(Header),
    /// It is one, but a broken one.
    Malformed(Malformed),
    /// So many more bytes at most; all of them belong to the header if it is one.
    Need(usize),
    /// It is none; these bytes are the connection's own.
    NotAHeader(Vec<u8>),
}

/// How far a header of a known version is.
enum Step {
    Done(Header),
    Need(usize),
}

/// Reads a header as it comes.
#[derive(Debug, Default)]
pub struct Parser {
    /// Never more than a header's longest, because no more is asked for.
    bytes: Vec<u8>,
}

impl Parser {
    /// Takes bytes, at most as many as were asked for.
    pub fn feed(&mut self, bytes: &[u8]) -> Parsed {
        self.bytes.extend_from_slice(bytes);
        let step = if begins(&self.bytes, v1::SIGNATURE) {
            v1::parse(&self.bytes)
        } else if begins(&self.bytes, v2::SIGNATURE) {
            v2::parse(&self.bytes)
        } else {
            return Parsed::NotAHeader(std::mem::take(&mut self.bytes));
        };
        match step {
            Ok(Step::Done(header)) => Parsed::Done(header),
            Ok(Step::Need(bytes)) => Parsed::Need(bytes),
            Err(malformed) => Parsed::Malformed(malformed),
        }
    }

    /// The bytes so far, if they could as well be no header: not even its signature is complete.
    #[must_use]
    pub fn into_early_bytes(self) -> Option<Vec<u8>> {
        let is_header =
            self.bytes.starts_with(v1::SIGNATURE) || self.bytes.starts_with(v2::SIGNATURE);
        (!is_header).then_some(self.bytes)
    }
}

fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.starts_with(signature) || signature.starts_with(bytes)
}

#[cfg(test)]
mod tests;
