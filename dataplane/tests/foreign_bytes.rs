//! Bytes from strangers: what the fuzz targets look for, with random bytes that are close to right.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

mod properties {
    pub(crate) mod connect_head;
    pub(crate) mod expect;
    pub(crate) mod parent_answer;
    pub(crate) mod proxy_header;
}

/// Pieces of CONNECT requests, good and bad.
const CONNECTS: [&[u8]; 20] = [
    b"CONNECT ",
    b"CONNECT h.example:443 HTTP/1.1\r\n",
    b"CONNECT [::1]:443 HTTP/1.0\r\n",
    b"GET http://h/ HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n",
    b"H.example.:443",
    b" HTTP/1.1\r\n",
    b"Host: h\r\n",
    b"Host: 127.0.0.1\r\n\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Proxy-Authorization: Basic Y2k6c2VjcmV0\r\n",
    b"A : b\r\n",
    b" folded\r\n",
    b"\r\n\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\x16\x03\x01",
];

/// Pieces of heads of answers, good and bad.
const HEADS: [&str; 14] = [
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.0 503 ",
    "HTTP/2 200\r\n",
    "HTTP/1.1 ",
    "404",
    "A: b\r\n",
    "Content-Length: 5\r\n",
    "\r\n\r\n",
    "\r\n",
    "\n",
    "\r",
    ":",
    "\u{7f}",
];

/// Pieces of PROXY headers, good and bad.
const HEADERS: [&[u8]; 18] = [
    b"PROXY ",
    b"TCP4 ",
    b"TCP6 ",
    b"UNKNOWN",
    b"10.0.0.1 ",
    b"::ffff:10.0.0.1 ",
    b"65535",
    b"080",
    b" ",
    b"\r\n",
    b"\r",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\x21\x11\0\x0c",
    b"\x21\x21\0\x24",
    b"\x20\0\0\0",
    b"\x05\0\x02id",
    b"\x03\0\x04",
    b"\0\0\0\0\0\0\0\0\0\0\0\0",
];

proptest! {
    #[test]
    fn heads_of_connects(
        parts in vec(select(CONNECTS.to_vec()), 0..8),
        size in any::<[u8; 2]>(),
        is_good in any::<bool>(),
    ) {
        let first: &[u8] = if is_good { CONNECTS[1] } else { b"" };
        properties::connect_head::holds(&[&size[..], first, &parts.concat()].concat());
    }

    #[test]
    fn proxy_headers(parts in vec(select(HEADERS.to_vec()), 0..10), piece in any::<u8>()) {
        properties::proxy_header::holds(&[&[piece][..], &parts.concat()].concat());
    }

    #[test]
    fn answers_to_checks(
        receive in "[ab]{0,4}",
        answer in "[ab]{0,40}",
        filler in select(vec![0_usize, 4080, 4096, 5000]),
        piece in 1_usize..50,
    ) {
        let answer = [vec![b'c'; filler], answer.into_bytes()].concat();
        properties::expect::bytes(receive.as_bytes(), &answer, piece);
    }

    #[test]
    fn answers_to_checks_by_http(
        parts in vec(select(HEADS.to_vec()), 0..12),
        filler in select(vec![0_usize, 8000, 9000]),
        piece in 1_usize..200,
    ) {
        let answer = parts.concat() + &"x".repeat(filler) + &parts.concat();
        properties::expect::status(answer.as_bytes(), piece);
    }

    #[test]
    fn answers_of_parents(
        parts in vec(select(HEADS.to_vec()), 0..12),
        filler in select(vec![0_usize, 8000, 17_000]),
    ) {
        let answer = parts.concat() + &"x".repeat(filler) + &parts.concat();
        properties::parent_answer::holds(answer.as_bytes());
    }

    #[test]
    fn any_bytes(data in vec(any::<u8>(), 0..300)) {
        properties::connect_head::holds(&data);
        properties::expect::holds(&data);
        properties::parent_answer::holds(&data);
        properties::proxy_header::holds(&data);
    }
}
