//! Edge. A client of the operator's push that needs to be no data plane: HTTP/2 over TLS, by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::client;

/// A review of a token takes up to 5 s.
const DEADLINE: Duration = Duration::from_secs(15);

/// The name that the operators of tests have certificates for.
pub const HOST: &str = "localhost";

/// What an operator answers before it says anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// Of gRPC, if the answer ends with its head.
    pub code: Option<u16>,
    /// For people, if there is one.
    pub message: String,
}

/// Connects by TLS 1.3, trusting these authorities only, and posts an empty body to a path.
///
/// # Errors
/// The handshake fails, or there is no answer in time.
pub async fn post(
    address: SocketAddr,
    authorities: &str,
    path: &str,
    content_type: &str,
    token: Option<&str>,
) -> Result<Answer> {
    let answer = ask(address, authorities, path, content_type, token);
    timeout(DEADLINE, answer)
        .await
        .context("no answer in time")?
}

async fn ask(
    address: SocketAddr,
    authorities: &str,
    path: &str,
    content_type: &str,
    token: Option<&str>,
) -> Result<Answer> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        roots.add(certificate?)?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = client::dial(address).await?;
    let tls = TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from(HOST)?, tcp)
        .await
        .context("the handshake")?;
    let io = TokioIo::new(tls);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
    let mut request =
        Request::post(format!("https://{HOST}{path}")).header(CONTENT_TYPE, content_type);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let sent = sender.send_request(request.body(Empty::<Bytes>::new())?);
    let response = tokio::select! {
        response = sent => response?,
        ended = connection => {
            ended?;
            anyhow::bail!("the connection has ended");
        }
    };
    let header = |name| {
        let value = response.headers().get(name);
        value.and_then(|value| value.to_str().ok())
    };
    Ok(Answer {
        status: response.status().as_u16(),
        code: header("grpc-status").and_then(|code| code.parse().ok()),
        message: header("grpc-message")
            .unwrap_or_default()
            .replace("%20", " "),
    })
}
