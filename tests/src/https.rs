//! Edge. A server of the files of a folder by HTTPS, with an authority of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::echo::listen;
use crate::lab::Lab;

/// A running server. Dropping it closes its listener and cuts its connections.
#[derive(Debug)]
pub struct Https {
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificate that clients have to trust.
    pub authority: PathBuf,
    accepted: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Https {
    /// Serves `folder` on `address` as the host `name`.
    ///
    /// # Errors
    /// The address is taken or not there.
    pub async fn start(lab: &Lab, address: &str, name: &str, folder: &Path) -> Result<Self> {
        let (authority, acceptor) = identity(name)?;
        let listener = listen(address.parse()?)?;
        let address = listener.local_addr()?;
        let accepted = Arc::<AtomicUsize>::default();
        let (count, folder) = (Arc::clone(&accepted), folder.to_owned());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                count.fetch_add(1, Ordering::Relaxed);
                let (acceptor, folder) = (acceptor.clone(), folder.clone());
                // The client sees a failure too, and that is where tests look.
                connections.spawn(async move { serve(stream, acceptor, folder).await.is_ok() });
            }
        });
        Ok(Self {
            address,
            authority: lab.file("authority.pem", authority)?,
            accepted,
            _tasks: tasks,
        })
    }

    /// Connections that it ever accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// The certificate of a new authority, and what proves to be that host by it.
fn identity(name: &str) -> Result<(String, TlsAcceptor)> {
    let mut params = CertificateParams::default();
    // A name of its own, or its certificate would be taken for one that is signed by itself.
    let (kind, common) = (DnType::CommonName, "authority of a test");
    params.distinguished_name.push(kind, common);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())?;
    Ok((authority, TlsAcceptor::from(Arc::new(config))))
}

/// One request, one answer.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, folder: PathBuf) -> Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < 16 << 10, "a head without an end");
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    let mut words = head.split(' ');
    let (method, path) = (words.next(), words.next().context("a path")?);
    let path = path.split('?').next().unwrap_or_default();
    ensure!(!path.contains(".."), "{path}");
    let (status, body) = match std::fs::read(folder.join(path.trim_start_matches('/'))) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    if method != Some("HEAD") {
        stream.write_all(&body).await?;
    }
    stream.shutdown().await?;
    // Read to the end, so that closing never resets what was just sent.
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(())
}
