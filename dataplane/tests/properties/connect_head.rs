//! What holds for whatever comes where a CONNECT request is expected, however it comes.

use tcpforward_dataplane::connect::head::{Read, Request, read};
use tcpforward_dataplane::connect::refusal::Refusal;
use tcpforward_dataplane::connect::target::Target;

/// How often a stream is looked at while it comes.
const LOOKS: usize = 64;

/// Any bytes: how long a head may be, and what comes.
pub(crate) fn holds(data: &[u8]) {
    let Some((&[size, scale], stream)) = data.split_first_chunk() else {
        return;
    };
    let max = usize::from(size) << (scale % 8);
    let at_once = read(stream, max);
    let step = stream.len() / LOOKS + 1;
    let mut decided = None;
    for end in (0..=stream.len()).step_by(step) {
        let read = read(stream.get(..end).unwrap_or_default(), max);
        match &decided {
            None if read == Read::More => assert!(end < max),
            None => decided = Some(read),
            Some(decided) => assert_eq!(decided, &read, "more bytes changed a verdict"),
        }
    }
    if let Some(decided) = decided {
        assert_eq!(decided, at_once);
    }
    match at_once {
        Read::More => assert!(stream.len() < max),
        Read::Refused(error) => assert!(Refusal::from(error).status() < 500),
        Read::Request(request) => served(&request, stream, max),
    }
}

/// The head ends where it says, and its target is read again as the same.
fn served(request: &Request, stream: &[u8], max: usize) {
    assert!(request.length <= max);
    let head = stream.get(..request.length);
    assert!(head.is_some_and(|head| head.starts_with(b"CONNECT ") && head.ends_with(b"\r\n\r\n")));
    assert_ne!(request.target.port, 0);
    let again = Target::parse(request.target.to_string().as_bytes());
    assert_eq!(again.as_ref(), Ok(&request.target));
}
