//! Pure. What a parent proxy answers to a CONNECT.

use httparse::{EMPTY_HEADER, Response, Status};

/// Bytes of an answer at most, interim ones included. A refusal's content is never read.
pub const MOST: usize = 16 << 10;

/// Fields of an answer at most.
const MOST_FIELDS: usize = 100;

/// How the first bytes of a parent are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// The way is open; what is behind so many bytes comes from the target already.
    Established {
        /// Of the whole answer.
        length: usize,
    },
    /// It isn't complete.
    More,
    /// It is none.
    NotAnAnswer(NotAnAnswer),
    /// The way stays closed, with that status.
    Refused(u16),
}

/// Why something is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAnswer {
    /// TLS, SSH or noise.
    #[error("it is not HTTP/1: does the parent want https, or is another service on its port?")]
    NotHttp,
    /// 101, which nobody asked for.
    #[error("it switches protocols, which nobody asked for")]
    Switched,
    /// No end within [`MOST`].
    #[error("it has no end within 16 KiB, or too many fields")]
    TooLong,
}

/// Judges the first bytes that a parent sends. Interim answers are passed over, and with an answer
/// that opens the way fields about its content say nothing (RFC 9110 §9.3.6).
#[must_use]
pub fn read(bytes: &[u8]) -> Read {
    let seen = bytes.get(..MOST).unwrap_or(bytes);
    let mut length = 0;
    loop {
        let rest = seen.get(length..).unwrap_or_default();
        let mut fields = [EMPTY_HEADER; MOST_FIELDS];
        let mut response = Response::new(&mut fields);
        match response.parse(rest) {
            Err(httparse::Error::TooManyHeaders) => return Read::NotAnAnswer(NotAnAnswer::TooLong),
            Err(_) => return Read::NotAnAnswer(NotAnAnswer::NotHttp),
            Ok(Status::Partial) if seen.len() < MOST => return Read::More,
            Ok(Status::Partial) => return Read::NotAnAnswer(NotAnAnswer::TooLong),
            Ok(Status::Complete(n)) => length += n,
        }
        match response.code {
            Some(101) => return Read::NotAnAnswer(NotAnAnswer::Switched),
            Some(100..=199) => {}
            Some(200..=299) => return Read::Established { length },
            Some(status @ 300..=599) => return Read::Refused(status),
            _ => return Read::NotAnAnswer(NotAnAnswer::NotHttp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At once, and byte by byte.
    fn check(bytes: &[u8], expected: Read) {
        let text = String::from_utf8_lossy(bytes)
            .chars()
            .take(80)
            .collect::<String>();
        assert_eq!(read(bytes), expected, "{text}");
        let first = (0..=bytes.len()).find_map(|end| {
            let read = read(&bytes[..end]);
            (read != Read::More).then_some(read)
        });
        assert_eq!(first.unwrap_or(Read::More), expected, "{text}");
    }

    #[test]
    fn any_2xx_opens_the_way_whatever_its_fields_say() {
        for head in [
            "HTTP/1.1 200 Connection established\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 200\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nVia: 1.1 p\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            let length = head.len();
            check(head.as_bytes(), Read::Established { length });
            let more = format!("{head}SSH-2.0-x\r\n");
            check(more.as_bytes(), Read::Established { length });
            check(&head.as_bytes()[..length - 1], Read::More);
        }
        check(b"", Read::More);
    }

    #[test]
    fn anything_else_keeps_it_closed() {
        for status in [
            301, 400, 401, 403, 404, 405, 407, 429, 500, 502, 503, 504, 599,
        ] {
            let head = format!("HTTP/1.1 {status} Some text\r\nContent-Length: 4\r\n\r\nbody");
            check(head.as_bytes(), Read::Refused(status));
        }
    }

    #[test]
    fn what_is_no_answer_is_known_as_soon_as_can_be() {
        let not_http = Read::NotAnAnswer(NotAnAnswer::NotHttp);
        for bytes in [
            b"SSH-2.0-OpenSSH_9.9\r\n".as_slice(),
            b"\x15\x03\x01\0\x02\x02\x46",
            b"HTTP/2 200\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 099 Odd\r\n\r\n",
            b"HTTP/1.1 600 Odd\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA b\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\0\0\0\0\0",
        ] {
            check(bytes, not_http);
        }
        let switched = Read::NotAnAnswer(NotAnAnswer::Switched);
        check(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", switched);
    }

    #[test]
    fn an_answer_has_an_end() {
        let too_long = Read::NotAnAnswer(NotAnAnswer::TooLong);
        let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(MOST));
        assert_eq!(read(long.as_bytes()), too_long);
        assert_eq!(read(&long.as_bytes()[..MOST]), too_long);
        assert_eq!(read(&long.as_bytes()[..MOST - 1]), Read::More);
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101));
        assert_eq!(read(many.as_bytes()), too_long);
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(MOST);
        assert_eq!(read(interim.as_bytes()), too_long);
    }
}
