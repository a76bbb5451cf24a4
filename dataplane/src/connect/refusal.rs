//! Pure. What a client hears when its CONNECT is refused: a status, one word by RFC 9209 that is
//! the ending in the log and in the metric as well, and a text that says what to do.
//!
//! Whatever is answered, the connection is closed behind it (RFC 9931). No answer repeats what the
//! client sent, and none is a 401, to which clients send the target's password.

use std::fmt;

use crate::connect::head::HeadError;
use crate::connect::names::NameError;
use crate::relay::ending::Ending;

mod response;

/// The answer to a CONNECT whose target is connected.
pub const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Makes the type from some lines a refusal: its name, its status, its ending, what happened, and
/// what to do about it. All texts are fit for a quoted string of a field.
macro_rules! refusals {
    ($($name:ident $(($field:ty))? $status:literal $ending:ident $what:literal $remedy:literal;)*) => {
        /// Why a CONNECT is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal {
            $(#[doc = $what] $name $(($field))?,)*
        }

        /// Every refusal, in the order of their names.
        pub const ALL: &[Described] = &[
            $(Described {
                status: $status,
                ending: Ending::$ending,
                what: $what,
                remedy: $remedy,
            },)*
        ];

        impl Refusal {
            /// Of HTTP.
            #[must_use]
            pub fn status(&self) -> u16 {
                match self {
                    $(Self::$name { .. } => $status,)*
                }
            }

            /// Its word is the error's type by RFC 9209.
            #[must_use]
            pub fn ending(&self) -> Ending {
                match self {
                    $(Self::$name { .. } => Ending::$ending,)*
                }
            }

            /// What happened, and what to do about it.
            #[must_use]
            pub fn texts(&self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$name { .. } => ($what, $remedy),)*
                }
            }
        }
    };
}

refusals! {
    AddressProhibited 502 DestinationIpProhibited
        "No address of the target may be dialled"
        "A private address needs an entry in cidrs of a rule that allows it; loopback, link-local and the like need the pool's leave as well; metadata addresses are never dialled.";
    BadRequest(HeadError) 400 HttpRequestError
        "The request is malformed"
        "A request looks like: CONNECT example.com:443 HTTP/1.1, with a field Host and an empty line behind it.";
    Busy 503 ConnectionLimitReached
        "The proxy has as many dials or password checks under way as it may"
        "Try again in a moment.";
    ConnectionRefused 502 ConnectionRefused
        "The target refused the connection"
        "Check the port, and that something listens there.";
    ConnectionTerminated 502 ConnectionTerminated
        "The connection to the target broke while it was made"
        "Try again; if it stays, look at the target.";
    ConnectionTimeout 504 ConnectionTimeout
        "The target did not answer in time"
        "Check that it runs, and that no firewall is between it and the proxy.";
    CredentialsMissing 407 HttpRequestDenied
        "The proxy wants to know who you are"
        "Send user and password by Basic authentication, for instance with http://USER:PASSWORD@ in the proxy's URL.";
    CredentialsWrong 407 HttpRequestDenied
        "User or password is wrong"
        "Check them against the htpasswd Secret of the TcpForward.";
    Denied 403 HttpRequestDenied
        "The rules of the proxy do not allow this target"
        "Ask its owner for a rule that allows host and port; the proxy's log names the rule that denied it, if any.";
    DnsError(Option<u16>) 502 DnsError
        "DNS has no address for the name"
        "Check the name; names are looked up in full, so a Service is written name.namespace.svc.";
    DnsTimeout 504 DnsTimeout
        "DNS did not answer in time"
        "Try again; if it stays, look at the DNS server of the proxy.";
    Draining 503 DestinationUnavailable
        "The proxy is about to end and takes no new tunnels"
        "Try again: another one takes over.";
    HeaderTimeout 408 HttpRequestError
        "The request did not come in time"
        "Send the whole head at once.";
    HeaderTooLarge 431 HttpRequestError
        "The fields of the request are too long or too many"
        "Send fewer, or raise limits.maxHeaderSize.";
    Internal 500 ProxyInternalError
        "The proxy could not dial, for want of a port or of memory"
        "Try again; if it stays, its log says what is short.";
    Loop 502 ProxyLoopDetected
        "The target is the proxy itself"
        "Ask for the target that you mean, not for the proxy.";
    MethodNotAllowed 405 HttpRequestError
        "The proxy serves the method CONNECT alone"
        "Use it for https, or tell the client to tunnel http as well, like curl --proxytunnel.";
    NoBackend 503 DestinationUnavailable
        "The Service has no backend that takes connections"
        "Check its endpoints.";
    NoHealthyBackend 503 DestinationUnavailable
        "No backend of the Service is well"
        "Try again in a moment; if it stays, look at its pods.";
    ParentBroke 502 ConnectionTerminated
        "The parent proxy ended the connection before it answered"
        "Try again; if it stays, look at the parent proxy.";
    ParentBusy 503 ConnectionLimitReached
        "The parent proxy takes no more requests at present"
        "Try again in a moment.";
    ParentCertificate 502 TlsCertificateError
        "The certificate of the parent proxy is not trusted"
        "The owner of the proxy has to look at via.caSecretRef and via.proxy.host; the log says more.";
    ParentDenied 403 HttpRequestDenied
        "The parent proxy does not allow this target"
        "Ask the owner of the parent proxy to allow host and port.";
    ParentFailed 502 DestinationUnavailable
        "The parent proxy could not reach the target"
        "Check host and port, as the parent proxy sees them.";
    ParentGarbled 502 HttpProtocolError
        "What the parent proxy answered is no answer"
        "The owner of the proxy has to look at via.proxy: scheme and port first.";
    ParentLogin 502 ProxyConfigurationError
        "The parent proxy does not accept our user and password, or wants some"
        "The owner of the proxy has to look at via.credentials; yours are fine.";
    ParentLoop 502 ProxyLoopDetected
        "The parent proxy is the proxy itself, or leads back to it"
        "The owner of the proxy has to look at via.proxy, and so have the owners of the parents behind it.";
    ParentSilent 504 HttpResponseTimeout
        "The parent proxy did not answer in time"
        "Check that the target runs; if others work no better, look at the parent proxy.";
    ParentTimeout 504 ConnectionTimeout
        "Behind the parent proxy, the target did not answer in time"
        "Check that it runs, and that no firewall is between it and the parent proxy.";
    ParentTls 502 TlsProtocolError
        "There is no TLS with the parent proxy"
        "The owner of the proxy has to look at via.proxy: scheme and port first.";
    ParentUnavailable 503 DestinationUnavailable
        "The parent proxy says that the target, or itself, is unavailable"
        "Try again in a moment.";
    ParentUnfit 502 ProxyConfigurationError
        "The parent proxy does not take CONNECT, or can not be used as it is set up"
        "The owner of the proxy has to look at via; the log says more.";
    ParentUnreachable 503 DestinationUnavailable
        "The parent proxy was not reached"
        "Try again in a moment; if it stays, look at the parent proxy.";
    SourceTunnels 429 ConnectionLimitReached
        "Your address has as many tunnels open as it may"
        "Close some, or raise limits.tunnelsPerSource.";
    SubjectTunnels 429 ConnectionLimitReached
        "You have as many tunnels open as you may"
        "Close some, or raise limits.tunnelsPerSubject.";
    TooManyFailures 429 ConnectionLimitReached
        "Too many requests from your address were refused"
        "Wait a moment, then send only what is allowed.";
    Tunnels 503 ConnectionLimitReached
        "The proxy has as many tunnels open as it may"
        "Try again in a moment, or raise limits.tunnels.";
    Unroutable 502 DestinationIpUnroutable
        "There is no route to the target"
        "Check the network of the proxy, and that the target has an address of a family that it has.";
    UriTooLong 414 HttpRequestError
        "The first line of the request is too long"
        "A target has at most 253 characters and a port.";
}

