//! Pure. Flags and environment to typed values; nothing deeper reads either.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::sync::InProcess;

pub mod args;

/// What a data plane needs to know of its surroundings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where operators are.
    pub operators: Vec<OperatorAddress>,
    /// How those of other processes are spoken with.
    pub transport: Transport,
    /// Whose forwards are served.
    pub pool: String,
    /// Name of the pod; absent: the host's name.
    pub pod: Option<String>,
    /// Uid of the pod; absent: a random one.
    pub pod_uid: Option<String>,
    /// Name of the node; empty: unknown.
    pub node: String,
    /// Where forwards without an address listen.
    pub bind: IpAddr,
    /// Worker threads; absent: one per core.
    pub threads: Option<NonZeroUsize>,
    /// Folder of the last good snapshot.
    pub state_dir: Option<PathBuf>,
    /// Where `App::run` serves /livez, /readyz and /metrics; absent: nowhere.
    pub health: Option<SocketAddr>,
    /// Where `App::run` serves /debug/…; absent: nowhere.
    pub admin: Option<SocketAddr>,
    /// Addresses that no forward may take, beside `health` and `admin`.
    pub reserved: Vec<Reserved>,
    /// Whom to ask for names of targets; empty: those of /etc/resolv.conf.
    pub dns_servers: Vec<SocketAddr>,
    /// After the signal: how long connections are still accepted.
    pub drain_delay: Duration,
    /// How long sessions may go on after that.
    pub drain_timeout: Duration,
}

impl Config {
    /// The defaults of every option, for a caller that has no command line.
    #[must_use]
    pub fn new(operators: Vec<OperatorAddress>) -> Self {
        Self {
            operators,
            transport: Transport::Insecure,
            pool: "default".to_owned(),
            pod: None,
            pod_uid: None,
            node: String::new(),
            bind: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            threads: None,
            state_dir: None,
            health: None,
            admin: None,
            reserved: Vec::new(),
            dns_servers: Vec::new(),
            drain_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
        }
    }

    /// All addresses that no forward may take.
    #[must_use]
    pub fn all_reserved(&self) -> Vec<Reserved> {
        let own = [("--health", self.health), ("--admin", self.admin)];
        own.into_iter()
            .filter_map(|(holder, address)| {
                Some(Reserved {
                    holder,
                    address: address?,
                })
            })
            .chain(self.reserved.iter().copied())
            .collect()
    }
}

/// How an operator of another process is spoken with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By TLS, with a token that says who we are.
    Identity(Credentials),
    /// In plain text, so with loopback addresses only.
    Insecure,
}

/// Files that say who the operator is and who we are; read at each connect, so that a rotation
/// needs no restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The authorities that sign the operator's certificate, in PEM.
    pub operator_ca: PathBuf,
    /// A projected token of the ServiceAccount.
    pub token: PathBuf,
}

/// An address that the program itself listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The option that says so.
    pub holder: &'static str,
    /// The address.
    pub address: SocketAddr,
}

/// Where an operator can be reached.
#[derive(Clone, Debug)]
pub enum OperatorAddress {
    /// In this process: each connect makes a pair and sends one end here.
    Duplex(InProcess),
    /// By a name, which stands for all its addresses, or by an address.
    Name(HostPort),
}

/// A name or address and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// Name or IP address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl HostPort {
    pub(crate) fn is_remote_literal(&self) -> bool {
        self.host
            .parse::<IpAddr>()
            .is_ok_and(|ip| !ip.to_canonical().is_loopback())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected HOST:PORT, with brackets around an IPv6 address".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let port: u16 = port.parse().map_err(|_| expected())?;
        if host.is_empty() || port == 0 || (bare.is_none() && host.contains(':')) {
            return Err(expected());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}
