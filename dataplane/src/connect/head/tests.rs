use super::*;

const MAX: usize = 512;

/// In pieces of one byte and at once, with early bytes behind it or not: it is decided at the same
/// byte, and never otherwise afterwards.
fn judge(head: &[u8]) -> Read {
    let at_once = read(head, MAX);
    let mut decided = None;
    for end in 0..=head.len() {
        let read = read(&head[..end], MAX);
        match &decided {
            None if read == Read::More => {}
            None => decided = Some(read),
            Some(decided) => assert_eq!(&read, decided, "{end} bytes"),
        }
    }
    assert_eq!(decided.as_ref().unwrap_or(&Read::More), &at_once);
    if at_once != Read::More {
        let longer = [head, b"\x16\x03\x01 \r\n\0\r\n\r\n"].concat();
        assert_eq!(read(&longer, MAX), at_once);
    }
    at_once
}

/// The request line of a good head.
const LINE: &str = "CONNECT h:443 HTTP/1.1\r\n";

fn refused(head: &[u8], expected: HeadError) {
    let text = String::from_utf8_lossy(head);
    assert_eq!(judge(head), Read::Refused(expected), "{text:?}");
}

#[test]
fn pitfalls_15_and_25_heads_that_are_served() {
    let cases = [
        ("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", "h:443"),
        ("CONNECT h:443 HTTP/1.0\r\n\r\n", "h:443"),
        ("CONNECT h:443 HTTP/1.0\r\nHost: h\r\n\r\n", "h:443"),
        // Pitfall 15.
        (
            "CONNECT a.example:1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            "a.example:1",
        ),
        ("CONNECT h:443 HTTP/1.1\r\nHost:\r\n\r\n", "h:443"),
        (
            "CONNECT [::1]:443 HTTP/1.1\r\nhOsT: [::1]:443\r\n\r\n",
            "[::1]:443",
        ),
        (
            "CONNECT EXAMPLE.com.:443 HTTP/1.1\r\nHost: x\r\n\r\n",
            "example.com:443",
        ),
        // Pitfall 25.
        (
            "CONNECT h:443 HTTP/1.1\r\nHost: h\r\nConnection: connection, proxy-connection\r\n\r\n",
            "h:443",
        ),
        (
            "CONNECT h:443 HTTP/1.1\r\nHost: h\r\nProxy-Connection: keep-alive\r\n\r\n",
            "h:443",
        ),
        (
            "CONNECT h:443 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
            "h:443",
        ),
        (
            "CONNECT h:443 HTTP/1.1\r\nHost: h\r\nContent-Length:0 \t\r\n\r\n",
            "h:443",
        ),
        (
            "CONNECT h:443 HTTP/1.1\r\nHost: h\r\nUser-Agent: caf\u{e9}\t(x)\r\n\r\n",
            "h:443",
        ),
        (
            "CONNECT h:443 HTTP/1.1\r\nHost: h\r\nEmpty:\r\n\r\n",
            "h:443",
        ),
        (
            "CONNECT h:443 HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nUpgrade: x\r\n\r\n",
            "h:443",
        ),
    ];
    for (head, expected) in cases {
        let Read::Request(request) = judge(head.as_bytes()) else {
            panic!("{head:?} is refused: {:?}", judge(head.as_bytes()));
        };
        assert_eq!(request.target.to_string(), expected);
        assert_eq!(request.length, head.len());
    }
}

#[test]
fn a_request_says_who_asks_and_where_early_bytes_begin() {
    let head = "CONNECT h:443 HTTP/1.1\r\nHost: 127.0.0.1\r\nVIA: 1.1 a, 1.1 b\r\n\
                proxy-authorization: basic Y2k6c2VjcmV0\r\nvia: 1.0 c\r\n\r\n";
    let stream = [head.as_bytes(), b"\x16\x03\x01early\r\n\r\n"].concat();
    let Read::Request(request) = judge(&stream) else {
        panic!("refused");
    };
    assert_eq!(&stream[request.length..], b"\x16\x03\x01early\r\n\r\n");
    assert_eq!(request.host.as_deref(), Some("127.0.0.1"));
    assert_eq!(request.hops.and("me"), "1.1 a, 1.1 b, 1.0 c, 1.1 me");
    let Read::Request(old) = judge(b"CONNECT h:443 HTTP/1.0\r\n\r\n") else {
        panic!("refused");
    };
    assert_eq!(old.hops.and("me"), "1.0 me");
    let credentials = Credentials::Basic {
        user: "ci".to_owned(),
        password: b"secret".to_vec(),
    };
    assert_eq!(request.credentials.as_ref(), Some(&credentials));
    assert!(!format!("{request:?}").contains("secret"));
    assert!(!format!("{request:?}").contains("115, 101"));
}

