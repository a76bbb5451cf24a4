//! Edge. The way to an operator elsewhere: encrypted, to whom the authorities vouch for, with our
//! own word of who we are.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::metadata::{Ascii, MetadataValue};

use crate::config::Credentials;

/// Why an operator is not spoken with.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("--operator-ca is {}: no certificate in it", path.display())]
    Empty { path: PathBuf },
    #[error("{option} is {}: can't read it", path.display())]
    File {
        option: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{host} is neither a name nor an address")]
    Host {
        host: String,
        source: InvalidDnsNameError,
    },
    #[error("can't reach it")]
    Reach(#[source] io::Error),
    #[error("--operator-ca is {}: not certificates in PEM", path.display())]
    Pem { path: PathBuf, source: pem::Error },
    #[error("can't speak TLS")]
    Tls(#[from] rustls::Error),
    #[error("--token-file is {}: no token in it", path.display())]
    Token { path: PathBuf },
    #[error("it does not show a certificate for {host} that {} vouches for", path.display())]
    Untrusted {
        host: String,
        path: PathBuf,
        source: io::Error,
    },
}

impl Error {
    /// Whether nobody was there, which is usual while replicas come and go.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Reach(_))
    }
}

/// An operator's address, the name that its certificate is for, and what it takes to speak with it.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) address: SocketAddr,
    pub(crate) host: String,
    pub(crate) credentials: Arc<Credentials>,
}

impl Checked {
    /// Connects, with the authorities as they are now.
    pub(super) async fn connect(&self) -> Result<TokioIo<TlsStream<TcpStream>>, Error> {
        let connector = TlsConnector::from(Arc::new(self.config()?));
        let host = ServerName::try_from(self.host.clone()).map_err(|source| Error::Host {
            host: self.host.clone(),
            source,
        })?;
        let tcp = TcpStream::connect(self.address).await;
        let tcp = tcp.map_err(Error::Reach)?;
        tcp.set_nodelay(true).map_err(Error::Reach)?;
        let shaken = connector.connect(host, tcp).await;
        shaken.map(TokioIo::new).map_err(|source| match source {
            source if source.get_ref().is_some_and(|e| e.is::<rustls::Error>()) => {
                Error::Untrusted {
                    host: self.host.clone(),
                    path: self.credentials.operator_ca.clone(),
                    source,
                }
            }
            source => Error::Reach(source),
        })
    }

    /// TLS 1.3 only; a new one each time, so that nothing of an earlier connection is believed.
    fn config(&self) -> Result<ClientConfig, Error> {
        let path = &self.credentials.operator_ca;
        let text = read("--operator-ca", path)?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let path = path.clone();
            roots.add(certificate.map_err(|source| Error::Pem { path, source })?)?;
        }
        if roots.is_empty() {
            return Err(Error::Empty { path: path.clone() });
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// The token as it is now, as a request carries it.
    pub(super) fn authorization(&self) -> Result<MetadataValue<Ascii>, Error> {
        let path = &self.credentials.token;
        let text = read("--token-file", path)?;
        let missing = || Error::Token { path: path.clone() };
        let token = text.trim();
        if token.is_empty() {
            return Err(missing());
        }
        let mut value =
            MetadataValue::try_from(format!("Bearer {token}")).map_err(|_| missing())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn read(option: &'static str, path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::File {
        option,
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(folder: &Path) -> Checked {
        Checked {
            address: SocketAddr::from(([127, 0, 0, 1], 9)),
            host: "op.sys.svc".to_owned(),
            credentials: Arc::new(Credentials {
                operator_ca: folder.join("ca.crt"),
                token: folder.join("token"),
            }),
        }
    }

    #[test]
    fn the_token_is_read_each_time_and_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let checked = checked(folder.path());
        let text = || checked.authorization().map_err(|error| error.to_string());
        assert!(text().unwrap_err().starts_with("--token-file is "));
        for token in ["one", "two"] {
            std::fs::write(&checked.credentials.token, format!("{token}\n")).unwrap();
            let value = text().unwrap();
            assert_eq!(value.to_str().unwrap(), format!("Bearer {token}"));
            assert!(!format!("{value:?}").contains(token));
        }
        for bad in ["", "a\u{7f}b", "\n"] {
            std::fs::write(&checked.credentials.token, bad).unwrap();
            assert!(text().unwrap_err().ends_with("no token in it"), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn without_authorities_nobody_is_dialled() {
        let folder = tempfile::tempdir().unwrap();
        let checked = checked(folder.path());
        let mut texts = Vec::new();
        for content in [None, Some(""), Some("-----BEGIN CERTIFICATE-----\nx")] {
            if let Some(content) = content {
                std::fs::write(&checked.credentials.operator_ca, content).unwrap();
            }
            let error = checked.connect().await.err().unwrap();
            assert!(!error.is_absence());
            texts.push(error.to_string());
        }
        assert!(
            texts.iter().all(|text| text.starts_with("--operator-ca")),
            "{texts:?}"
        );
    }
}
