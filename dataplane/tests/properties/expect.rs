//! What holds for every answer to a check, however it comes.

use tcpforward_dataplane::probe::expect::{Expect, TCP_LIMIT, Verdict};
use tcpforward_protocol::snapshot::{HttpProbe, Probe, TcpProbe};

/// Any bytes: how large pieces are, how much is expected, what, and what comes.
pub(crate) fn holds(data: &[u8]) {
    let Some((&[piece, expected], rest)) = data.split_first_chunk() else {
        return;
    };
    let (receive, answer) = rest.split_at(rest.len().min(expected.into()));
    bytes(receive, answer, piece.into());
    status(rest, piece.into());
}

/// The expected bytes are found if, and only if, they are among those that are looked at.
pub(crate) fn bytes(receive: &[u8], answer: &[u8], piece: usize) {
    let probe = Probe::Tcp(TcpProbe {
        send: Vec::new(),
        receive: receive.to_vec(),
    });
    let seen = answer.get(..TCP_LIMIT).unwrap_or(answer);
    let is_there = receive.is_empty() || seen.windows(receive.len()).any(|part| part == receive);
    match verdict(&probe, answer, piece) {
        Verdict::Passed => assert!(is_there),
        Verdict::More => assert!(!is_there && answer.len() < TCP_LIMIT),
        Verdict::Failed(text) => {
            assert!(!is_there && answer.len() >= TCP_LIMIT);
            assert!(is_plain(&text), "{text:?}");
        }
    }
}

/// An HTTP answer means the same in whatever pieces it comes.
pub(crate) fn status(answer: &[u8], piece: usize) {
    let probe = Probe::Http(HttpProbe {
        port: None,
        path: "/".to_owned(),
        statuses: Vec::new(),
    });
    let slow = verdict(&probe, answer, piece);
    let at_once = verdict(&probe, answer, answer.len());
    let kind = std::mem::discriminant;
    assert_eq!(kind(&slow), kind(&at_once), "{slow:?} {at_once:?}");
    if let Verdict::Failed(text) = at_once {
        assert!(is_plain(&text), "{text:?}");
    }
}

fn verdict(probe: &Probe, answer: &[u8], piece: usize) -> Verdict {
    let mut expect = Expect::new(probe);
    let mut verdict = expect.begin();
    for piece in answer.chunks(piece.max(1)) {
        if verdict != Verdict::More {
            return verdict;
        }
        verdict = expect.add(piece);
    }
    verdict
}

/// Short, and without what moves a terminal.
fn is_plain(text: &str) -> bool {
    text.len() < 1000 && text.chars().all(|c| c == ' ' || c.is_ascii_graphic())
}
