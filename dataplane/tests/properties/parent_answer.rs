//! What holds for whatever a parent proxy answers, however it comes.

use tcpforward_dataplane::connect::refusal::Refusal;
use tcpforward_dataplane::parent::answer::{MOST, Read, read};
use tcpforward_dataplane::parent::trouble::Trouble;

/// How often a stream is looked at while it comes.
const LOOKS: usize = 64;

/// Any bytes.
pub(crate) fn holds(stream: &[u8]) {
    let at_once = read(stream);
    let step = stream.len() / LOOKS + 1;
    let looks = (0..=stream.len()).step_by(step);
    let verdicts = looks.map(|end| read(stream.get(..end).unwrap_or_default()));
    let mut decided = None;
    for verdict in verdicts {
        match decided {
            None if verdict == Read::More => {}
            None => decided = Some(verdict),
            Some(decided) => assert_eq!(decided, verdict, "more bytes changed a verdict"),
        }
    }
    assert!(decided.is_none_or(|decided| decided == at_once));
    match at_once {
        Read::More => assert!(stream.len() < MOST),
        Read::NotAnAnswer(_) => {}
        Read::Refused(status) => {
            let told = Refusal::from(&Trouble::Refused(status)).status();
            assert!([403, 502, 503, 504].contains(&told), "{status}: {told}");
        }
        Read::Established { length } => {
            assert!(length <= MOST.min(stream.len()));
            let head = stream.get(..length).unwrap_or_default();
            assert!(head.ends_with(b"\n"), "an answer ends with an empty line");
            assert_eq!(read(head), at_once, "what is behind it says nothing");
        }
    }
}
