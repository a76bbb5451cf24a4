//! Pure. What a direction moves bytes between, whatever it is made of.

use std::io;
use std::task::{Context, Poll};

/// Where bytes come from.
pub trait Source {
    /// Reads into a buffer that is never empty; 0: the end.
    ///
    /// # Errors
    /// Whatever ended the source.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Whether the end seems to come right behind what was read. Only a read tells for sure.
    fn seems_to_end(&mut self, cx: &mut Context<'_>) -> bool;
}

/// Where bytes go.
pub trait Sink {
    /// Writes a part of the bytes, which are never none.
    ///
    /// # Errors
    /// Whatever ended the sink.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// The same; if all of them are taken, the end follows at once and may go with them.
    ///
    /// # Errors
    /// Whatever ended the sink.
    fn poll_write_last(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
}

/// The way from the source to the sink on which nobody looks at the bytes.
pub trait Bypass {
    /// What carries them.
    type Pipe;

    /// An empty pipe; absent: bytes have to be copied.
    fn take(&mut self) -> Option<Self::Pipe>;

    /// Takes an empty pipe back.
    fn give(&mut self, pipe: Self::Pipe);

    /// Moves so many bytes of the source at most into an empty pipe. None says nothing: only a read tells whether
    /// there are none, or the source has ended, or what comes next can't be moved like that.
    ///
    /// # Errors
    /// `Unsupported`: never on this way; anything else has ended the source.
    fn fill(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Self::Pipe,
        most: usize,
    ) -> io::Result<usize>;

    /// Moves some of the bytes of a pipe, which has so many, to the sink.
    ///
    /// # Errors
    /// Whatever ended the sink.
    fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Self::Pipe,
        bytes: usize,
    ) -> Poll<io::Result<usize>>;
}