/// Pitfalls 17 and 26 among them.
const FIRST_LINES: [(&[u8], HeadError); 46] = {
    use HeadError::{
        BareCr, BareLf, Control, Http2, Method, NotHttp, RequestLine, Target, Version,
    };
    [
        (b"GET / HTTP/1.1\r\n", Method),
        (b"GET http://h/ HTTP/1.1\r\n", Method),
        (b"POST http://user:pw@h/ HTTP/1.0\r\n", Method),
        (b"OPTIONS * HTTP/1.1\r\n", Method),
        (b"connect h:443 HTTP/1.1\r\n", Method),
        (b"CONNECTX h:443 HTTP/1.1\r\n", Method),
        (b"PRI / HTTP/1.1\r\n", Method),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Http2),
        (b"GET / HTTP/2.0\r\n", Version),
        (b"CONNECT h:443 HTTP/2\r\n", Version),
        (b"CONNECT h:443 HTTP/1.2\r\n", Version),
        (b"CONNECT h:443 HTTP/0.9\r\n", Version),
        (b"CONNECT h:443 HTTP/1.10\r\n", Version),
        (b"CONNECT h:443 http/1.1\r\n", RequestLine),
        (b"CONNECT h:443 HTTPS/1.1\r\n", RequestLine),
        (b"CONNECT h:443\r\n", RequestLine),
        (b"CONNECT \r\n", RequestLine),
        (b"GET /\r\n", RequestLine),
        (b"CONNECT  h:443 HTTP/1.1\r\n", RequestLine),
        (b"CONNECT h:443  HTTP/1.1\r\n", RequestLine),
        (b"CONNECT h:443 HTTP/1.1 \r\n", RequestLine),
        (b"CONNECT h:443 x HTTP/1.1\r\n", RequestLine),
        (b"CONNECT h:443\tHTTP/1.1\r\n", RequestLine),
        (b"EHLO mail.example\r\n", RequestLine),
        (b"CONNECT h HTTP/1.1\r\n", Target(NotATarget::NoPort)),
        (b"CONNECT h: HTTP/1.1\r\n", Target(NotATarget::NoPort)),
        (b"CONNECT  HTTP/1.1\r\n", Target(NotATarget::NoPort)),
        (b"CONNECT /x:80 HTTP/1.1\r\n", Target(NotATarget::Form)),
        (
            b"CONNECT http://h:80 HTTP/1.1\r\n",
            Target(NotATarget::Form),
        ),
        (b"CONNECT a@h:80 HTTP/1.1\r\n", Target(NotATarget::User)),
        (
            b"CONNECT a\tb:80 HTTP/1.1\r\n",
            Target(NotATarget::Characters),
        ),
        (
            b"CONNECT \xff:80 HTTP/1.1\r\n",
            Target(NotATarget::Characters),
        ),
        (b"CONNECT h:443 HTTP/1.1\nHost: h\n\n", BareLf),
        (b"CONNECT h:443 HTTP/1.1\rHost: h\r\n\r\n", BareCr),
        (b"CONNECT h:443 HTTP/1.1\r\r\n", BareCr),
        (b"CONNECT h\0:443", Control),
        (b"CONNECT h\x7f:443", Control),
        (b"CONNECT h\x1b[2J:443", Control),
        (b" h:443 HTTP/1.1\r\n", NotHttp),
        (b"\r\nCONNECT h:443 HTTP/1.1\r\n", NotHttp),
        (b"\n", NotHttp),
        (b"\0", NotHttp),
        (b"\x16\x03\x01\x02\0\x01", NotHttp),
        (b"SSH-2.0-OpenSSH_9.6\r\n", NotHttp),
        (b"CONNECT\th:443 HTTP/1.1\r\n", NotHttp),
        (b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NotHttp),
    ]
};

#[test]
fn pitfalls_17_and_26_first_lines_that_are_refused() {
    for (head, expected) in FIRST_LINES {
        refused(head, expected);
    }
}

