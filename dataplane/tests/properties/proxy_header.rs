//! What holds for whatever comes where a PROXY header may stand, however it comes.

use tcpforward_dataplane::proxy_protocol::{Header, Parsed, Parser, encode};
use tcpforward_protocol::snapshot::ProxyVersion;

/// What a header may take at most, and so what is held of one.
const LONGEST: usize = 2048;

/// Any bytes: how large pieces are, and what comes.
pub(crate) fn holds(data: &[u8]) {
    let Some((piece, stream)) = data.split_first() else {
        return;
    };
    let (slow, read_slow) = read(stream, (*piece).into());
    let (at_once, read) = read(stream, LONGEST);
    match at_once {
        Parsed::Done(header) => {
            assert_eq!((slow, read_slow), (Parsed::Done(header.clone()), read));
            survives(&header);
        }
        Parsed::Malformed(malformed) => assert_eq!(slow, Parsed::Malformed(malformed)),
        Parsed::Need(_) => assert!(matches!(slow, Parsed::Need(_)) && read == stream.len()),
        Parsed::NotAHeader(early) => {
            assert_eq!(Some(early.as_slice()), stream.get(..read));
            assert!(matches!(slow, Parsed::NotAHeader(_)));
        }
    }
}

/// What is known at last, and how many bytes of the stream were asked for by then.
fn read(stream: &[u8], piece: usize) -> (Parsed, usize) {
    let mut parser = Parser::default();
    let mut parsed = parser.feed(&[]);
    let mut rest = stream;
    while let Parsed::Need(bytes) = parsed {
        assert!(bytes > 0 && stream.len() - rest.len() + bytes <= LONGEST);
        if rest.is_empty() {
            break;
        }
        let (next, left) = rest.split_at(bytes.min(piece.max(1)).min(rest.len()));
        rest = left;
        parsed = parser.feed(next);
    }
    (parsed, stream.len() - rest.len())
}

/// What was understood means the same when it is passed on, and no byte behind it is touched.
fn survives(header: &Header) {
    let id = header
        .unique_id
        .as_ref()
        .filter(|_| header.endpoints.is_some());
    for (version, id) in [(ProxyVersion::V1, None), (ProxyVersion::V2, id)] {
        let bytes = encode(version, header.endpoints.as_ref(), id);
        let (parsed, read) = read(&[&bytes[..], b"payload"].concat(), LONGEST);
        let expected = Header {
            endpoints: header.endpoints,
            unique_id: id.cloned(),
        };
        assert_eq!((parsed, read), (Parsed::Done(expected), bytes.len()));
    }
}
