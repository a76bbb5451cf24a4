//! Pure. What a client of a CONNECT proxy asks for: `host:port`, written so that no two programs
//! could read it in two ways.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tcpforward_protocol::snapshot::ServiceName;

/// Where a client wants to go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// To whom.
    pub host: Host,
    /// To which port of it; never 0.
    pub port: u16,
}

/// An address or a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// As it was written; IPv4 inside IPv6 is not unwrapped.
    Address(IpAddr),
    /// In lower case, without a dot at its end, international ones as A-labels.
    Name(String),
}

/// Why something is not a target. No message repeats what the client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATarget {
    /// `[example.com]:443`, `::1:443`.
    #[error("brackets are for IPv6 addresses, and IPv6 addresses are in brackets")]
    Brackets,
    /// Neither a letter, a digit, `-`, `_` nor a dot.
    #[error("a name has letters, digits, - and _ only; international names are sent as xn--")]
    Characters,
    /// `:443`.
    #[error("the host is missing")]
    Empty,
    /// `/`, `*` or a URL.
    #[error("CONNECT takes host:port, neither a URL nor a path")]
    Form,
    /// Of a label, or of the name.
    #[error("a name has labels of 1 to 63 characters, 253 together")]
    Length,
    /// `example.com`, `example.com:`.
    #[error("the port is missing; CONNECT has no default")]
    NoPort,
    /// `127.1`, `2130706433`, `0x7f.1`: addresses for some programs, names for others.
    #[error("the last label of a name starts with a letter; an IPv4 address is written in full")]
    Number,
    /// 0, more than 65535, or with a sign, a zero or another letter.
    #[error("the port is a number from 1 to 65535, without sign or leading zero")]
    Port,
    /// `ok.example@evil.example:443`.
    #[error("a target has no user")]
    User,
    /// `[fe80::1%eth0]:443`.
    #[error("a target has neither a zone nor a percent sign")]
    Zone,
}

impl Target {
    /// Reads the authority-form of a CONNECT request.
    ///
    /// # Errors
    /// It is something else, or could be read as something else.
    pub fn parse(text: &[u8]) -> Result<Self, NotATarget> {
        let text = std::str::from_utf8(text).map_err(|_| NotATarget::Characters)?;
        for c in text.chars() {
            match c {
                '%' => return Err(NotATarget::Zone),
                '@' => return Err(NotATarget::User),
                '/' | '?' | '#' | '*' => return Err(NotATarget::Form),
                _ if !c.is_ascii_graphic() => return Err(NotATarget::Characters),
                _ => {}
            }
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(text) => {
                let (address, rest) = text.split_once(']').ok_or(NotATarget::Brackets)?;
                let address: Ipv6Addr = address.parse().map_err(|_| NotATarget::Brackets)?;
                let port = rest.strip_prefix(':').ok_or(NotATarget::NoPort)?;
                (Host::Address(address.into()), port)
            }
            None => {
                let (host, port) = text.rsplit_once(':').ok_or(NotATarget::NoPort)?;
                (Host::parse(host)?, port)
            }
        };
        let port = parse_port(port)?;
        Ok(Self { host, port })
    }
}

fn parse_port(text: &str) -> Result<u16, NotATarget> {
    if text.is_empty() {
        return Err(NotATarget::NoPort);
    }
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let port = text.parse().ok().filter(|_| is_plain);
    port.ok_or(NotATarget::Port)
}

impl Host {
    /// What is not in brackets.
    fn parse(text: &str) -> Result<Self, NotATarget> {
        // Exactly four decimal numbers, none with a zero before it.
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        if text.is_empty() {
            return Err(NotATarget::Empty);
        }
        if text.contains([':', '[', ']']) {
            return Err(NotATarget::Brackets);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !name.bytes().all(is_fine) {
            return Err(NotATarget::Characters);
        }
        let is_label = |label: &str| (1..=63).contains(&label.len());
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(NotATarget::Length);
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        if !last.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(NotATarget::Number);
        }
        Ok(Self::Name(name.to_ascii_lowercase()))
    }

    /// The Service that a name stands for in a cluster: `name.namespace.svc`, also with the cluster's
    /// domain behind it. Shorter forms depend on who asks, so they are ordinary names.
    #[must_use]
    pub fn service(&self, cluster_domain: &str) -> Option<ServiceName> {
        let Self::Name(host) = self else {
            return None;
        };
        let (name, rest) = host.split_once('.')?;
        let (namespace, rest) = rest.split_once('.')?;
        let domain = rest.strip_prefix("svc")?;
        let is_ours = domain.is_empty() || domain.strip_prefix('.') == Some(cluster_domain);
        let is_fine = is_ours && is_dns_label(name) && is_dns_label(namespace);
        is_fine.then(|| ServiceName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// As RFC 1123 has it; the length is a label's already.
fn is_dns_label(text: &str) -> bool {
    !text.contains('_') && !text.starts_with('-') && !text.ends_with('-')
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: Host::Address(address.ip()),
            port: address.port(),
        }
    }
}

/// As a client writes it in a request.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{port}"),
            host => write!(f, "{host}:{port}"),
        }
    }
}

/// Without brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests;
