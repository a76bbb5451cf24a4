//! Edge. One connected socket, and the ways to close it.

use std::io::{self, ErrorKind};
use std::ops::{Deref, DerefMut};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a peer that has had our FIN may go on sending before it is reset.
const LINGER: Duration = Duration::from_secs(2);

/// How much it may send meanwhile.
const LINGER_BYTES: usize = 4 << 20;

/// A connected socket that resets its peer when it is dropped, unless it was `finish`ed: whatever
/// goes wrong, a cut stream never looks like a clean end.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    on_drop: OnDrop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnDrop {
    Close,
    Reset,
}

impl Connection {
    /// Takes a connected socket.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            on_drop: OnDrop::Reset,
        }
    }

    /// Closes it; what was written still reaches the peer.
    pub fn finish(mut self) {
        self.on_drop = OnDrop::Close;
    }

    /// Closes it after a FIN: what was written and the FIN still reach the peer, and what the peer
    /// sends later is answered with a reset, by the kernel itself (`tcp_rcv_state_process`).
    ///
    /// A close with unread input would reset at once (`__tcp_close`), and so would input that
    /// comes right after it: it is read and thrown away, until the peer ends or within limits.
    pub async fn finish_lingering(self) {
        // Past the limit it is closed all the same.
        let _ = timeout(LINGER, self.discard(LINGER_BYTES)).await;
        self.finish();
    }

    async fn discard(&self, limit: usize) {
        let mut scratch = vec![0; 16 << 10];
        let mut total = 0;
        while total < limit && self.stream.readable().await.is_ok() {
            match self.stream.try_read(&mut scratch) {
                Ok(0) => return,
                Ok(n) => total += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    /// Resets the peer, once it has been sent what was written: closing at once would throw away
    /// what the kernel still holds (`tcp_disconnect` purges its queues). A peer that reads nothing
    /// is waited for until then and no longer. For sockets that had no `shutdown`: after one the
    /// kernel calls them writable whatever they hold (`tcp_poll`).
    pub async fn reset_after_sending(self, until: Instant) {
        let sent = async {
            let socket = SockRef::from(&self.stream);
            // With a low-water mark of one byte a socket is writable when nothing unsent is left
            // (`tcp_stream_memory_free`).
            self.writable_after(socket.set_tcp_notsent_lowat(1)).await;
            // Writable also asks that what is queued, sent or not, takes at most two thirds of the
            // send buffer (`sk_stream_is_writeable`). With the smallest buffer, which is
            // `SOCK_MIN_SNDBUF`, less than 3 kB are not acknowledged then.
            self.writable_after(socket.set_send_buffer_size(1)).await;
        };
        // Past the limit it is reset all the same.
        let _ = timeout_at(until, sent).await;
    }

    /// The runtime is not told when a mark is moved, so the kernel is asked again and again.
    async fn writable_after(&self, moved: io::Result<()>) {
        if moved.is_err() {
            return;
        }
        let mut pause = Duration::from_millis(1);
        while !self.is_writable() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// True as well for a socket that has broken.
    fn is_writable(&self) -> bool {
        let fd = self.stream.as_fd();
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
        match rustix::event::poll(&mut polled, Some(&now)) {
            Ok(0) | Err(Errno::INTR) => false,
            Ok(_) | Err(_) => true,
        }
    }
}

impl Deref for Connection {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let linger = match self.on_drop {
            OnDrop::Close => None,
            OnDrop::Reset => Some(Duration::ZERO),
        };
        // A socket that refuses the option is dead already.
        let _ = SockRef::from(&self.stream).set_linger(linger);
    }
}
