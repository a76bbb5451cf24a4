//! Edge. The way to a backend: a socket, perhaps to a parent proxy that leads there, perhaps in TLS.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::task::{Context, Poll};

use crate::relay::copy::{Sink, Source};
use crate::socket::{Connection, Stream};
use crate::tls::Tls;

/// The way to a backend. Dropped, it resets whoever is at the other end.
#[derive(Debug)]
pub struct Channel {
    connection: Connection,
    /// In a box, because most have none.
    through: Option<Box<Through>>,
}

/// What a way through a parent proxy has beside its socket.
#[derive(Debug)]
struct Through {
    parent: SocketAddr,
    tls: Option<Tls>,
    /// What came behind the parent's answer.
    early: Vec<u8>,
}

impl From<Connection> for Channel {
    fn from(connection: Connection) -> Self {
        Self {
            connection,
            through: None,
        }
    }
}

impl Channel {
    /// Through the parent proxy at that address.
    #[must_use]
    pub fn through(connection: Connection, parent: SocketAddr, tls: Option<Tls>) -> Self {
        let through = Through {
            parent,
            tls,
            early: Vec::new(),
        };
        Self {
            connection,
            through: Some(Box::new(through)),
        }
    }

    /// The parent proxy that leads there; absent: none.
    #[must_use]
    pub fn parent(&self) -> Option<SocketAddr> {
        self.through.as_ref().map(|through| through.parent)
    }

    /// Bytes to be read before any of the socket.
    pub fn set_early(&mut self, bytes: Vec<u8>) {
        if let Some(through) = &mut self.through {
            through.early = bytes;
        }
    }

    /// Takes those bytes.
    pub fn take_early(&mut self) -> Vec<u8> {
        let early = self.through.as_mut();
        early.map_or_else(Vec::new, |through| std::mem::take(&mut through.early))
    }

    /// The socket, and the TLS in it.
    pub fn parts(&mut self) -> (&Connection, Option<&mut Tls>) {
        let tls = self
            .through
            .as_mut()
            .and_then(|through| through.tls.as_mut());
        (&self.connection, tls)
    }

    /// Reads what the other end has sent; 0: it has ended cleanly.
    ///
    /// # Errors
    /// It is gone.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(through) = &mut self.through
            && !through.early.is_empty()
        {
            let n = through.early.len().min(buffer.len());
            for (to, from) in buffer.iter_mut().zip(through.early.drain(..n)) {
                *to = from;
            }
            return Ok(n);
        }
        let (socket, tls) = self.parts();
        let mut end = End::new(socket, tls);
        poll_fn(|cx| end.poll_read(cx, buffer)).await
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The other end is gone.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (socket, tls) = self.parts();
        End::new(socket, tls).write_all(bytes).await
    }

    /// Closes it; what was written still reaches the other end.
    pub async fn finish(mut self) {
        if let (socket, Some(tls)) = self.parts() {
            tls.begin_fin();
            poll_fn(|cx| tls.poll_fin(socket, cx)).await;
        }
        self.connection.finish();
    }

    /// The socket alone, of which nothing more is read or written.
    #[must_use]
    pub fn into_connection(self) -> Connection {
        self.connection
    }
}

impl Deref for Channel {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// One side of a session as the copy core sees it.
pub(crate) enum End<'a> {
    Plain(&'a Stream),
    Tls(&'a Stream, &'a mut Tls),
}

impl<'a> End<'a> {
    pub(crate) fn new(socket: &'a Stream, tls: Option<&'a mut Tls>) -> Self {
        match tls {
            None => Self::Plain(socket),
            Some(tls) => Self::Tls(socket, tls),
        }
    }

    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut left = bytes;
        while !left.is_empty() {
            let n = poll_fn(|cx| self.poll_write(cx, left)).await?;
            left = left.get(n..).unwrap_or_default();
        }
        Ok(())
    }
}

impl Source for End<'_> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.poll_read(cx, buffer),
            Self::Tls(socket, tls) => tls.poll_read(socket, cx, buffer),
        }
    }

    fn seems_to_end(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Plain(socket) => socket.has_fin(cx),
            Self::Tls(..) => false,
        }
    }
}

impl Sink for End<'_> {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.poll_write(cx, bytes),
            Self::Tls(socket, tls) => tls.poll_write(socket, cx, bytes),
        }
    }

    fn poll_write_last(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.poll_write_last(cx, bytes),
            Self::Tls(socket, tls) => tls.poll_write(socket, cx, bytes),
        }
    }
}
