//! Headers, whole and in pieces, good and bad.

use std::net::SocketAddr;

use proptest::prelude::*;
use tcpforward_protocol::snapshot::ProxyVersion;

use super::{Endpoints, Header, Malformed, Parsed, Parser, UniqueId, encode, v1, v2};

/// What a connection says, as far as a parser wants to read it, and what is left unread.
fn read<'a>(stream: &'a [u8], pieces: &mut dyn FnMut(usize) -> usize) -> (Parsed, &'a [u8]) {
    let mut parser = Parser::default();
    let mut rest = stream;
    let mut parsed = parser.feed(&[]);
    while let Parsed::Need(bytes) = parsed {
        assert!((1..=2048).contains(&bytes), "{bytes}");
        if rest.is_empty() {
            break;
        }
        let (piece, left) = rest.split_at(pieces(bytes).clamp(1, bytes).min(rest.len()));
        rest = left;
        parsed = parser.feed(piece);
    }
    (parsed, rest)
}

/// However it comes.
#[track_caller]
fn check(stream: &[u8], expected: &Parsed, left: &[u8]) {
    for pieces in [1, 2, 3, 7, usize::MAX] {
        let (parsed, rest) = read(stream, &mut |_| pieces);
        let stream = stream.escape_ascii();
        assert_eq!(&parsed, expected, "{stream} in pieces of {pieces}");
        if !matches!(parsed, Parsed::Malformed(_) | Parsed::NotAHeader(_)) {
            assert_eq!(rest, left, "{stream} in pieces of {pieces}");
        }
    }
}

fn header(source: &str, destination: &str) -> Header {
    Header {
        endpoints: Some(Endpoints {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }),
        unique_id: None,
    }
}

/// A header of version 2 with these bytes behind its signature.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [v2::SIGNATURE, &[command, family], &length, body].concat()
}

const TCP4_BODY: [u8; 12] = [10, 0, 0, 1, 10, 0, 0, 2, 0x1f, 0x90, 0, 80];

#[test]
fn a_line_says_who_connected() {
    let cases = [
        (
            "TCP4 10.0.0.1 10.0.0.2 8080 80",
            header("10.0.0.1:8080", "10.0.0.2:80"),
        ),
        ("TCP4 1.1.1.1 1.1.1.1 0 1", header("1.1.1.1:0", "1.1.1.1:1")),
        (
            "TCP6 2001:db8::1 ::1 65535 443",
            header("[2001:db8::1]:65535", "[::1]:443"),
        ),
        (
            "TCP6 ::ffff:10.0.0.1 ::1 1 2",
            header("10.0.0.1:1", "[::1]:2"),
        ),
        ("UNKNOWN", Header::default()),
        ("UNKNOWN ffff::1 whatever\rit says", Header::default()),
    ];
    for (words, header) in cases {
        for payload in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"\r\n"] {
            let line = [b"PROXY ", words.as_bytes(), b"\r\n", payload].concat();
            check(&line, &Parsed::Done(header.clone()), payload);
        }
    }
}

#[test]
fn a_bad_line_is_refused() {
    let cases = [
        ("TCP4 10.0.0.1 10.0.0.2 8080", Malformed::Syntax),
        ("TCP4 10.0.0.1 10.0.0.2 8080 80 ", Malformed::Syntax),
        ("TCP4  10.0.0.1 10.0.0.2 8080 80", Malformed::Syntax),
        ("TCP4 10.0.0.1 10.0.0.2 8080 080", Malformed::Port),
        ("TCP4 10.0.0.1 10.0.0.2 +8080 80", Malformed::Port),
        ("TCP4 10.0.0.1 10.0.0.2 65536 80", Malformed::Port),
        ("TCP4 10.0.0.1 10.0.0.2 8080 ", Malformed::Port),
        ("TCP4 10.0.0.1 10.0.0.02 8080 80", Malformed::Address),
        ("TCP4 ::1 ::1 8080 80", Malformed::Address),
        ("TCP6 10.0.0.1 10.0.0.2 8080 80", Malformed::Address),
        ("TCP5 10.0.0.1 10.0.0.2 8080 80", Malformed::Family),
        ("UDP4 10.0.0.1 10.0.0.2 8080 80", Malformed::Family),
        ("TCP4\t10.0.0.1 10.0.0.2 8080 80", Malformed::Family),
        ("UNKNOWNS", Malformed::Family),
        ("          ", Malformed::Family),
    ];
    for (words, malformed) in cases {
        let line = format!("PROXY {words}\r\n");
        check(line.as_bytes(), &Parsed::Malformed(malformed), b"");
    }
    let longest = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 91], b"\r\n".to_vec()].concat();
    check(&longest, &Parsed::Done(Header::default()), b"");
    let longer = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 92], b"\r\n".to_vec()].concat();
    check(&longer, &Parsed::Malformed(Malformed::TooLong), b"");
}

