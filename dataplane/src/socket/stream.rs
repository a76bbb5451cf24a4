//! Edge. A connected socket that the runtime watches.
//!
//! A read that brings less than it asked for has emptied the socket, so no second one has to find nothing. But
//! a read also stops where urgent bytes begin, and no event tells of what lies behind them: `EPOLLPRI` tells
//! that there are some, for which Tokio's own `TcpStream` doesn't ask. (It tells once the urgent byte has come in a
//! segment that says so. Where only an earlier one says so, and is lost and sent again after the byte has come, the
//! session waits until its sender sends more. Linux says so in all of them: `tcp_urg_mode`.)

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::SockRef;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

/// A socket, and when it may be read and written.
#[derive(Debug)]
pub struct Stream(AsyncFd<Watched>);

#[derive(Debug)]
struct Watched {
    stream: TcpStream,
    /// When one of Multipath TCP tells of more is a matter of its own (`mptcp_data_ready`).
    multipath: bool,
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl Stream {
    /// Has the current runtime watch a socket that doesn't block. `multipath`: it may speak Multipath TCP.
    ///
    /// # Errors
    /// The kernel gives no more watches.
    pub fn watch(stream: TcpStream, multipath: bool) -> io::Result<Self> {
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        super::watch(Watched { stream, multipath }, interest).map(Self)
    }

    /// Reads what is there; 0: the peer has ended cleanly.
    ///
    /// # Errors
    /// The connection has broken, or the call was interrupted.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut readable = ready!(self.0.poll_read_ready(cx))?;
            match rustix::net::recv(self, &mut *buffer, RecvFlags::empty()) {
                Err(Errno::AGAIN) => readable.clear_ready_matching(Ready::READABLE),
                Err(error) => return Poll::Ready(Err(error.into())),
                Ok((read, _)) => {
                    if (1..buffer.len()).contains(&read) && self.is_emptied_by_short_reads() {
                        readable.clear_ready_matching(Ready::READABLE);
                    }
                    return Poll::Ready(Ok(read));
                }
            }
        }
    }

    /// Whether the peer's FIN has come: it ends what is still to be read. (`EPOLLRDHUP`)
    pub fn has_fin(&self, cx: &mut Context<'_>) -> bool {
        let readable = self.0.poll_read_ready(cx);
        matches!(readable, Poll::Ready(Ok(guard)) if guard.ready().is_read_closed())
    }

    /// Writes a part of the bytes.
    ///
    /// # Errors
    /// The connection has broken, or the call was interrupted.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_by(cx, || {
            Ok(rustix::net::send(self, bytes, SendFlags::NOSIGNAL)?)
        })
    }

    /// The same, of bytes that go with the FIN which is sent next. If there is no room for all of them, the kernel sends
    /// the part that it takes at once (`tcp_sendmsg_locked`).
    ///
    /// # Errors
    /// The connection has broken, or the call was interrupted.
    pub fn poll_write_last(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let flags = SendFlags::NOSIGNAL | SendFlags::MORE;
        self.poll_write_by(cx, || Ok(rustix::net::send(self, bytes, flags)?))
    }

    /// Writes by any means, which say `WouldBlock` when the socket has no room.
    ///
    /// # Errors
    /// Those of the means.
    pub fn poll_write_by(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut writable = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(written) = writable.try_io(|_| write()) {
                return Poll::Ready(written);
            }
        }
    }

    /// Whether a read may find something, or the end.
    ///
    /// # Errors
    /// The runtime ends.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx).map_ok(drop)
    }

    /// Completes when a connection that was begun is there.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn connected(&self) -> io::Result<()> {
        drop(self.0.writable().await?);
        match self.is_flagged(Interest::ERROR) {
            false => Ok(()),
            true => self.take_error()?.map_or(Ok(()), Err),
        }
    }

    /// Completes when the connection has broken, and keeps the reason.
    pub async fn broken(&self) {
        // An error here means that the runtime ends.
        let _ = self.0.ready(Interest::ERROR).await;
    }

    /// Takes the reason why the connection has broken.
    ///
    /// # Errors
    /// The kernel doesn't say.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        SockRef::from(self).take_error()
    }

    /// Our end.
    ///
    /// # Errors
    /// The kernel doesn't say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().stream.local_addr()
    }

    /// The peer's end.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().stream.peer_addr()
    }

    /// Whether nothing but the want of bytes lets a read bring less than it asked for. Urgent bytes that
    /// came since the last event bring another one, so those that this doesn't know of do no harm. After
    /// any, and after the end, a read more finds nothing: so be it.
    fn is_emptied_by_short_reads(&self) -> bool {
        !self.0.get_ref().multipath && !self.is_flagged(Interest::PRIORITY)
    }

    fn is_flagged(&self, interest: Interest) -> bool {
        self.0.try_io(interest, |_| Ok(())).is_ok()
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

#[cfg(test)]
impl From<tokio::net::TcpStream> for Stream {
    fn from(stream: tokio::net::TcpStream) -> Self {
        Self::watch(stream.into_std().unwrap(), false).unwrap()
    }
}

#[cfg(test)]
mod tests;
