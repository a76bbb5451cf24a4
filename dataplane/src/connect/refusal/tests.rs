use super::*;
use crate::connect::target::NotATarget;

/// Refusal, status line, error of Proxy-Status, what else stands in the head.
const ROWS: [(Refusal, &str, &str, &str); 40] = {
    use Refusal::*;
    const CHALLENGE: &str = "Proxy-Authenticate: Basic realm=\"tcpforward\", charset=\"UTF-8\"";
    const RETRY: &str = "Retry-After: 1";
    [
        (
            AddressProhibited,
            "502 Bad Gateway",
            "destination_ip_prohibited",
            "",
        ),
        (
            BadRequest(HeadError::BareLf),
            "400 Bad Request",
            "http_request_error",
            "",
        ),
        (
            Busy,
            "503 Service Unavailable",
            "connection_limit_reached",
            RETRY,
        ),
        (
            ConnectionRefused,
            "502 Bad Gateway",
            "connection_refused",
            "",
        ),
        (
            ConnectionTerminated,
            "502 Bad Gateway",
            "connection_terminated",
            "",
        ),
        (
            ConnectionTimeout,
            "504 Gateway Timeout",
            "connection_timeout",
            "",
        ),
        (
            CredentialsMissing,
            "407 Proxy Authentication Required",
            "http_request_denied",
            CHALLENGE,
        ),
        (
            CredentialsWrong,
            "407 Proxy Authentication Required",
            "http_request_denied",
            CHALLENGE,
        ),
        (Denied, "403 Forbidden", "http_request_denied", ""),
        (DnsError(None), "502 Bad Gateway", "dns_error", ""),
        (
            DnsError(Some(3)),
            "502 Bad Gateway",
            "dns_error",
            "dns_error; rcode=\"NXDOMAIN\"; details=",
        ),
        (DnsTimeout, "504 Gateway Timeout", "dns_timeout", ""),
        (
            Draining,
            "503 Service Unavailable",
            "destination_unavailable",
            RETRY,
        ),
        (
            HeaderTimeout,
            "408 Request Timeout",
            "http_request_error",
            "",
        ),
        (
            HeaderTooLarge,
            "431 Request Header Fields Too Large",
            "http_request_error",
            "",
        ),
        (
            Internal,
            "500 Internal Server Error",
            "proxy_internal_error",
            "",
        ),
        (Loop, "502 Bad Gateway", "proxy_loop_detected", ""),
        (
            MethodNotAllowed,
            "405 Method Not Allowed",
            "http_request_error",
            "Allow: CONNECT",
        ),
        (
            NoBackend,
            "503 Service Unavailable",
            "destination_unavailable",
            RETRY,
        ),
        (
            NoHealthyBackend,
            "503 Service Unavailable",
            "destination_unavailable",
            RETRY,
        ),
        (ParentBroke, "502 Bad Gateway", "connection_terminated", ""),
        (
            ParentBusy,
            "503 Service Unavailable",
            "connection_limit_reached",
            RETRY,
        ),
        (
            ParentCertificate,
            "502 Bad Gateway",
            "tls_certificate_error",
            "",
        ),
        (ParentDenied, "403 Forbidden", "http_request_denied", ""),
        (
            ParentFailed,
            "502 Bad Gateway",
            "destination_unavailable",
            "",
        ),
        (ParentGarbled, "502 Bad Gateway", "http_protocol_error", ""),
        (
            ParentLogin,
            "502 Bad Gateway",
            "proxy_configuration_error",
            "",
        ),
        (ParentLoop, "502 Bad Gateway", "proxy_loop_detected", ""),
        (
            ParentSilent,
            "504 Gateway Timeout",
            "http_response_timeout",
            "",
        ),
        (
            ParentTimeout,
            "504 Gateway Timeout",
            "connection_timeout",
            "",
        ),
        (ParentTls, "502 Bad Gateway", "tls_protocol_error", ""),
        (
            ParentUnavailable,
            "503 Service Unavailable",
            "destination_unavailable",
            RETRY,
        ),
        (
            ParentUnfit,
            "502 Bad Gateway",
            "proxy_configuration_error",
            "",
        ),
        (
            ParentUnreachable,
            "503 Service Unavailable",
            "destination_unavailable",
            RETRY,
        ),
        (
            SourceTunnels,
            "429 Too Many Requests",
            "connection_limit_reached",
            RETRY,
        ),
        (
            SubjectTunnels,
            "429 Too Many Requests",
            "connection_limit_reached",
            RETRY,
        ),
        (
            TooManyFailures,
            "429 Too Many Requests",
            "connection_limit_reached",
            RETRY,
        ),
        (
            Tunnels,
            "503 Service Unavailable",
            "connection_limit_reached",
            RETRY,
        ),
        (
            Unroutable,
            "502 Bad Gateway",
            "destination_ip_unroutable",
            "",
        ),
        (UriTooLong, "414 URI Too Long", "http_request_error", ""),
    ]
};

