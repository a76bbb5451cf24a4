//! Pure. Version 1: a line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Endpoints, Header, Malformed, Step};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// `PROXY UNKNOWN` with its end of line.
const SHORTEST: usize = 15;

/// The longest line that the specification knows, its end included.
const LONGEST: usize = 107;

/// Between the six words of a line.
const SPACES: usize = 5;

pub(super) fn parse(bytes: &[u8]) -> Result<Step, Malformed> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n");
    match end.and_then(|end| bytes.split_at_checked(end)) {
        Some((line, rest)) => {
            let header = parse_line(line)?;
            // More than the line has come only if it is shorter than any good one.
            let is_all = rest == b"\r\n";
            is_all
                .then_some(Step::Done(header))
                .ok_or(Malformed::Syntax)
        }
        None if bytes.len() >= LONGEST => Err(Malformed::TooLong),
        None => Ok(Step::Need(missing(bytes))),
    }
}

/// What is missing at least, so that reading it never goes beyond the line: a word and the space
/// before it take two bytes, and so does the end.
fn missing(bytes: &[u8]) -> usize {
    if bytes.len() < SHORTEST {
        return SHORTEST - bytes.len();
    }
    if bytes.ends_with(b"\r") {
        return 1;
    }
    let words = if bytes.starts_with(b"PROXY TCP") {
        SPACES.saturating_sub(bytes.iter().filter(|byte| **byte == b' ').count())
    } else {
        0
    };
    (2 * words + 2).min(LONGEST - bytes.len())
}

fn parse_line(line: &[u8]) -> Result<Header, Malformed> {
    let text = std::str::from_utf8(line).map_err(|_| Malformed::Syntax)?;
    let words: Vec<&str> = text.split(' ').collect();
    let endpoints = match words.as_slice() {
        // What follows is the sender's affair.
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", "TCP4", rest @ ..] => Some(endpoints::<Ipv4Addr>(rest)?),
        ["PROXY", "TCP6", rest @ ..] => Some(endpoints::<Ipv6Addr>(rest)?),
        _ => return Err(Malformed::Family),
    };
    Ok(Header {
        endpoints,
        unique_id: None,
    })
}

fn endpoints<A: FromStr + Into<IpAddr>>(words: &[&str]) -> Result<Endpoints, Malformed> {
    let [source, destination, source_port, destination_port] = words else {
        return Err(Malformed::Syntax);
    };
    Ok(Endpoints {
        source: SocketAddr::new(address::<A>(source)?, port(source_port)?),
        destination: SocketAddr::new(address::<A>(destination)?, port(destination_port)?),
    })
}

fn address<A: FromStr + Into<IpAddr>>(word: &str) -> Result<IpAddr, Malformed> {
    let address: A = word.parse().map_err(|_| Malformed::Address)?;
    Ok(address.into().to_canonical())
}

/// Digits alone: no sign, and no zero before others.
fn port(word: &str) -> Result<u16, Malformed> {
    let is_plain =
        word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    let port = word.parse().ok().filter(|_| is_plain);
    port.ok_or(Malformed::Port)
}
