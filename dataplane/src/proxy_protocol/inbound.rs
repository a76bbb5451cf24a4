//! Edge. Who a connection comes from: its peer, or what a trusted peer's PROXY header says.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use tcpforward_protocol::snapshot::{ProxyMode, ProxyProtocolIn};
use tokio::time::{Instant, timeout_at};

use super::{Endpoints, Header, Malformed, Parsed, Parser, UniqueId};
use crate::relay::ending::Ending;
use crate::socket::Stream;

/// How long a trusted source may take for its header.
const DEADLINE: Duration = Duration::from_secs(5);

/// Who a connection comes from.
#[derive(Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client and where it connected.
    pub endpoints: Endpoints,
    /// The client's connection has been named by a header.
    pub unique_id: Option<UniqueId>,
    /// A header said so.
    pub is_proxied: bool,
    /// What was read and is none of a header: the backend's.
    pub early: Vec<u8>,
}

/// A connection that isn't served.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Its socket broke.
    #[error("the connection broke before its header was complete: {0}")]
    Broken(#[from] io::Error),
    /// It ended before a header was complete.
    #[error("the connection ended before its header was complete")]
    Ended,
    /// A header that isn't one.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// Something else came.
    #[error("the connection began without a header")]
    Missing,
    /// Nothing came in time.
    #[error("no complete header came within {}s", DEADLINE.as_secs())]
    TooLate,
    /// Only some may send one, and nobody is served without.
    #[error("the connection comes from none of the trusted sources")]
    Untrusted,
}

impl Refused {
    /// The word for it.
    #[must_use]
    pub fn ending(&self) -> Ending {
        match self {
            Self::Broken(_) => Ending::DownstreamRst,
            Self::Ended | Self::Malformed(_) | Self::Missing => Ending::ProxyHeaderInvalid,
            Self::TooLate => Ending::ProxyHeaderTimeout,
            Self::Untrusted => Ending::ProxyHeaderUntrusted,
        }
    }
}

/// Finds out who a connection with these ends comes from. Of an untrusted source nothing is read.
///
/// # Errors
/// It isn't to be served.
pub async fn origin(
    stream: &Stream,
    socket: Endpoints,
    accepted: &ProxyProtocolIn,
) -> Result<Origin, Refused> {
    let itself = |early| Origin {
        endpoints: socket,
        unique_id: None,
        is_proxied: false,
        early,
    };
    match (accepted.mode, accepted.trusts(socket.source.ip())) {
        (ProxyMode::Required, false) => return Err(Refused::Untrusted),
        (ProxyMode::Optional, false) => return Ok(itself(Vec::new())),
        (ProxyMode::Optional | ProxyMode::Required, true) => {}
    }
    match (read(stream).await?, accepted.mode) {
        (Said::Header(header), _) => Ok(Origin {
            endpoints: header.endpoints.unwrap_or(socket),
            unique_id: header.unique_id,
            is_proxied: header.endpoints.is_some(),
            early: Vec::new(),
        }),
        (Said::Nothing(early, _), ProxyMode::Optional) => Ok(itself(early)),
        (Said::Nothing(_, refused), ProxyMode::Required) => Err(refused),
    }
}

enum Said {
    Header(Header),
    /// No header, but these bytes, if any; who needs one refuses with this.
    Nothing(Vec<u8>, Refused),
}

async fn read(stream: &Stream) -> Result<Said, Refused> {
    let deadline = Instant::now() + DEADLINE;
    let mut parser = Parser::default();
    let mut parsed = parser.feed(&[]);
    loop {
        let wanted = match parsed {
            Parsed::Done(header) => return Ok(Said::Header(header)),
            Parsed::Malformed(malformed) => return Err(malformed.into()),
            Parsed::NotAHeader(early) => return Ok(Said::Nothing(early, Refused::Missing)),
            Parsed::Need(bytes) => bytes,
        };
        let mut buffer = vec![0; wanted];
        let reading = poll_fn(|cx| stream.poll_read(cx, &mut buffer));
        parsed = match timeout_at(deadline, reading).await {
            Ok(Ok(0)) => return none(parser, Refused::Ended),
            Ok(Ok(n)) => parser.feed(buffer.get(..n).unwrap_or_default()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => parser.feed(&[]),
            Ok(Err(error)) => return Err(error.into()),
            Err(_late) => return none(parser, Refused::TooLate),
        };
    }
}

/// Nothing more comes: what came is no header, unless it began like one.
fn none(parser: Parser, refused: Refused) -> Result<Said, Refused> {
    match parser.into_early_bytes() {
        Some(early) => Ok(Said::Nothing(early, refused)),
        None => Err(refused),
    }
}

#[cfg(test)]
mod tests;
