//! What answers to checks mean.

use tcpforward_protocol::snapshot::{HttpProbe, TcpProbe};

use super::*;

fn tcp(receive: &str) -> Probe {
    Probe::Tcp(TcpProbe {
        send: Vec::new(),
        receive: receive.as_bytes().to_vec(),
    })
}

fn http(statuses: &[u16]) -> Probe {
    Probe::Http(HttpProbe {
        port: None,
        path: "/".to_owned(),
        statuses: statuses.to_vec(),
    })
}

/// The verdict on an answer at once; it has to be the same byte by byte.
fn verdict(probe: &Probe, answer: &[u8]) -> Verdict {
    let at_once = Expect::new(probe).add(answer);
    let mut expect = Expect::new(probe);
    let mut slow = answer.iter().map(|byte| expect.add(&[*byte]));
    let slow = slow.find(|verdict| *verdict != Verdict::More);
    let slow = slow.unwrap_or(Verdict::More);
    let kind = std::mem::discriminant;
    assert_eq!(
        kind(&at_once),
        kind(&slow),
        "{answer:?}: {at_once:?}, {slow:?}"
    );
    at_once
}

fn failed(text: &str) -> Verdict {
    Verdict::Failed(text.to_owned())
}

#[test]
fn an_answer_has_to_contain_the_expected_bytes() {
    let pong = tcp("+PONG");
    assert_eq!(Expect::new(&pong).begin(), Verdict::More);
    for answer in ["+PONG", "+PONG\r\n", "noise +PO+PONG"] {
        let passed = verdict(&pong, answer.as_bytes());
        assert_eq!(passed, Verdict::Passed, "{answer}");
    }
    for answer in ["", "+PON", "-ERR\r\n", "+ PONG"] {
        let more = verdict(&pong, answer.as_bytes());
        assert_eq!(more, Verdict::More, "{answer}");
    }
    assert_eq!(Expect::new(&tcp("")).begin(), Verdict::Passed);
}

#[test]
fn only_so_many_bytes_are_looked_at() {
    let mut answer = vec![0; TCP_LIMIT];
    answer.extend(b"+PONG");
    let shown = "\\x00".repeat(64);
    let what = "the expected bytes are not among the first 4096";
    let text = format!("{what}: \"{shown}\" and 4032 bytes more");
    assert_eq!(Expect::new(&tcp("+PONG")).add(&answer), failed(&text));
    let answer = &answer[TCP_LIMIT - 10..];
    assert_eq!(verdict(&tcp("+PONG"), answer), Verdict::Passed);
    let long = "A".repeat(TCP_LIMIT);
    assert_eq!(verdict(&tcp(&long), long.as_bytes()), Verdict::Passed);
}

#[test]
fn a_status_is_expected_or_not() {
    let good = http(&[]);
    let not = |status: u16| failed(&format!("HTTP status {status}, expected 200 to 399"));
    let cases = [
        (101, not(101)),
        // An interim answer: another one follows.
        (199, Verdict::More),
        (200, Verdict::Passed),
        (204, Verdict::Passed),
        (399, Verdict::Passed),
        (400, not(400)),
    ];
    for (status, expected) in cases {
        let answer = format!("HTTP/1.1 {status} Fine\r\nA: b\r\n\r\n");
        assert_eq!(verdict(&good, answer.as_bytes()), expected);
    }
    let some = http(&[200, 429]);
    let busy = failed("HTTP status 503, expected 200 or 429");
    assert_eq!(verdict(&some, b"HTTP/1.0 503 Busy\r\n\r\n"), busy);
    assert_eq!(verdict(&some, b"HTTP/1.1 429 \r\n\r\n"), Verdict::Passed);
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\n";
    let whole = format!("{interim}HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(verdict(&some, whole.as_bytes()), Verdict::Passed);
}

#[test]
fn a_head_is_whole_and_strict_and_bounded() {
    let good = http(&[]);
    for part in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n",
    ] {
        assert_eq!(verdict(&good, part.as_bytes()), Verdict::More, "{part}");
    }
    for bad in [
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 20\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
    ] {
        let verdict = verdict(&good, bad.as_bytes());
        assert!(matches!(verdict, Verdict::Failed(_)), "{bad}");
    }
    let mut long = b"HTTP/1.1 200 OK\r\nA: ".to_vec();
    long.resize(HTTP_LIMIT, b'a');
    let Verdict::Failed(text) = Expect::new(&good).add(&long) else {
        panic!("no bound");
    };
    let start = "the head of the answer is not within the first 8192: \"HTTP/1.1 200 OK";
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn what_came_is_shown_without_harm() {
    let probe = tcp("+PONG");
    let mut expect = Expect::new(&probe);
    assert_eq!(expect.got(), "it sent nothing");
    let _ = expect.add(b"\x1b[2J-ERR\r\n\xff");
    assert_eq!(expect.got(), "it sent \"\\x1b[2J-ERR\\r\\n\\xff\"");
}

#[test]
fn a_path_stays_one_word_of_the_request() {
    let request = |path: &str| {
        let probe = HttpProbe {
            port: None,
            path: path.to_owned(),
            statuses: Vec::new(),
        };
        http::request(&probe, "[::1]:80".parse().unwrap())
    };
    let rest = "Host: [::1]:80\r\nUser-Agent: tcpforward\r\nConnection: close\r\n\r\n";
    for (path, line) in [
        ("/healthz?a=b", "GET /healthz?a=b"),
        ("", "GET /"),
        ("a b", "GET /a%20b"),
        ("/\r\nX: y", "GET /%0D%0AX:%20y"),
        ("/\u{fc}", "GET /%C3%BC"),
    ] {
        assert_eq!(request(path), format!("{line} HTTP/1.1\r\n{rest}"));
    }
}
