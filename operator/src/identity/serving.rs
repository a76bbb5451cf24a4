//! Edge. The certificate that is shown now, and connections once they are encrypted.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use futures::{Stream, StreamExt};
use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::server::Connected;

use super::certificates::provider;
use crate::metrics::Metrics;

/// Handshakes under way; each costs a signature, and whoever floods us waits in the backlog.
const HANDSHAKES: usize = 64;

/// From accept to the end of the handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// Open connections: a stream for each pod of a large cluster, twice over, and those that end.
const CONNECTIONS: usize = 10_240;

/// How long a connection may be open before one of its requests was admitted.
const ADMISSION_TIME: Duration = Duration::from_secs(20);

/// After a failure of accept, which usually means that descriptors are scarce.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is shown to whoever connects; connections that are open don't notice a change.
#[derive(Default)]
pub(crate) struct Serving(RwLock<Option<Arc<CertifiedKey>>>);

impl Serving {
    pub(crate) fn show(&self, key: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(key));
    }

    /// Whether there is anything to show.
    pub(crate) fn is_ready(&self) -> bool {
        self.current().is_some()
    }

    fn current(&self) -> Option<Arc<CertifiedKey>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Says nothing of keys.
impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Serving").field(&self.is_ready()).finish()
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current()
    }
}

/// TLS 1.3 only, and no resumption: each connection sees the certificate of its time.
pub(crate) fn server_config(serving: Arc<Serving>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(serving);
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// Every connection whose handshake has worked.
pub(crate) fn incoming(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    metrics: Metrics,
) -> impl Stream<Item = io::Result<Connection>> {
    let acceptor = TlsAcceptor::from(config);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    TcpListenerStream::new(listener)
        .then(move |accepted| {
            let places = Arc::clone(&places);
            async move { (accepted, places.acquire_owned().await.ok()) }
        })
        .map(move |(accepted, place)| {
            let (acceptor, metrics) = (acceptor.clone(), metrics.clone());
            async move {
                let place = place?;
                let Ok(tcp) = accepted else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    return None;
                };
                match timeout(HANDSHAKE_TIME, handshake(&acceptor, tcp, place)).await {
                    Ok(Ok(connection)) => return Some(Ok(connection)),
                    Ok(Err(error)) => tracing::debug!(%error, "a handshake has failed"),
                    Err(_) => tracing::debug!("a handshake took too long"),
                }
                metrics
                    .identity_refusals
                    .with_label_values(&["handshake"])
                    .inc();
                None
            }
        })
        .buffer_unordered(HANDSHAKES)
        .filter_map(std::future::ready)
}

async fn handshake(
    acceptor: &TlsAcceptor,
    tcp: TcpStream,
    place: OwnedSemaphorePermit,
) -> io::Result<Connection> {
    tcp.set_nodelay(true)?;
    let remote = tcp.peer_addr()?;
    Ok(Connection {
        tls: acceptor.accept(tcp).await?,
        admission: Admission {
            admitted: Arc::default(),
            remote,
        },
        deadline: Box::pin(tokio::time::sleep(ADMISSION_TIME)),
        _place: place,
    })
}

/// An encrypted connection, which ends by itself unless it is admitted in time.
pub(crate) struct Connection {
    tls: TlsStream<TcpStream>,
    admission: Admission,
    deadline: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

/// What requests know of their connection.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    admitted: Arc<AtomicBool>,
    pub(crate) remote: SocketAddr,
}

impl Admission {
    /// One of its requests has shown who sends them.
    pub(crate) fn grant(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }
}

impl Connected for Connection {
    type ConnectInfo = Admission;

    fn connect_info(&self) -> Admission {
        self.admission.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let late = !this.admission.admitted.load(Ordering::Relaxed)
            && this.deadline.as_mut().poll(context).is_ready();
        if late && !this.admission.admitted.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut this.tls).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tls).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_shutdown(context)
    }
}
