//! Pure. What an HTTP CONNECT proxy lets through, and to whom.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;

/// Clients say by HTTP CONNECT where they want to go; rules say whether they may.
///
/// The Services that rules lead to are targets of the forward's relay, by the name that
/// `ServiceName::target` gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConnect {
    /// The first one that matches decides; where none does, the answer is no.
    pub rules: Vec<Rule>,
    /// What becomes of a no.
    pub mode: PolicyMode,
    /// Who may say who they are; absent: nobody is asked.
    pub users: Option<Vec<User>>,
    /// Names below `svc.` and this are Services, as those below `svc` are.
    pub cluster_domain: String,
    /// How much of a request is waited for, and how many tunnels there are.
    pub limits: TunnelLimits,
}

/// What becomes of a request that the rules refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyMode {
    /// It is refused.
    Enforce,
    /// It is let through, logged and counted. The guard holds all the same.
    Report,
}

/// Kinds must all hold, entries of a kind are alternatives, and a kind without entries always holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Unique within the forward.
    pub name: String,
    /// What it says of what it matches.
    pub action: Action,
    /// Names that clients ask for.
    pub hosts: Vec<HostPattern>,
    /// Of each address that would be dialled.
    pub cidrs: Vec<IpNet>,
    /// Services that clients ask for.
    pub services: Vec<ServiceName>,
    /// Ports that clients ask for; never empty.
    pub ports: Vec<u16>,
    /// Who asks.
    pub subjects: Vec<Subject>,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Yes.
    Allow,
    /// No.
    Deny,
}

/// A name, or those below one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// `*`: any name. An address is none.
    Any,
    /// `*.example.com`: the names below, at any depth, but not `example.com` itself.
    Below(String),
    /// The name itself.
    Exact(String),
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Somebody who has proven who they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A user of the htpasswd Secret.
    User(String),
}

/// A line of htpasswd.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password's bcrypt hash, as htpasswd writes it.
    pub hash: String,
}

/// Bounds of a proxy, beside those of its listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelLimits {
    /// Tunnels at a time, over the whole pool; absent: no bound of its own.
    pub tunnels: Option<NonZeroU32>,
    /// Tunnels at a time of one client address, on each data plane.
    pub tunnels_per_source: Option<NonZeroU32>,
    /// Tunnels at a time of one subject, on each data plane.
    pub tunnels_per_subject: Option<NonZeroU32>,
    /// From accept to the end of the head.
    pub header_timeout: Duration,
    /// Bytes of the head.
    pub max_header_size: u32,
}

impl HostPattern {
    /// Reads a pattern: lower case letters, digits, `-`, `_` and dots, with `*.` before them or `*` alone.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, NotAHostPattern> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        if !is_name(name) {
            return Err(NotAHostPattern);
        }
        let name = name.to_owned();
        Ok(if below {
            Self::Below(name)
        } else {
            Self::Exact(name)
        })
    }
}

/// Expected a name in lower case, `*.` before one, or `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a name in lower case without a dot at its end, like www.example.com, or *.example.com, or *"
)]
pub struct NotAHostPattern;

/// Labels of at most 63 letters, digits, `-` and `_`, together at most 253 bytes, the last one not a
/// number: so no way to write an IP address is a name.
fn is_name(text: &str) -> bool {
    let is_fine =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let labels = || text.split('.');
    let last = labels().next_back().unwrap_or_default();
    text.len() <= 253
        && labels().all(|label| (1..=63).contains(&label.len()) && label.bytes().all(is_fine))
        && last.starts_with(|c: char| c.is_ascii_alphabetic())
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Exact(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::User(name) = self;
        f.write_str(name)
    }
}

impl ServiceName {
    /// The name of the relay's target that leads to this port of the Service.
    #[must_use]
    pub fn target(&self, port: u16) -> String {
        format!("{}/{}:{port}", self.namespace, self.name)
    }
}

/// Without the hash, which is nobody's business.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_what_they_are_written_as() {
        let long = format!("{}.example", "a".repeat(63));
        for text in [
            "*",
            "example.com",
            "*.example.com",
            "a",
            "_dmarc.a-b.example",
            "1.example",
            &long,
        ] {
            assert_eq!(HostPattern::parse(text).unwrap().to_string(), text);
        }
        let longer = format!("{}.example", "a".repeat(64));
        let endless = format!("{}example", "a.".repeat(124));
        for text in [
            "",
            ".",
            "*.",
            "**",
            "a.*",
            "*a.example",
            "EXAMPLE.com",
            "example.com.",
            ".example.com",
            "a..b",
            "10.0.0.1",
            "*.1",
            "0x7f.1",
            "1",
            "ex ample.com",
            "bücher.example",
            "a%b",
            "[::1]",
            &longer,
            &endless,
        ] {
            assert_eq!(HostPattern::parse(text), Err(NotAHostPattern), "{text}");
        }
    }

    #[test]
    fn a_hash_is_not_printed() {
        let user = User {
            name: "ci".to_owned(),
            hash: "$2y$05$secret".to_owned(),
        };
        assert!(!format!("{user:?}").contains("secret"));
    }
}