#[test]
fn a_binary_header_says_who_connected() {
    let plain = header("10.0.0.1:8080", "10.0.0.2:80");
    let fields = [&TCP4_BODY[..], &[0x04, 0, 2, 9, 9], &[0xea, 0, 0]].concat();
    let named = [&TCP4_BODY[..], &[0x05, 0, 2], b"id"].concat();
    let with_id = Header {
        unique_id: UniqueId::new(b"id"),
        ..header("10.0.0.1:8080", "10.0.0.2:80")
    };
    let cases = [
        (v2(0x21, 0x11, &TCP4_BODY), plain.clone()),
        (v2(0x21, 0x11, &fields), plain),
        (v2(0x21, 0x11, &named), with_id),
        (v2(0x21, 0x00, &[]), Header::default()),
        (v2(0x20, 0x00, &[]), Header::default()),
        // LOCAL: whatever else it says.
        (v2(0x20, 0x31, &[1, 2, 3]), Header::default()),
    ];
    for (bytes, header) in cases {
        let with_payload = [&bytes[..], b"payload"].concat();
        check(&with_payload, &Parsed::Done(header), b"payload");
    }
}

#[test]
fn a_bad_binary_header_is_refused() {
    let field = |field: &[u8]| v2(0x21, 0x11, &[&TCP4_BODY[..], field].concat());
    let long_id = [&[0x05, 0, 129][..], &[1; 129]].concat();
    let cases = [
        (v2(0x11, 0x11, &TCP4_BODY), Malformed::Version),
        (v2(0x22, 0x11, &TCP4_BODY), Malformed::Command),
        (v2(0x21, 0x12, &TCP4_BODY), Malformed::Family),
        (v2(0x21, 0x31, &[0; 216]), Malformed::Family),
        (v2(0x21, 0x41, &[]), Malformed::Family),
        (v2(0x21, 0x11, &TCP4_BODY[..11]), Malformed::Length),
        (v2(0x21, 0x21, &[0; 35]), Malformed::Length),
        (v2(0x20, 0x00, &[0; 2033]), Malformed::Length),
        (field(&[0x04, 0]), Malformed::Tlv),
        (field(&[0x04, 0, 2, 0]), Malformed::Tlv),
        (field(&[0x03, 0, 3, 0, 0, 0]), Malformed::Tlv),
        (field(&[0x03, 0, 4, 0, 0, 0, 0]), Malformed::Checksum),
        (field(&long_id), Malformed::Tlv),
    ];
    for (bytes, malformed) in cases {
        check(&bytes, &Parsed::Malformed(malformed), b"");
    }
}

#[test]
fn what_is_no_header_is_given_back() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"P\r\n",
        b"PROXYX TCP4",
        b"\r\n\r\nhello",
        b"\0",
    ] {
        let (parsed, rest) = read(bytes, &mut |_| usize::MAX);
        let Parsed::NotAHeader(early) = parsed else {
            panic!("{parsed:?}");
        };
        assert_eq!([&early, rest].concat(), bytes);
    }
    let mut parser = Parser::default();
    assert_eq!(parser.feed(b"\r\n"), Parsed::Need(14));
    assert_eq!(parser.into_early_bytes(), Some(b"\r\n".to_vec()));
    let mut parser = Parser::default();
    assert_eq!(parser.feed(b"PROXY "), Parsed::Need(9));
    assert_eq!(parser.into_early_bytes(), None);
}

#[test]
fn the_checksum_is_that_of_the_specification() {
    assert_eq!(v2::CHECKSUM.checksum(b"123456789"), 0xe306_9283);
}

