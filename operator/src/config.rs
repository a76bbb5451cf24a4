//! Pure. Flags and environment to typed values; nothing deeper reads either.

use std::net::SocketAddr;

use ipnet::IpNet;
use tcpforward_process::log;
use tcpforward_protocol::snapshot::{HostPattern, NotAHostPattern};

use crate::validate::metadata::is_word;
use crate::watch::Scope;

pub mod transport;

use transport::Transport;

/// The domain of a cluster that was given no other one, and of `tcpforward run`.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// The command line of the operator.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "operator",
    version,
    about = "Tells data planes what TcpForwards ask for"
)]
pub struct Args {
    /// Address that data planes dial; a loopback one with --insecure-transport.
    #[arg(long, default_value = "127.0.0.1:9900", env = "TCPFORWARD_PUSH")]
    pub push: SocketAddr,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, default_value = "127.0.0.1:9902", env = "TCPFORWARD_HEALTH")]
    pub health: SocketAddr,
    /// Address of /debug/forwards and /debug/dataplanes.
    #[arg(long, default_value = "127.0.0.1:9903", env = "TCPFORWARD_ADMIN")]
    pub admin: SocketAddr,
    /// Namespaces to watch, separated by commas; absent: all.
    #[arg(long, value_delimiter = ',', env = "TCPFORWARD_WATCH_NAMESPACES")]
    pub watch_namespaces: Vec<String>,
    /// Domain of the cluster: clients of a CONNECT proxy reach Services as NAME.NAMESPACE.svc and
    /// as NAME.NAMESPACE.svc.DOMAIN.
    #[arg(long, default_value = CLUSTER_DOMAIN, env = "TCPFORWARD_CLUSTER_DOMAIN")]
    pub cluster_domain: String,
    /// Networks of the cluster's pods, Services and nodes that it does not say itself, separated by
    /// commas; repeatable. Only Services lead there, and DataPlanes with addressTargets: Any.
    #[arg(
        long = "cluster-cidr",
        value_delimiter = ',',
        value_parser = network,
        env = "TCPFORWARD_CLUSTER_CIDR"
    )]
    pub cluster_cidrs: Vec<IpNet>,
    /// Namespace of the Lease and of the Secret with the certificates; with --watch-namespaces, only DataPlanes
    /// with pods there get a status.
    #[arg(long, default_value = "default", env = "POD_NAMESPACE")]
    pub lease_namespace: String,
    /// Name of the Lease; replicas that share it share the work.
    #[arg(
        long,
        default_value = "tcpforward-operator",
        env = "TCPFORWARD_LEASE_NAME"
    )]
    pub lease_name: String,
    /// Name of this replica in the Lease; absent: the host's name and a random part.
    #[arg(long, env = "TCPFORWARD_IDENTITY")]
    pub identity: Option<String>,
    /// Who the operator is to data planes, and they to it.
    #[command(flatten)]
    pub transport: transport::Args,
    /// Logs.
    #[command(flatten)]
    pub log: log::Options,
}

/// What an operator needs to know of its surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where data planes dial.
    pub push: SocketAddr,
    /// Where /livez, /readyz and /metrics are.
    pub health: SocketAddr,
    /// Where /debug/… is.
    pub admin: SocketAddr,
    /// What is watched.
    pub scope: Scope,
    /// The cluster's domain, in lower case.
    pub cluster_domain: String,
    /// Networks of the cluster that it does not say itself.
    pub cluster_cidrs: Vec<IpNet>,
    /// Namespace of the Lease.
    pub lease_namespace: String,
    /// Name of the Lease.
    pub lease_name: String,
    /// Name of this replica; absent: made at the start.
    pub identity: Option<String>,
    /// How data planes are spoken with.
    pub transport: Transport,
}

/// A value that can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a name that Kubernetes would take.
    #[error(
        "{flag} is {value:?}: expected 1 to {longest} characters of a-z, 0-9 and '-', with a letter or digit at both ends"
    )]
    Name {
        /// Which flag.
        flag: &'static str,
        /// As given.
        value: String,
        /// Characters at most.
        longest: usize,
    },
    /// No name of DNS.
    #[error("--cluster-domain is {value:?}: {source}")]
    ClusterDomain {
        /// As given.
        value: String,
        /// What is expected.
        source: NotAHostPattern,
    },
    /// Longer than the API server stores.
    #[error("--identity has {length} characters: expected 1 to 128")]
    Identity {
        /// How many.
        length: usize,
    },
    /// Two pages on one address.
    #[error("{first} and {second} are both {address}: give each its own port")]
    Same {
        /// One flag.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// What both say.
        address: SocketAddr,
    },
    /// Options about identity that don't go together.
    #[error(transparent)]
    Transport(#[from] transport::Error),
}