/// Pitfalls 16 and 17.
const FIELDS: [(&str, HeadError); 42] = {
    use HeadError::{
        BareCr, BareLf, ContentLength, Control, DuplicateCredentials, DuplicateHost, Field, Fold,
        Host, MissingHost, TransferEncoding,
    };
    [
        ("\r\n", MissingHost),
        ("Hos: h\r\n\r\n", MissingHost),
        ("Host: h\r\nHost: h\r\n\r\n", DuplicateHost),
        ("Host: h\r\nhost:\r\n\r\n", DuplicateHost),
        ("Host: h, h\r\n\r\n", Host),
        ("Host: a b\r\n\r\n", Host),
        ("Host: user@h\r\n\r\n", Host),
        ("Host: h\u{e9}\r\n\r\n", Host),
        ("Host: h\r\nContent-Length: 1\r\n\r\n", ContentLength),
        ("Host: h\r\nContent-Length: 00\r\n\r\n", ContentLength),
        ("Host: h\r\nContent-Length: -0\r\n\r\n", ContentLength),
        ("Host: h\r\nContent-Length: +0\r\n\r\n", ContentLength),
        ("Host: h\r\nContent-Length: 0, 0\r\n\r\n", ContentLength),
        ("Host: h\r\nContent-Length:\r\n\r\n", ContentLength),
        (
            "Host: h\r\nContent-Length: 0\r\ncontent-length: 0\r\n\r\n",
            ContentLength,
        ),
        (
            "Host: h\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
            ContentLength,
        ),
        (
            "Host: h\r\nTransfer-Encoding: chunked\r\n\r\n",
            TransferEncoding,
        ),
        (
            "Host: h\r\ntransfer-encoding: Chunked\r\n\r\n",
            TransferEncoding,
        ),
        (
            "Host: h\r\nTransfer-Encoding: identity\r\n\r\n",
            TransferEncoding,
        ),
        ("Host: h\r\nTransfer-Encoding:\r\n\r\n", TransferEncoding),
        ("Host: h\r\nContent-Length : 5\r\n\r\n", Field),
        ("Host: h\r\nTransfer-Encoding\t: chunked\r\n\r\n", Field),
        ("Host : h\r\n\r\n", Field),
        ("Host: h\r\nA B: c\r\n\r\n", Field),
        ("Host: h\r\n: c\r\n\r\n", Field),
        ("Host: h\r\nA\r\n\r\n", Field),
        ("Host: h\r\n(A): c\r\n\r\n", Field),
        ("Host: h\r\nA\u{e9}: c\r\n\r\n", Field),
        ("Host: h\r\nHTTP/1.1 200 OK\r\n\r\n", Field),
        ("Host: h\r\n A: c\r\n\r\n", Fold),
        ("Host: h\r\n\tA: c\r\n\r\n", Fold),
        (" Host: h\r\n\r\n", Fold),
        ("Host: h\r\n \r\n\r\n", Fold),
        ("Host: h\nA: b\r\n\r\n", BareLf),
        ("Host: h\r\n\n", BareLf),
        ("Host: h\r\nA: b\n\r\n", BareLf),
        ("Host: h\r\nA: b\rC: d\r\n\r\n", BareCr),
        ("Host: h\r\n\r\r\n", BareCr),
        ("Host: h\r\nA: b\0\r\n\r\n", Control),
        ("Host: h\r\nA\x01: b\r\n\r\n", Control),
        ("Host: h\r\nA: \x7f\r\n\r\n", Control),
        (
            "Host: h\r\nProxy-Authorization: Basic Y2k6YQ==\r\nProxy-Authorization: Basic Y2k6Yg==\r\n\r\n",
            DuplicateCredentials,
        ),
    ]
};

#[test]
fn pitfalls_16_and_17_fields_that_are_refused() {
    for (fields, expected) in FIELDS {
        refused(format!("{LINE}{fields}").as_bytes(), expected);
    }
}

#[test]
fn an_end_that_does_not_come_is_waited_for_only_so_long() {
    for head in [
        "",
        "C",
        "CONNECT ",
        "CONNECT h:443 HTTP/1.1\r",
        LINE,
        "GET /",
    ] {
        assert_eq!(judge(head.as_bytes()), Read::More, "{head:?}");
    }
    let long = "a".repeat(MAX);
    refused(format!("CONNECT {long}").as_bytes(), HeadError::LineTooLong);
    refused(format!("GET /{long}").as_bytes(), HeadError::LineTooLong);
    refused(
        format!("{LINE}Host: {long}").as_bytes(),
        HeadError::FieldsTooLong,
    );
    let many = "A:\r\n".repeat(MAX_FIELDS);
    refused(
        format!("{LINE}{many}B:\r\n").as_bytes(),
        HeadError::TooManyFields,
    );
    refused(
        format!("{LINE}{many}\r\n").as_bytes(),
        HeadError::MissingHost,
    );
    // The last byte that may come ends it.
    let rest = MAX - LINE.len() - "Host: \r\n\r\n".len();
    let fits = format!("{LINE}Host: {}\r\n\r\n", "a".repeat(rest));
    assert!(matches!(judge(fits.as_bytes()), Read::Request(_)));
    let longer = format!("{LINE}Host: {}\r\n\r\n", "a".repeat(rest + 1));
    refused(longer.as_bytes(), HeadError::FieldsTooLong);
    assert_eq!(read(b"", 0), Read::Refused(HeadError::LineTooLong));
}