#[test]
fn the_bytes_that_are_sent() {
    let header = header("10.0.0.1:8080", "10.0.0.2:80");
    let endpoints = header.endpoints.as_ref();
    let line = encode(ProxyVersion::V1, endpoints, None);
    assert_eq!(line, b"PROXY TCP4 10.0.0.1 10.0.0.2 8080 80\r\n");
    assert_eq!(encode(ProxyVersion::V1, None, None), b"PROXY UNKNOWN\r\n");
    let binary = encode(ProxyVersion::V2, endpoints, UniqueId::new(b"id").as_ref());
    let fields = [&TCP4_BODY[..], &[5, 0, 2], b"id", &[3, 0, 4]].concat();
    let expected = v2(
        0x21,
        0x11,
        &[&fields[..], &binary[binary.len() - 4..]].concat(),
    );
    assert_eq!(binary, expected);
    let mixed = Endpoints {
        source: "10.0.0.1:1".parse().unwrap(),
        destination: "[2001:db8::1]:2".parse().unwrap(),
    };
    let line = encode(ProxyVersion::V1, Some(&mixed), None);
    assert_eq!(line, b"PROXY TCP6 ::ffff:10.0.0.1 2001:db8::1 1 2\r\n");
}

#[test]
fn an_id_is_shown_as_text_or_in_hexadecimal() {
    let shown = |bytes: &[u8]| UniqueId::new(bytes).unwrap().to_string();
    assert_eq!(shown(b"a-1"), "a-1");
    assert_eq!(shown(b"a 1"), "612031");
    assert_eq!(shown(&[0xff, 0]), "ff00");
    let random = UniqueId::random(&mut fastrand::Rng::with_seed(1));
    assert_eq!(random.bytes().len(), 32);
    assert_eq!(random.to_string().as_bytes(), random.bytes());
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(std::net::IpAddr::from),
        any::<[u8; 16]>().prop_map(|ip| std::net::IpAddr::from(ip).to_canonical()),
    ];
    (ip, any::<u16>()).prop_map(SocketAddr::from)
}

proptest! {
    #[test]
    fn what_is_sent_is_understood(
        source in address(), destination in address(),
        id in prop::option::of(prop::collection::vec(any::<u8>(), 0..=128)),
        payload in prop::collection::vec(any::<u8>(), 0..40),
        pieces in prop::collection::vec(1..60_usize, 1..20),
    ) {
        let endpoints = Some(Endpoints { source, destination });
        let id = id.and_then(|id| UniqueId::new(&id));
        for (version, unique_id) in [(ProxyVersion::V1, None), (ProxyVersion::V2, id)] {
            let bytes = encode(version, endpoints.as_ref(), unique_id.as_ref());
            let stream = [&bytes[..], &payload].concat();
            let mut turns = pieces.iter().copied().cycle();
            let (parsed, rest) = read(&stream, &mut |_| turns.next().unwrap());
            prop_assert_eq!(parsed, Parsed::Done(Header { endpoints, unique_id }));
            prop_assert_eq!(rest, &payload[..]);
        }
    }

    #[test]
    fn a_header_with_a_flipped_bit_is_never_understood_otherwise(
        source in address(), destination in address(), bit in 0..10_000_usize,
    ) {
        let endpoints = Some(Endpoints { source, destination });
        let mut bytes = encode(ProxyVersion::V2, endpoints.as_ref(), None);
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (parsed, _) = read(&bytes, &mut |_| usize::MAX);
        if let Parsed::Done(header) = parsed {
            // PROXY became LOCAL, or the field of the checksum another one.
            let is_harmless = header.endpoints.is_none() || header.endpoints == endpoints;
            prop_assert!(is_harmless, "{:?}", header);
        }
    }

    #[test]
    fn any_bytes_end_somewhere(
        signature in prop_oneof![Just(&b""[..]), Just(v1::SIGNATURE), Just(v2::SIGNATURE)],
        bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1..40_usize,
    ) {
        let stream = [signature, &bytes].concat();
        let (parsed, rest) = read(&stream, &mut |_| piece);
        prop_assert!(rest.is_empty() || !matches!(parsed, Parsed::Need(_)));
    }
}