impl TryFrom<Args> for Config {
    type Error = Error;

    fn try_from(args: Args) -> Result<Self, Error> {
        for namespace in &args.watch_namespaces {
            check_name("--watch-namespaces", namespace, 63)?;
        }
        check_domain(&args.cluster_domain)?;
        check_name("--lease-namespace", &args.lease_namespace, 63)?;
        check_name("--lease-name", &args.lease_name, 253)?;
        if let Some(identity) = &args.identity
            && !(1..=128).contains(&identity.len())
        {
            return Err(Error::Identity {
                length: identity.len(),
            });
        }
        let pairs = [
            ("--push", args.push, "--health", args.health),
            ("--push", args.push, "--admin", args.admin),
            ("--health", args.health, "--admin", args.admin),
        ];
        for (first, address, second, other) in pairs {
            if address == other && address.port() != 0 {
                return Err(Error::Same {
                    first,
                    second,
                    address,
                });
            }
        }
        let mut namespaces = args.watch_namespaces;
        namespaces.sort();
        namespaces.dedup();
        Ok(Self {
            push: args.push,
            health: args.health,
            admin: args.admin,
            scope: match namespaces.as_slice() {
                [] => Scope::All,
                _ => Scope::Namespaces(namespaces),
            },
            cluster_domain: args.cluster_domain,
            cluster_cidrs: args.cluster_cidrs,
            lease_namespace: args.lease_namespace,
            lease_name: args.lease_name,
            identity: args.identity,
            transport: args.transport.try_into()?,
        })
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().map(|network| network.trunc());
    network.map_err(|_| "expected a network in CIDR notation, like 10.244.0.0/16".to_owned())
}

fn check_domain(value: &str) -> Result<(), Error> {
    let refused = |source| Error::ClusterDomain {
        value: value.to_owned(),
        source,
    };
    match HostPattern::parse(value).map_err(refused)? {
        HostPattern::Exact(_) => Ok(()),
        HostPattern::Any | HostPattern::Below(_) => Err(refused(NotAHostPattern)),
    }
}

fn check_name(flag: &'static str, value: &str, longest: usize) -> Result<(), Error> {
    if value.len() <= longest && is_word(value) {
        return Ok(());
    }
    Err(Error::Name {
        flag,
        value: value.to_owned(),
        longest,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn config(arguments: &[&str]) -> Result<Config, String> {
        let all = ["operator", "--insecure-transport"];
        let all = all.iter().chain(arguments);
        let args = Args::try_parse_from(all).map_err(|error| error.to_string())?;
        Config::try_from(args).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_loopback_and_all_namespaces() {
        let config = config(&[]).unwrap();
        assert_eq!(config.push, "127.0.0.1:9900".parse().unwrap());
        assert_eq!(config.scope, Scope::All);
        assert_eq!(config.cluster_domain, "cluster.local");
        assert_eq!(config.lease_name, "tcpforward-operator");
    }

    #[test]
    fn networks_are_networks() {
        let config = config(&[
            "--cluster-cidr",
            "10.244.1.0/16,fd00::/48",
            "--cluster-cidr",
            "10.0.0.1/32",
        ]);
        let expected = ["10.244.0.0/16", "fd00::/48", "10.0.0.1/32"];
        let expected = expected.map(|text| text.parse::<IpNet>().unwrap());
        assert_eq!(config.unwrap().cluster_cidrs, expected);
    }

    #[test]
    fn namespaces_are_a_set() {
        let scope = config(&["--watch-namespaces", "b,a,b"]).unwrap().scope;
        assert_eq!(
            scope,
            Scope::Namespaces(vec!["a".to_owned(), "b".to_owned()])
        );
    }

    #[test]
    fn every_refusal_names_its_flag() {
        for (arguments, expected) in [
            (["--push", "nowhere"], "--push"),
            (["--watch-namespaces", "a,B"], "--watch-namespaces is \"B\""),
            (["--cluster-cidr", "10.0.0.0"], "--cluster-cidr"),
            (["--lease-namespace", ""], "--lease-namespace is \"\""),
            (["--lease-name", "x-"], "--lease-name is \"x-\""),
            (["--identity", ""], "--identity"),
            (
                ["--cluster-domain", "cluster.local."],
                "--cluster-domain is \"cluster.local.\"",
            ),
            (["--cluster-domain", "*.local"], "--cluster-domain is"),
            (
                ["--health", "127.0.0.1:9900"],
                "--push and --health are both 127.0.0.1:9900",
            ),
        ] {
            let refused = config(&arguments).unwrap_err();
            assert!(refused.contains(expected), "{arguments:?}: {refused}");
        }
    }
}
