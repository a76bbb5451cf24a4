//! Pure. The command line, and what is wrong with one.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use tcpforward_process::{duration, log};

use super::{Config, HostPort, OperatorAddress};

/// The command line of the data plane.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "dataplane",
    version,
    about = "Forwards TCP as the operator says"
)]
pub struct Args {
    /// An operator, as HOST:PORT; repeatable. A name stands for all its addresses.
    #[arg(
        long = "operator",
        env = "TCPFORWARD_OPERATOR",
        value_delimiter = ',',
        required = true
    )]
    pub operators: Vec<HostPort>,
    /// Whose forwards are served.
    #[arg(long, default_value = "default", env = "TCPFORWARD_POOL")]
    pub pool: String,
    /// Name of the pod; absent: the host's name.
    #[arg(long, env = "TCPFORWARD_POD")]
    pub pod: Option<String>,
    /// Uid of the pod; absent: a random one, once per process.
    #[arg(long, env = "TCPFORWARD_POD_UID")]
    pub pod_uid: Option<String>,
    /// Name of the node.
    #[arg(long, default_value = "", env = "TCPFORWARD_NODE")]
    pub node: String,
    /// Where forwards without an address listen; [::] takes IPv6 and IPv4.
    #[arg(long, default_value = "[::]", value_parser = ip, env = "TCPFORWARD_BIND")]
    pub bind: IpAddr,
    /// Worker threads; absent: one per core.
    #[arg(long, env = "TCPFORWARD_THREADS")]
    pub threads: Option<NonZeroUsize>,
    /// Folder that keeps the last good snapshot; absent: it isn't kept.
    #[arg(long, env = "TCPFORWARD_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, default_value = "[::]:9904", env = "TCPFORWARD_HEALTH")]
    pub health: SocketAddr,
    /// Address of /debug/forwards.
    #[arg(long, default_value = "127.0.0.1:9905", env = "TCPFORWARD_ADMIN")]
    pub admin: SocketAddr,
    /// A DNS server for names of targets, as IP:PORT; repeatable. Absent: /etc/hosts and those of
    /// /etc/resolv.conf.
    #[arg(
        long = "dns-server",
        env = "TCPFORWARD_DNS_SERVER",
        value_delimiter = ','
    )]
    pub dns_servers: Vec<SocketAddr>,
    /// After SIGTERM: how long connections are still accepted.
    #[arg(long, default_value = "5s", value_parser = duration::parse, env = "TCPFORWARD_DRAIN_DELAY")]
    pub drain_delay: Duration,
    /// How long sessions may go on after that.
    #[arg(long, default_value = "30s", value_parser = duration::parse, env = "TCPFORWARD_DRAIN_TIMEOUT")]
    pub drain_timeout: Duration,
    /// Logs.
    #[command(flatten)]
    pub log: log::Options,
}

impl TryFrom<Args> for Config {
    type Error = Error;

    fn try_from(args: Args) -> Result<Self, Error> {
        for (key, value) in [("--pool", Some(&args.pool)), ("--pod", args.pod.as_ref())] {
            if value.is_some_and(|v| v.is_empty() || v.len() > 253) {
                return Err(Error::Length { key });
            }
        }
        if args
            .pod_uid
            .as_ref()
            .is_some_and(|v| v.is_empty() || v.len() > 253)
        {
            return Err(Error::Length { key: "--pod-uid" });
        }
        if let Some(operator) = args.operators.iter().find(|o| o.is_remote_literal()) {
            return Err(Error::PlainText {
                operator: operator.clone(),
            });
        }
        if args.health == args.admin {
            return Err(Error::SameAddress {
                address: args.health,
            });
        }
        Ok(Self {
            operators: args
                .operators
                .into_iter()
                .map(OperatorAddress::Name)
                .collect(),
            pool: args.pool,
            pod: args.pod,
            pod_uid: args.pod_uid,
            node: args.node,
            bind: args.bind,
            threads: args.threads,
            state_dir: args.state_dir,
            health: Some(args.health),
            admin: Some(args.admin),
            reserved: Vec::new(),
            dns_servers: args.dns_servers,
            drain_delay: args.drain_delay,
            drain_timeout: args.drain_timeout,
        })
    }
}

/// A command line that can't work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// A name that is empty or too long.
    #[error("{key}: expected 1 to 253 characters")]
    Length {
        /// The option.
        key: &'static str,
    },
    /// An operator elsewhere, without TLS.
    #[error(
        "--operator is {operator}: plain text is spoken with loopback addresses only, and there is no TLS yet"
    )]
    PlainText {
        /// As given.
        operator: HostPort,
    },
    /// One address for two listeners.
    #[error("--health and --admin are both {address}: give one of them another port")]
    SameAddress {
        /// The address.
        address: SocketAddr,
    },
}

fn ip(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    bare.unwrap_or(text)
        .parse()
        .map_err(|_| "expected an IP address".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use std::net::Ipv6Addr;

    use super::*;

    fn config(options: &[&str]) -> Result<Config, String> {
        let args = Args::try_parse_from([&["dataplane"], options].concat());
        let args = args.map_err(|e| e.to_string())?;
        Config::try_from(args).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults_are_as_documented() {
        let config = config(&["--operator", "localhost:9900"]).unwrap();
        assert_eq!(config.pool, "default");
        assert_eq!(config.bind, IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        assert_eq!(config.health, Some("[::]:9904".parse().unwrap()));
        assert_eq!(config.admin, Some("127.0.0.1:9905".parse().unwrap()));
        assert_eq!(config.drain_delay, Duration::from_secs(5));
        assert_eq!(config.drain_timeout, Duration::from_secs(30));
        assert_eq!(config.all_reserved().len(), 2);
    }

    #[test]
    fn a_bad_option_is_named() {
        let ok = ["--operator", "localhost:9900"];
        let cases: [(&[&str], &str); 9] = [
            (&[], "--operator"),
            (&["--operator", "x"], "--operator"),
            (&["--operator", "::1:9900"], "--operator"),
            (&["--operator", "10.0.0.1:9900"], "plain text"),
            (&["--dns-server", "localhost:53"], "--dns-server"),
            (&["--drain-delay", "5"], "--drain-delay"),
            (&["--threads", "0"], "--threads"),
            (&["--pool", ""], "--pool"),
            (&["--health", "127.0.0.1:9905"], "--admin"),
        ];
        for (options, name) in cases {
            let all = if options.first() == Some(&"--operator") || options.is_empty() {
                options.to_vec()
            } else {
                [&ok[..], options].concat()
            };
            let text = config(&all).unwrap_err();
            assert!(text.contains(name), "{options:?}: {text}");
        }
    }

    #[test]
    fn an_operator_is_a_name_or_an_address() {
        for text in ["localhost:1", "127.0.0.1:1", "[::1]:65535"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
    }
}