#[test]
fn refusals_are_answered_in_full() {
    for (refusal, status, token, field) in ROWS {
        let text = String::from_utf8(refusal.to_response()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let lines: Vec<&str> = head.split("\r\n").collect();
        assert_eq!(lines[0], format!("HTTP/1.1 {status}"));
        assert!(status.starts_with(&refusal.status().to_string()));
        assert_eq!(refusal.ending().word(), token);
        let proxy = format!("Proxy-Status: tcpforward; error={token}; ");
        assert!(lines[1].starts_with(&proxy), "{text}");
        assert!(head.contains(field), "{text}");
        let length = format!("Content-Length: {}", body.len());
        for line in [
            length.as_str(),
            "Connection: close",
            "Content-Type: text/plain; charset=utf-8",
            "Cache-Control: no-store",
        ] {
            assert_eq!(lines.iter().filter(|l| **l == line).count(), 1, "{text}");
        }
        assert_eq!(head.contains("\r\nAllow"), refusal.status() == 405);
        assert_eq!(head.contains("\r\nProxy-Auth"), refusal.status() == 407);
        let is_busy = [429, 503].contains(&refusal.status());
        assert_eq!(head.contains("\r\nRetry-After"), is_busy);
        assert_is_plain(&text);
    }
}

/// A field's quoted string has no other characters, and a terminal shows all of them.
fn assert_is_plain(text: &str) {
    let is_fine = |c: char| c == ' ' || c.is_ascii_graphic() && c != '\\';
    assert!(text.split(['\r', '\n']).all(|l| l.chars().all(is_fine)));
    let details = text.split("details=\"").nth(1).unwrap();
    let (details, _) = details.split_once("\"\r\n").unwrap();
    assert!(!details.is_empty() && !details.contains('"'), "{text}");
}

#[test]
fn errors_of_a_head_have_their_status() {
    let cases = [
        (HeadError::Method, 405),
        (HeadError::LineTooLong, 414),
        (HeadError::FieldsTooLong, 431),
        (HeadError::TooManyFields, 431),
        (HeadError::Http2, 400),
        (HeadError::Target(NotATarget::NoPort), 400),
    ];
    for (error, status) in cases {
        let refusal = Refusal::from(error);
        assert_eq!(refusal.status(), status, "{error}");
        assert_is_plain(&String::from_utf8(refusal.to_response()).unwrap());
    }
}

#[test]
fn pitfall_22_what_a_client_sent_is_not_repeated() {
    use crate::connect::head::{Read, read};
    let requests: [&[u8]; 5] = [
        b"CONNECT user:hunter2@h:443 HTTP/1.1\r\n",
        b"CONNECT http://user:hunter2@h/ HTTP/1.1\r\n",
        b"CONNECT h:443 HTTP/1.1\r\nhunter2\r\n\r\n",
        b"CONNECT h:443 HTTP/1.1\r\nHost: hunter2@h\r\n\r\n",
        b"GET http://user:hunter2@h/ HTTP/1.1\r\n",
    ];
    for request in requests {
        let Read::Refused(error) = read(request, 1000) else {
            panic!("{}", String::from_utf8_lossy(request));
        };
        let text = String::from_utf8(Refusal::from(error).to_response()).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
    }
}

/// Pitfall 4: nothing else is in the segment.
#[test]
fn a_tunnel_begins_behind_an_empty_line() {
    let text = std::str::from_utf8(ESTABLISHED).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n\r\n"));
    assert_eq!(text.lines().count(), 2);
}
