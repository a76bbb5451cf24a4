//! Edge. The sockets of a session: read and written by the copy core, ended as they deserve.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::time::timeout;

use crate::channel::Channel;
use crate::relay::Ended;
use crate::relay::copy::{Sink, Source};
use crate::relay::ending::{Ending, Side};
use crate::socket::{Connection, Stream};

/// How long the last bytes of TLS may wait for room.
const PATIENCE: Duration = Duration::from_secs(10);

/// Completes when the socket has broken, with the reason.
pub(crate) async fn broke(socket: &Stream) -> ErrorKind {
    socket.broken().await;
    let error = socket.take_error().ok().flatten();
    error.map_or(ErrorKind::ConnectionReset, |error| error.kind())
}

pub(crate) fn pass_fin(sink: &Stream) {
    // A peer that is gone already needs no FIN; its reset is seen by a read.
    let _ = SockRef::from(sink).shutdown(Shutdown::Write);
}

/// Reproduces the end on both sides: clean as clean; what broke as a reset of the other side, once
/// that has been sent what was read before; anything else (timeouts) as a reset of both.
///
/// A side that has had its FIN is not reset for what broke later: that would take back bytes that
/// came before the FIN. It learns of the break when it sends more.
pub async fn close(ended: Ended, downstream: Connection, upstream: Channel) {
    match (ended.ending, ended.broken) {
        (_, Some(broken)) => {
            let upstream = upstream.into_connection();
            let (gone, told) = match broken.side {
                Side::Downstream => (downstream, upstream),
                Side::Upstream => (upstream, downstream),
            };
            drop(gone);
            if broken.fin_passed {
                told.finish_lingering().await;
            } else {
                told.reset_after_sending(broken.until).await;
            }
        }
        (Ending::DownstreamFin | Ending::UpstreamFin, None) => {
            downstream.finish();
            // Past the limit it is reset.
            let _ = timeout(PATIENCE, upstream.finish()).await;
        }
        (_, None) => {}
    }
}

impl Source for &Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Stream::poll_read(self, cx, buffer)
    }

    fn seems_to_end(&mut self, cx: &mut Context<'_>) -> bool {
        self.has_fin(cx)
    }
}

impl Sink for &Stream {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Stream::poll_write(self, cx, bytes)
    }

    fn poll_write_last(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Stream::poll_write_last(self, cx, bytes)
    }
}
