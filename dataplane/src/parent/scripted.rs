//! Edge. A parent proxy that does as a test says.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tcpforward_protocol::snapshot::{Via, ViaScheme};
use tcpforward_protocol::testing;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const PATIENCE: Duration = Duration::from_secs(10);

/// What a parent has to prove who it is, and what proves that.
pub(crate) struct Papers {
    pub(crate) ca: String,
    acceptor: TlsAcceptor,
}

pub(crate) fn papers(name: &str) -> Papers {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    Papers {
        ca: made.cert.pem(),
        acceptor: Arc::new(config).into(),
    }
}

/// A listener, and how to go through it.
pub(crate) async fn parent() -> (TcpListener, Via) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, testing::via("127.0.0.1", port))
}

pub(crate) fn in_tls(via: Via, papers: &Papers) -> Via {
    Via {
        scheme: ViaScheme::Https,
        ca: Some(papers.ca.clone()),
        ..via
    }
}

pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    let accepted = timeout(PATIENCE, listener.accept()).await;
    accepted.unwrap().unwrap().0
}

/// One who speaks TLS.
pub(crate) async fn accept_tls(listener: &TcpListener, papers: &Papers) -> TlsStream<TcpStream> {
    let stream = accept(listener).await;
    let accepted = timeout(PATIENCE, papers.acceptor.accept(stream)).await;
    accepted.unwrap().unwrap()
}

/// The request that came, and nothing behind it.
pub(crate) async fn request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let read = timeout(PATIENCE, stream.read_u8()).await;
        bytes.push(read.unwrap().unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

/// Answers the next one who asks, and hands it over.
pub(crate) async fn answers(listener: &TcpListener, answer: &[u8]) -> (TcpStream, String) {
    let mut stream = accept(listener).await;
    let request = request(&mut stream).await;
    stream.write_all(answer).await.unwrap();
    (stream, request)
}

impl Papers {
    /// Shows them to somebody who doesn't like them.
    pub(crate) async fn refused_by(&self, stream: TcpStream) {
        let accepted = timeout(PATIENCE, self.acceptor.accept(stream)).await;
        accepted.unwrap().unwrap_err();
    }
}