/// A refusal as the reference shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// Of HTTP.
    pub status: u16,
    /// Its word is the error's type by RFC 9209.
    pub ending: Ending,
    /// What happened.
    pub what: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// Answers of DNS (RFC 1035 §4.1.1).
pub(super) const NO_ERROR: u16 = 0;
const NO_SUCH_NAME: u16 = 3;

impl Refusal {
    /// Whether it says something of what the client asks for, and so counts against who tries out
    /// what there is. A first request without credentials is how clients find out that they need
    /// some.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        !self.is_of_parent()
            && *self != Self::CredentialsMissing
            && matches!(self.status(), 403 | 407 | 502 | 504)
    }

    /// Whether it is the parent proxy's own trouble, whatever the target.
    fn is_of_parent(&self) -> bool {
        matches!(
            self,
            Self::ParentBroke
                | Self::ParentBusy
                | Self::ParentCertificate
                | Self::ParentGarbled
                | Self::ParentLogin
                | Self::ParentLoop
                | Self::ParentTls
                | Self::ParentUnfit
                | Self::ParentUnreachable
        )
    }
}

/// What happened.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, _) = self.texts();
        match self {
            Self::BadRequest(error) => write!(f, "{what}: {error}"),
            _ => f.write_str(what),
        }
    }
}

/// What a client is told of a name that leads nowhere.
impl From<&NameError> for Refusal {
    fn from(error: &NameError) -> Self {
        match error {
            NameError::Busy => Self::Busy,
            NameError::Failed(_) | NameError::NotAName(_) => Self::DnsError(None),
            NameError::NoAddress => Self::DnsError(Some(NO_ERROR)),
            NameError::NotFound => Self::DnsError(Some(NO_SUCH_NAME)),
            NameError::Timeout(_) => Self::DnsTimeout,
        }
    }
}

/// Some errors have a status of their own.
impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::FieldsTooLong | HeadError::TooManyFields => Self::HeaderTooLarge,
            HeadError::LineTooLong => Self::UriTooLong,
            HeadError::Method => Self::MethodNotAllowed,
            error => Self::BadRequest(error),
        }
    }
}

#[cfg(test)]
mod tests;
