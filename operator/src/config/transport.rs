//! Pure. How data planes are spoken with: encrypted and checked, or, if that is asked for, neither.

use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::DnsName;
use tcpforward_process::duration;

use crate::identity::rotation::Lifetimes;

/// The part of the command line about identity.
#[derive(Clone, Debug, clap::Args)]
// Its name is that of the whole command line, too.
#[group(skip)]
pub struct Args {
    /// DNS name that data planes dial, which the certificate is for; repeatable.
    #[arg(
        long = "server-name",
        value_delimiter = ',',
        value_parser = server_name,
        env = "TCPFORWARD_SERVER_NAME"
    )]
    pub server_names: Vec<String>,
    /// Secret with the certificates that the operator makes, in the namespace of the Lease.
    #[arg(
        long,
        default_value = "tcpforward-operator-tls",
        env = "TCPFORWARD_TLS_SECRET"
    )]
    pub tls_secret: String,
    /// ConfigMap with the authorities that data planes trust, in each of their namespaces.
    #[arg(
        long,
        default_value = "tcpforward-operator-ca",
        env = "TCPFORWARD_CA_CONFIG_MAP"
    )]
    pub ca_config_map: String,
    /// How long a certificate that the operator makes is valid; it is renewed at two thirds.
    #[arg(
        long,
        default_value = "720h",
        value_parser = duration::parse,
        env = "TCPFORWARD_CERTIFICATE_LIFETIME"
    )]
    pub certificate_lifetime: Duration,
    /// The same for the authority that signs them; its successor is made at two thirds, and
    /// published for a twelfth, at most a day, before it signs.
    #[arg(
        long,
        default_value = "8760h",
        value_parser = duration::parse,
        env = "TCPFORWARD_CA_LIFETIME"
    )]
    pub ca_lifetime: Duration,
    /// File with a certificate to show instead, and its chain, in PEM; read again when it changes.
    #[arg(long, env = "TCPFORWARD_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// File with its key.
    #[arg(long, env = "TCPFORWARD_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// File with the authorities that signed it, to be published; absent: data planes have them.
    #[arg(long, env = "TCPFORWARD_TLS_CA")]
    pub tls_ca: Option<PathBuf>,
    /// Speak in plain text with anyone, on a loopback address; for development only.
    #[arg(long, env = "TCPFORWARD_INSECURE_TRANSPORT")]
    pub insecure_transport: bool,
}

/// How data planes are spoken with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By TLS 1.3, and only with whom the API server knows.
    Identity(Identity),
    /// In plain text with anyone, so on loopback only.
    Insecure,
}

/// Who the operator is. Who may be a data plane is for DataPlanes to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// DNS names that data planes dial.
    pub server_names: Vec<String>,
    /// Name of the ConfigMaps.
    pub ca_config_map: String,
    /// Where the certificate comes from.
    pub certificate: Certificate,
}

/// Where the operator's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Files in PEM.
    Given {
        /// With its chain.
        certificate: PathBuf,
        /// Of the certificate.
        key: PathBuf,
        /// Who signed it.
        authorities: Option<PathBuf>,
    },
    /// Made by the operator.
    Made {
        /// Name of the Secret that keeps it.
        secret: String,
        /// How long it lasts.
        lifetimes: Lifetimes,
    },
}

/// Options that don't go together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody could verify the certificate.
    #[error(
        "--server-name is missing: say the name that data planes dial, like tcpforward-operator.tcpforward-system.svc, or, for development on one machine, --insecure-transport"
    )]
    NoName,
    /// Half a certificate.
    #[error("{there} needs {missing}")]
    Needs {
        /// What is there.
        there: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// Nothing could be renewed in time.
    #[error("{flag}: expected at least {least}, and no certificate longer than its authority")]
    Lifetime {
        /// Which.
        flag: &'static str,
        /// What would do.
        least: &'static str,
    },
    /// Plain text was asked for, with something that only makes sense without it.
    #[error("--insecure-transport and {other}: choose one")]
    Insecure {
        /// The other flag.
        other: &'static str,
    },
}

impl TryFrom<Args> for Transport {
    type Error = Error;

    fn try_from(args: Args) -> Result<Self, Error> {
        if args.insecure_transport {
            let others = [
                ("--server-name", !args.server_names.is_empty()),
                ("--tls-cert", args.tls_cert.is_some()),
            ];
            return match others.into_iter().find(|(_, there)| *there) {
                Some((other, _)) => Err(Error::Insecure { other }),
                None => Ok(Self::Insecure),
            };
        }
        if args.server_names.is_empty() {
            return Err(Error::NoName);
        }
        Ok(Self::Identity(Identity {
            server_names: args.server_names.clone(),
            ca_config_map: args.ca_config_map.clone(),
            certificate: certificate(args)?,
        }))
    }
}

