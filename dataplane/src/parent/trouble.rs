//! Pure. Why a parent proxy doesn't lead where it should: whose trouble that is, and what a client of
//! ours is told.

use std::time::Duration;

use tcpforward_protocol::answer::DialError;

use crate::connect::names::NameError;
use crate::connect::refusal::Refusal;
use crate::parent::answer::NotAnAnswer;
use crate::served::DialResult;
use crate::tls::TlsError;

/// Why a parent proxy doesn't lead where it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The request has come back to us.
    #[error("the request has been through this proxy before: parent proxies lead in a circle")]
    Circle,
    /// The connection broke or ended before the answer was complete.
    #[error("the parent proxy ended the connection before it answered: {0}")]
    Closed(String),
    /// Something else than an answer came.
    #[error("what the parent proxy answered is no answer: {0}")]
    Garbled(#[from] NotAnAnswer),
    /// This host's.
    #[error("{0}")]
    Local(String),
    /// It is this data plane itself.
    #[error("the parent proxy is this data plane itself, so sessions would go in circles")]
    Loop,
    /// It has no address.
    #[error("the name of the parent proxy: {0}")]
    Name(#[from] NameError),
    /// It said no, with that status.
    #[error("the parent proxy answered {0}")]
    Refused(u16),
    /// What we were told of it can't be used.
    #[error("{0}")]
    Setup(String),
    /// It was reached, was asked, and did not answer for so long.
    #[error("the parent proxy did not answer within {0:?}")]
    Silent(Duration),
    /// There is no TLS with it.
    #[error("TLS with the parent proxy: {0}")]
    Tls(#[from] TlsError),
    /// It has been through so many proxies.
    #[error("the request has been through {0} proxies: parent proxies seem to lead in a circle")]
    TooManyHops(usize),
    /// None of its addresses was reached.
    #[error("the parent proxy was not reached: {0}")]
    Unreached(String),
}

/// Whose trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Host,
    Parent,
    Target(DialError),
}

impl Trouble {
    /// Silence is the target's: a target that answers no SYN looks just like that, and a parent that
    /// is dead is not reached in the first place.
    fn whose(&self) -> Whose {
        match self {
            Self::Local(_) => Whose::Host,
            Self::Refused(504) | Self::Silent(_) => Whose::Target(DialError::Timeout),
            // 503 is what Squid answers when it can't connect.
            Self::Refused(500 | 502 | 503) => Whose::Target(DialError::Unreachable),
            _ => Whose::Parent,
        }
    }

    /// What it says of the backend.
    #[must_use]
    pub fn result(&self) -> DialResult {
        match self.whose() {
            Whose::Host => DialResult::Local,
            Whose::Parent => DialResult::Parent,
            Whose::Target(error) => DialResult::Failed(error),
        }
    }

    /// Whether another address of the target may do better.
    #[must_use]
    pub fn is_of_target(&self) -> bool {
        matches!(self.whose(), Whose::Target(_)) || *self == Self::Refused(403)
    }

    /// Whether another address of the parent may do better. A parent that has answered has spoken
    /// for all of them.
    #[must_use]
    pub fn is_of_address(&self) -> bool {
        matches!(self, Self::Closed(_) | Self::Tls(_))
    }
}

/// Never 401 or 407, to which clients would send a password, and not the one of the parent.
impl From<&Trouble> for Refusal {
    fn from(trouble: &Trouble) -> Self {
        match trouble {
            Trouble::Closed(_) => Self::ParentBroke,
            Trouble::Garbled(_) => Self::ParentGarbled,
            Trouble::Local(_) => Self::Internal,
            Trouble::Circle | Trouble::Loop | Trouble::TooManyHops(_) => Self::ParentLoop,
            Trouble::Name(_) | Trouble::Unreached(_) => Self::ParentUnreachable,
            Trouble::Refused(status) => match status {
                401 | 407 => Self::ParentLogin,
                403 | 451 => Self::ParentDenied,
                429 => Self::ParentBusy,
                503 => Self::ParentUnavailable,
                504 => Self::ParentTimeout,
                500 | 502 => Self::ParentFailed,
                _ => Self::ParentUnfit,
            },
            Trouble::Setup(_) => Self::ParentUnfit,
            Trouble::Silent(_) => Self::ParentSilent,
            Trouble::Tls(TlsError::Certificate(_)) => Self::ParentCertificate,
            Trouble::Tls(TlsError::Closed(_)) => Self::ParentBroke,
            Trouble::Tls(TlsError::Protocol(_)) => Self::ParentTls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_s_status_keeps_its_meaning_and_no_password_is_asked_for() {
        for status in 300..600 {
            let refusal = Refusal::from(&Trouble::Refused(status));
            let expected = match status {
                403 | 451 => 403,
                429 | 503 => 503,
                504 => 504,
                _ => 502,
            };
            assert_eq!(refusal.status(), expected, "{status}");
        }
    }

    #[test]
    fn a_backend_is_blamed_for_what_its_parent_says_of_it_alone() {
        let blamed = |trouble: Trouble| matches!(trouble.result(), DialResult::Failed(_));
        assert!(
            [500, 502, 503, 504]
                .map(Trouble::Refused)
                .into_iter()
                .all(blamed)
        );
        assert!(blamed(Trouble::Silent(Duration::ZERO)));
        let others = [400, 401, 403, 405, 407, 429].map(Trouble::Refused);
        assert!(!others.into_iter().any(blamed));
        let text = String::new;
        for trouble in [
            Trouble::Circle,
            Trouble::Closed(text()),
            Trouble::Garbled(NotAnAnswer::NotHttp),
            Trouble::Local(text()),
            Trouble::Loop,
            Trouble::Name(NameError::NotFound),
            Trouble::Setup(text()),
            Trouble::Tls(TlsError::Protocol(text())),
            Trouble::TooManyHops(10),
            Trouble::Unreached(text()),
        ] {
            assert!(!blamed(trouble.clone()), "{trouble}");
        }
    }
}
