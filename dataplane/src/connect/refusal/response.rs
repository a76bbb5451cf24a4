//! Pure. A refusal as bytes.

use std::fmt::Write as _;

use super::Refusal;

/// What stays behind a full limit is tried again after so many seconds.
const RETRY_AFTER: &str = "Retry-After: 1\r\n";

impl Refusal {
    /// All of the answer. It is the same every time, and the connection ends behind it.
    #[must_use]
    pub fn to_response(&self) -> Vec<u8> {
        let (_, remedy) = self.texts();
        let detail = self.to_string();
        let body = format!("{detail}.\n{remedy}\n");
        let mut head = format!("HTTP/1.1 {}\r\n", self.status_line());
        let _ = write!(head, "Proxy-Status: {}\r\n", self.proxy_status());
        head.push_str(self.fields());
        let _ = write!(
            head,
            "Cache-Control: no-store\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        head.into_bytes()
    }

    /// The field `Proxy-Status` of RFC 9209.
    #[must_use]
    pub fn proxy_status(&self) -> String {
        let mut field = format!("tcpforward; error={}", self.ending().word());
        if let Some(rcode) = self.rcode() {
            let _ = write!(field, "; rcode=\"{rcode}\"");
        }
        let _ = write!(field, "; details=\"{self}\"");
        field
    }

    /// Number and phrase.
    #[must_use]
    pub fn status_line(&self) -> &'static str {
        match self.status() {
            400 => "400 Bad Request",
            403 => "403 Forbidden",
            405 => "405 Method Not Allowed",
            407 => "407 Proxy Authentication Required",
            408 => "408 Request Timeout",
            414 => "414 URI Too Long",
            429 => "429 Too Many Requests",
            431 => "431 Request Header Fields Too Large",
            502 => "502 Bad Gateway",
            503 => "503 Service Unavailable",
            504 => "504 Gateway Timeout",
            _ => "500 Internal Server Error",
        }
    }

    /// Those that only some statuses have.
    fn fields(&self) -> &'static str {
        match self.status() {
            405 => "Allow: CONNECT\r\n",
            407 => "Proxy-Authenticate: Basic realm=\"tcpforward\", charset=\"UTF-8\"\r\n",
            429 | 503 => RETRY_AFTER,
            _ => "",
        }
    }

    /// What DNS answered, if it is one of those that a client may hear of.
    fn rcode(&self) -> Option<&'static str> {
        match self {
            Self::DnsError(Some(0)) => Some("NOERROR"),
            Self::DnsError(Some(1)) => Some("FORMERR"),
            Self::DnsError(Some(2)) => Some("SERVFAIL"),
            Self::DnsError(Some(3)) => Some("NXDOMAIN"),
            Self::DnsError(Some(4)) => Some("NOTIMP"),
            Self::DnsError(Some(5)) => Some("REFUSED"),
            _ => None,
        }
    }
}
