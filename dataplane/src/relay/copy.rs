//! Pure. One direction of a relay: what one side sends reaches the other, once and in order,
//! however reads and writes are cut. Knows no sockets: `Source` and `Sink` are read and written
//! the way `std::task` says.
//!
//! While nothing is under way a direction owns no buffer: it reads into the caller's scratch
//! buffer and keeps only what could not be written, which is at most that buffer's length.

use std::io;
use std::task::{Context, Poll, ready};

/// Where bytes come from.
pub trait Source {
    /// Reads into a buffer that is never empty; 0: the end.
    ///
    /// # Errors
    /// Whatever ended the source.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;
}

/// Where bytes go.
pub trait Sink {
    /// Writes a part of the bytes, which are never none.
    ///
    /// # Errors
    /// Whatever ended the sink.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
}

/// How one direction ended.
#[derive(Debug)]
pub enum Ended {
    /// The source ended cleanly and everything was written.
    Fin,
    /// The sink takes nothing more; what was read and not written is lost.
    Sink(io::Error),
    /// The source broke; everything read before was written.
    Source(io::Error),
}

/// Bytes on their way from one side to the other.
#[derive(Debug, Default)]
pub struct Direction {
    left: Vec<u8>,
    written_of_left: usize,
    source_ended: Option<io::Result<()>>,
    bytes: u64,
}

/// Reads in a row before the other sessions of the thread get their turn.
const READS_PER_POLL: u32 = 8;

impl Direction {
    /// Bytes that the sink gets before any of the source.
    #[must_use]
    pub fn starting_with(bytes: Vec<u8>) -> Self {
        Self {
            left: bytes,
            ..Self::default()
        }
    }

    /// Bytes that the sink has taken since the last call.
    pub fn take_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }

    /// Bytes of memory that this direction owns.
    #[must_use]
    pub fn held(&self) -> usize {
        self.left.capacity()
    }

    /// Moves what can be moved; `Ready` once, when the direction has ended.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut impl Source,
        sink: &mut impl Sink,
        scratch: &mut [u8],
    ) -> Poll<Ended> {
        for _ in 0..READS_PER_POLL {
            if let Err(error) = ready!(self.poll_flush(cx, sink)) {
                return Poll::Ready(Ended::Sink(error));
            }
            match self.source_ended.take() {
                Some(Ok(())) => return Poll::Ready(Ended::Fin),
                Some(Err(error)) => return Poll::Ready(Ended::Source(error)),
                None => {}
            }
            match ready!(source.poll_read(cx, scratch)) {
                Ok(0) => self.source_ended = Some(Ok(())),
                Ok(n) => {
                    let read = scratch.get(..n).unwrap_or(scratch);
                    if let Err(error) = self.write(cx, sink, read) {
                        return Poll::Ready(Ended::Sink(error));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.source_ended = Some(Err(error)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what was just read and keeps what the sink doesn't take now.
    fn write(&mut self, cx: &mut Context<'_>, sink: &mut impl Sink, read: &[u8]) -> io::Result<()> {
        let written = match poll_write_some(cx, sink, read) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        self.count(written);
        self.left = read.get(written..).unwrap_or_default().to_vec();
        self.written_of_left = 0;
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, sink: &mut impl Sink) -> Poll<io::Result<()>> {
        loop {
            let rest = self.left.get(self.written_of_left..).unwrap_or_default();
            if rest.is_empty() {
                self.left = Vec::new();
                self.written_of_left = 0;
                return Poll::Ready(Ok(()));
            }
            let written = ready!(poll_write_some(cx, sink, rest))?;
            self.written_of_left += written;
            self.count(written);
        }
    }

    fn count(&mut self, written: usize) {
        self.bytes += u64::try_from(written).unwrap_or(0);
    }
}

/// A sink that takes nothing of something without saying why has broken.
fn poll_write_some(
    cx: &mut Context<'_>,
    sink: &mut impl Sink,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    loop {
        match ready!(sink.poll_write(cx, bytes)) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return Poll::Ready(other),
        }
    }
}

#[cfg(test)]
mod tests;
