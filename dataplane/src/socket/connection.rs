//! Edge. One connected socket, and the ways to close it.

use std::future::poll_fn;
use std::ops::Deref;
use std::time::Duration;

use socket2::SockRef;
use tokio::time::{Instant, timeout, timeout_at};

use crate::socket::{Stream, TcpInfo};

/// How long a peer that has had our FIN may go on sending before it is reset.
const LINGER: Duration = Duration::from_secs(2);

/// How much it may send meanwhile.
const LINGER_BYTES: usize = 4 << 20;

/// A connected socket that resets its peer when it is dropped, unless it was `finish`ed: whatever
/// goes wrong, a cut stream never looks like a clean end.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
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
    pub fn new(stream: Stream) -> Self {
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
        while total < limit {
            match poll_fn(|cx| self.stream.poll_read(cx, &mut scratch)).await {
                Ok(0) | Err(_) => return,
                Ok(n) => total += n,
            }
        }
    }

    /// Resets the peer, once it has acknowledged what was written: closing at once would throw away
    /// what the kernel still holds (`tcp_disconnect` purges its queues), and a reset that overtakes
    /// lost bytes makes the peer give up on them. A peer that takes nothing is waited for until
    /// then and no longer.
    pub async fn reset_after_sending(self, until: Instant) {
        // Its last bytes may wait for a FIN that doesn't come now (`poll_write_last`): the option sends them.
        let _ = SockRef::from(&self.stream).set_tcp_nodelay(true);
        let delivered = async {
            // The runtime tells nothing of acknowledgements, so the kernel is asked again and again.
            let mut pause = Duration::from_millis(1);
            while TcpInfo::of(&self.stream).is_some_and(|info| info.is_on_its_way()) {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(50));
            }
        };
        // Past the limit it is reset all the same.
        let _ = timeout_at(until, delivered).await;
    }
}

impl Deref for Connection {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.stream
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
