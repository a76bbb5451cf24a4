//! Pure. The command line, and what is wrong with one.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use tcpforward_process::{duration, log};

use super::{Config, Credentials, HostPort, OperatorAddress, Transport};

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
    /// File with the authorities that sign the operator's certificate, in PEM; read at each connect.
    /// The certificate must be for the name in --operator.
    #[arg(long, env = "TCPFORWARD_OPERATOR_CA")]
    pub operator_ca: Option<PathBuf>,
    /// File with a projected ServiceAccount token for the audience tcpforward; read at each connect.
    #[arg(long, env = "TCPFORWARD_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Speak with operators in plain text, on loopback addresses; for development only.
    #[arg(long, env = "TCPFORWARD_INSECURE_TRANSPORT")]
    pub insecure_transport: bool,
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
        let transport = transport(&args)?;
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
            transport,
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

fn transport(args: &Args) -> Result<Transport, Error> {
    let insecure = args.insecure_transport;
    match (&args.operator_ca, &args.token_file) {
        (None, None) if insecure => match args.operators.iter().find(|o| o.is_remote_literal()) {
            Some(operator) => Err(Error::PlainText {
                operator: operator.clone(),
            }),
            None => Ok(Transport::Insecure),
        },
        _ if insecure => Err(Error::Insecure),
        (Some(operator_ca), Some(token)) => {
            if args.pod_uid.is_none() {
                return Err(Error::NoUid);
            }
            Ok(Transport::Identity(Credentials {
                operator_ca: operator_ca.clone(),
                token: token.clone(),
            }))
        }
        (None, _) => Err(Error::NoIdentity {
            missing: "--operator-ca",
        }),
        (_, None) => Err(Error::NoIdentity {
            missing: "--token-file",
        }),
    }
}

/// A command line that can't work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Plain text was asked for, and what only makes sense without it.
    #[error("--insecure-transport and --operator-ca or --token-file: choose one")]
    Insecure,
    /// Neither could tell who the other is.
    #[error(
        "{missing} is missing: operators are spoken with by TLS and a token; for development on one machine, say --insecure-transport"
    )]
    NoIdentity {
        /// The option.
        missing: &'static str,
    },
    /// A token is bound to a pod, and only that one may use it.
    #[error("--token-file needs --pod-uid: set it by the downward API, from metadata.uid")]
    NoUid,
    /// A name that is empty or too long.
    #[error("{key}: expected 1 to 253 characters")]
    Length {
        /// The option.
        key: &'static str,
    },
    /// An operator elsewhere, without TLS.
    #[error(
        "--operator is {operator}: with --insecure-transport only loopback addresses are dialled"
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
        let config = config(&["--operator", "localhost:9900", "--insecure-transport"]).unwrap();
        assert_eq!(config.transport, Transport::Insecure);
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
        let ok = ["--operator", "localhost:9900", "--insecure-transport"];
        let cases: [(&[&str], &str); 9] = [
            (&[], "--operator"),
            (&["--operator", "x"], "--operator"),
            (&["--operator", "::1:9900"], "--operator"),
            (
                &["--operator", "10.0.0.1:9900", "--insecure-transport"],
                "loopback",
            ),
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
    fn identity_is_the_default_and_whole() {
        let with =
            |options: &[&str]| config(&[&["--operator", "op.sys.svc:9900"], options].concat());
        let (ca, token) = (["--operator-ca", "ca"], ["--token-file", "t"]);
        let uid = ["--pod-uid", "u"];
        let whole = with(&[ca, token, uid].concat()).unwrap();
        let expected = Credentials {
            operator_ca: "ca".into(),
            token: "t".into(),
        };
        assert_eq!(whole.transport, Transport::Identity(expected));
        let plain = ["--insecure-transport"];
        for (options, name) in [
            (vec![], "--insecure-transport"),
            (token.to_vec(), "--operator-ca is missing"),
            (ca.to_vec(), "--token-file is missing"),
            ([ca, token].concat(), "--pod-uid"),
            ([&ca[..], &plain].concat(), "choose one"),
        ] {
            let text = with(&options).unwrap_err();
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
