//! Edge. TLS over a socket that stays its owner's: read and written the way the copy core does.
//!
//! The ends keep their meaning: `close_notify` is the clean end, and a FIN without one, by which a
//! stream could be cut by anybody, breaks it.

use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::relay::sockets::pass_fin;
use crate::socket::Stream;

/// One connection, as its client.
#[derive(Debug)]
pub struct Tls {
    session: ClientConnection,
    /// Bytes of the write under way that are encrypted already.
    accepted: Option<usize>,
    fin: Fin,
}

/// How far our end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fin {
    Open,
    /// `close_notify` waits for room in the socket.
    Begun,
    /// The peer has been sent that, and a FIN.
    Told,
}

/// Why there is no TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The peer's.
    #[error("its certificate: {0}")]
    Certificate(String),
    /// The socket broke, or the peer ended it.
    #[error("{0}")]
    Closed(String),
    /// Anything else.
    #[error("{0}")]
    Protocol(String),
}

/// Who is trusted: the signers of `ca`, as PEM, or the public ones. Those are built in: an image
/// without a system has no store of them.
///
/// # Errors
/// `ca` holds no certificate, or one that can't sign.
pub fn config(ca: Option<&str>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| error.to_string())?;
                roots.add(certificate).map_err(|error| error.to_string())?;
            }
        }
    }
    if roots.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl Tls {
    /// Agrees with the peer on everything.
    ///
    /// # Errors
    /// The peer isn't who it should be, or speaks something else.
    pub async fn connect(
        socket: &Stream,
        config: Arc<ClientConfig>,
        peer: ServerName<'static>,
    ) -> Result<Self, TlsError> {
        let session = ClientConnection::new(config, peer).map_err(TlsError::from)?;
        let mut tls = Self {
            session,
            accepted: None,
            fin: Fin::Open,
        };
        poll_fn(|cx| tls.poll_handshake(socket, cx)).await?;
        Ok(tls)
    }

    fn poll_handshake(
        &mut self,
        socket: &Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), TlsError>> {
        loop {
            ready!(self.poll_send(socket, cx)).map_err(closed)?;
            if !self.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            let n = ready!(self.poll_receive(socket, cx)).map_err(closed)?;
            if let Err(error) = self.session.process_new_packets() {
                // The peer hears why, if there is room for an alert.
                let _ = self.poll_send(socket, cx);
                return Poll::Ready(Err(error.into()));
            }
            if n == 0 {
                return Poll::Ready(Err(closed(ErrorKind::UnexpectedEof.into())));
            }
        }
    }

    /// Reads what the peer has sent; 0: it has ended cleanly.
    ///
    /// # Errors
    /// It has ended in another way.
    pub fn poll_read(
        &mut self,
        socket: &Stream,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
                }
                read => return Poll::Ready(read),
            }
            ready!(self.poll_receive(socket, cx))?;
            let processed = self.session.process_new_packets();
            // What TLS itself has to say, if there is room; else the next write takes it along.
            let _ = self.poll_send(socket, cx);
            if let Err(error) = processed {
                return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, error)));
            }
        }
    }

    /// Writes a part of the bytes. Until it is ready it is called again with the same ones: they
    /// count as written only once the socket has all of them, so that none waits here unseen.
    ///
    /// # Errors
    /// The socket broke.
    pub fn poll_write(
        &mut self,
        socket: &Stream,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let accepted = match self.accepted {
            Some(accepted) => accepted,
            None => {
                ready!(self.poll_send(socket, cx))?;
                self.session.writer().write(bytes)?
            }
        };
        self.accepted = Some(accepted);
        ready!(self.poll_send(socket, cx))?;
        self.accepted = None;
        Poll::Ready(Ok(accepted))
    }

    /// There is nothing more to write; `poll_fin` tells the peer.
    pub fn begin_fin(&mut self) {
        if self.fin == Fin::Open {
            self.session.send_close_notify();
            self.fin = Fin::Begun;
        }
    }

    /// Tells the end that was begun; ready when there is nothing to tell.
    pub fn poll_fin(&mut self, socket: &Stream, cx: &mut Context<'_>) -> Poll<()> {
        if self.fin == Fin::Begun {
            // A peer that is gone needs no end; a read sees that it is.
            let _ = ready!(self.poll_send(socket, cx));
            pass_fin(socket);
            self.fin = Fin::Told;
        }
        Poll::Ready(())
    }

    fn poll_receive(&mut self, socket: &Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        until_blocked(self.session.read_tls(&mut Raw { socket, cx }))
    }

    /// Sends what is encrypted already.
    fn poll_send(&mut self, socket: &Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            ready!(until_blocked(
                self.session.write_tls(&mut Raw { socket, cx })
            ))?;
        }
        Poll::Ready(Ok(()))
    }
}

fn until_blocked(result: io::Result<usize>) -> Poll<io::Result<usize>> {
    match result {
        // Whoever said so will wake the task.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        other => Poll::Ready(other),
    }
}

fn closed(error: io::Error) -> TlsError {
    TlsError::Closed(error.to_string())
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => Self::Certificate(error.to_string()),
            other => Self::Protocol(other.to_string()),
        }
    }
}

/// The socket as `rustls` sees it.
struct Raw<'a, 'b, 'c> {
    socket: &'a Stream,
    cx: &'b mut Context<'c>,
}

impl Read for Raw<'_, '_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        or_blocked(self.socket.poll_read(self.cx, buffer))
    }
}

impl Write for Raw<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_blocked(self.socket.poll_write(self.cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn or_blocked(polled: Poll<io::Result<usize>>) -> io::Result<usize> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}
