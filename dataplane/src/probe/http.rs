//! Pure. A check by HTTP/1.1: what is asked, and the head of the answer.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use tcpforward_protocol::snapshot::HttpProbe;

/// Lines of a head at most.
const MAX_HEADERS: usize = 100;

/// Expected where a check doesn't say.
const GOOD: RangeInclusive<u16> = 200..=399;

/// What the beginning of an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// No HTTP/1.
    Malformed(httparse::Error),
    /// Not all of a head.
    More,
    /// The head of a final answer.
    Status(u16),
}

/// The whole request to that address. The path comes from a user: what has no place in a request
/// line is escaped, so that it can't become a line of its own.
pub(super) fn request(probe: &HttpProbe, address: SocketAddr) -> String {
    let mut text = String::from("GET ");
    if !probe.path.starts_with('/') {
        text.push('/');
    }
    for byte in probe.path.bytes() {
        match byte {
            b'!'..=b'~' => text.push(byte.into()),
            _ => text += &format!("%{byte:02X}"),
        }
    }
    text + &format!(
        " HTTP/1.1\r\nHost: {address}\r\nUser-Agent: tcpforward\r\nConnection: close\r\n\r\n"
    )
}

/// Reads the head of an answer; interim answers (100 to 199 but 101) come before it.
pub(super) fn read(mut bytes: &[u8]) -> Head {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Head::More,
            Err(error) => return Head::Malformed(error),
        };
        match response.code {
            Some(100 | 102..=199) => bytes = bytes.get(length..).unwrap_or_default(),
            Some(status) => return Head::Status(status),
            None => return Head::Malformed(httparse::Error::Status),
        }
    }
}

pub(super) fn is_expected(status: u16, statuses: &[u16]) -> bool {
    if statuses.is_empty() {
        return GOOD.contains(&status);
    }
    statuses.contains(&status)
}

/// For people.
pub(super) fn expected(statuses: &[u16]) -> String {
    if statuses.is_empty() {
        return format!("{} to {}", GOOD.start(), GOOD.end());
    }
    let texts: Vec<_> = statuses.iter().map(ToString::to_string).collect();
    texts.join(" or ")
}
