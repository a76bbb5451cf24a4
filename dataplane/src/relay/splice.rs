//! Edge. Bytes from one socket to the other by a pipe: `splice(2)` hands over the kernel's own pages.

use std::io::{self, ErrorKind};
use std::task::{Context, Poll};

use rustix::pipe::{SpliceFlags, splice};

use crate::relay::copy::Bypass;
use crate::relay::pipes::{LARGE, Pipe, Pipes};
use crate::socket::{self, Stream};

/// Where a worker's sessions get pipes.
#[derive(Clone, Copy, Debug)]
pub struct Lane<'a> {
    /// Those of the process.
    pub pipes: &'a Pipes,
    /// Which worker.
    pub worker: usize,
}

/// One direction's way past us.
pub(super) struct Splice<'a> {
    pub(super) source: &'a Stream,
    pub(super) sink: &'a Stream,
    /// Absent: bytes are copied.
    pub(super) lane: Option<Lane<'a>>,
}

impl Bypass for Splice<'_> {
    type Pipe = Pipe;

    fn take(&mut self) -> Option<Pipe> {
        let lane = self.lane?;
        lane.pipes.take(lane.worker)
    }

    fn give(&mut self, pipe: Pipe) {
        if let Some(lane) = self.lane {
            lane.pipes.give(lane.worker, pipe);
        }
    }

    fn fill(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe, most: usize) -> io::Result<usize> {
        if self.source.poll_readable(cx).is_pending() {
            return Ok(0);
        }
        // Not by `try_io`: that nothing could be moved doesn't mean that nothing is there. The kernel
        // stops before urgent bytes, and even says that it is the end (`tcp_splice_read`).
        match splice_some(self.source, pipe.write(), most.min(LARGE)) {
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                Err(ErrorKind::Unsupported.into())
            }
            Err(error) if may_pass(&error) => Ok(0),
            other => other,
        }
    }

    fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
        bytes: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            let drain = || splice_some(pipe.read(), self.sink, bytes);
            match self.sink.poll_write_by(cx, drain) {
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

fn may_pass(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
        || socket::is_local(error)
}

fn splice_some(
    from: impl std::os::fd::AsFd,
    to: impl std::os::fd::AsFd,
    bytes: usize,
) -> io::Result<usize> {
    // Never `MORE`: it lets the kernel wait for more, up to 200 ms (golang/go#10948).
    let flags = SpliceFlags::NONBLOCK;
    Ok(splice(from, None, to, None, bytes, flags)?)
}