/// Less, and a look every second could come too late.
const SHORTEST: Duration = Duration::from_secs(30);

fn certificate(args: Args) -> Result<Certificate, Error> {
    match (args.tls_cert, args.tls_key, args.tls_ca) {
        (Some(certificate), Some(key), authorities) => {
            return Ok(Certificate::Given {
                certificate,
                key,
                authorities,
            });
        }
        (None, None, None) => {}
        (there, None, _) => {
            let there = there.map_or("--tls-ca", |_| "--tls-cert");
            return Err(Error::Needs {
                there,
                missing: "--tls-key",
            });
        }
        (None, Some(_), _) => {
            return Err(Error::Needs {
                there: "--tls-key",
                missing: "--tls-cert",
            });
        }
    }
    if args.certificate_lifetime < SHORTEST {
        return Err(Error::Lifetime {
            flag: "--certificate-lifetime",
            least: "30s",
        });
    }
    if args.ca_lifetime < args.certificate_lifetime.saturating_mul(2) {
        return Err(Error::Lifetime {
            flag: "--ca-lifetime",
            least: "twice --certificate-lifetime",
        });
    }
    Ok(Certificate::Made {
        secret: args.tls_secret,
        lifetimes: Lifetimes {
            certificate: args.certificate_lifetime,
            authority: args.ca_lifetime,
        },
    })
}

fn server_name(text: &str) -> Result<String, String> {
    match DnsName::try_from(text) {
        Ok(name) => Ok(name.as_ref().to_ascii_lowercase()),
        Err(_) => Err("expected a DNS name".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }

    fn transport(arguments: &[&str]) -> Result<Transport, String> {
        let all = ["operator"].iter().chain(arguments);
        let program = Program::try_parse_from(all).map_err(|error| error.to_string())?;
        Transport::try_from(program.args).map_err(|error| error.to_string())
    }

    const NAME: [&str; 2] = ["--server-name", "op.sys.svc"];

    fn with(arguments: &[&str]) -> Result<Transport, String> {
        transport(&[&NAME, arguments].concat())
    }

    #[test]
    fn certificates_are_made_unless_they_are_given() {
        let Ok(Transport::Identity(made)) = with(&[]) else {
            panic!("not made");
        };
        assert_eq!(made.server_names, ["op.sys.svc"]);
        let lifetimes = Lifetimes {
            certificate: Duration::from_secs(30 * 24 * 3600),
            authority: Duration::from_secs(365 * 24 * 3600),
        };
        let secret = "tcpforward-operator-tls".to_owned();
        assert_eq!(made.certificate, Certificate::Made { secret, lifetimes });
        let Ok(Transport::Identity(given)) = with(&["--tls-cert", "c", "--tls-key", "k"]) else {
            panic!("not given");
        };
        let expected = Certificate::Given {
            certificate: "c".into(),
            key: "k".into(),
            authorities: None,
        };
        assert_eq!(given.certificate, expected);
    }

    #[test]
    fn plain_text_is_a_choice_and_never_the_default() {
        assert_eq!(
            transport(&["--insecure-transport"]),
            Ok(Transport::Insecure)
        );
        assert!(transport(&[]).unwrap_err().contains("--insecure-transport"));
        let both = with(&["--insecure-transport"]).unwrap_err();
        assert!(both.contains("choose one"), "{both}");
    }

    #[test]
    fn every_refusal_names_its_flag() {
        let table: [(&[&str], &str); 6] = [
            (&["--tls-cert", "c"], "--tls-cert needs --tls-key"),
            (&["--tls-key", "k"], "--tls-key needs --tls-cert"),
            (&["--tls-ca", "a"], "--tls-ca needs --tls-key"),
            (&["--certificate-lifetime", "1s"], "--certificate-lifetime"),
            (&["--ca-lifetime", "721h"], "--ca-lifetime"),
            (&["--server-name", "10.0.0.1:9"], "--server-name"),
        ];
        for (arguments, expected) in table {
            let refused = with(arguments).unwrap_err();
            assert!(refused.contains(expected), "{arguments:?}: {refused}");
        }
        let nameless = transport(&[]).unwrap_err();
        assert!(nameless.contains("--server-name"), "{nameless}");
    }
}
