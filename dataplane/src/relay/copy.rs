//! Pure. One direction of a relay: what one side sends reaches the other, once and in order,
//! however reads and writes are cut. Knows no sockets: `Source` and `Sink` are read and written
//! the way `std::task` says.
//!
//! While nothing is under way a direction owns no buffer: it reads into the caller's scratch
//! buffer and keeps only what could not be written, which is at most that buffer's length.
//!
//! ```text
//!  source ──read──► scratch ──write──► sink     few bytes at a time
//!  source ──fill──► pipe ────drain───► sink     bulk: nobody looks at the bytes
//! ```

use std::io;
use std::task::{Context, Poll, ready};

use crate::relay::bulk::Bulk;
use crate::relay::held::{Held, State, u32_of, usize_of};

mod sides;

pub use sides::{Bypass, Sink, Source};

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
#[derive(Debug)]
pub struct Direction<P> {
    held: Held<P>,
    source: State,
    bulk: Bulk,
    bytes: u64,
}

/// What a byte that is copied costs of a turn, where one that goes by a pipe costs 1.
const COPIED: usize = 8;

/// What a step costs of a turn however few bytes it brings.
const STEP: usize = 64 << 10;

impl<P> Default for Direction<P> {
    fn default() -> Self {
        Self::starting_with(&[])
    }
}

impl<P> Direction<P> {
    /// Bytes that the sink gets before any of the source.
    #[must_use]
    pub fn starting_with(bytes: &[u8]) -> Self {
        Self {
            held: Held::copied(bytes),
            source: State::Open,
            bulk: Bulk::default(),
            bytes: 0,
        }
    }

    /// Bytes that the sink has taken since the last call.
    pub fn take_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }

    /// Bytes that wait for the sink: copied ones, for which this direction owns memory, or those in
    /// a pipe.
    #[must_use]
    pub fn held(&self) -> usize {
        match &self.held {
            Held::Nothing => 0,
            Held::Copied(bytes, _) => bytes.len(),
            Held::Carried(_, bytes) => usize_of(*bytes),
        }
    }

    /// Moves what can be moved; `Ready` once, when the direction has ended.
    ///
    /// `turn` is how much may be moved, and what is left of it. Nothing left, and nothing held: there may be
    /// more, and nothing will wake the task.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut impl Source,
        sink: &mut impl Sink,
        bypass: &mut impl Bypass<Pipe = P>,
        scratch: &mut [u8],
        turn: &mut usize,
    ) -> Poll<Ended> {
        let mut moved = 0;
        loop {
            if let Err(error) = ready!(self.poll_flush(cx, sink, bypass)) {
                return Poll::Ready(Ended::Sink(error));
            }
            if let State::Ended(ended) = &mut self.source {
                return Poll::Ready(match std::mem::replace(ended, Ok(())) {
                    Ok(()) => Ended::Fin,
                    Err(error) => Ended::Source(error),
                });
            }
            if *turn == 0 {
                return Poll::Pending;
            }
            if self.bulk.is_under_way() {
                let filled = self.fill(cx, bypass, (*turn).max(STEP));
                if filled > 0 {
                    moved += filled;
                    *turn = turn.saturating_sub(filled.max(STEP));
                    continue;
                }
            }
            match source.poll_read(cx, scratch) {
                Poll::Pending => {
                    self.bulk.paused(moved);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) => self.source.read_to_end(),
                Poll::Ready(Ok(n)) => {
                    let n = n + self.read_on(cx, source, scratch.get_mut(n..).unwrap_or_default());
                    moved += n;
                    *turn = turn.saturating_sub((n * COPIED).max(STEP));
                    self.bulk.moved(n);
                    let read = scratch.get(..n).unwrap_or(scratch);
                    if let Err(error) = self.write(cx, sink, read) {
                        return Poll::Ready(Ended::Sink(error));
                    }
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {
                    *turn = turn.saturating_sub(STEP);
                }
                Poll::Ready(Err(error)) => self.source = State::Ended(Err(error)),
            }
        }
    }

    /// Fills a pipe, if there is one and the source lets it: with so many bytes.
    fn fill(
        &mut self,
        cx: &mut Context<'_>,
        bypass: &mut impl Bypass<Pipe = P>,
        most: usize,
    ) -> usize {
        let Some(mut pipe) = bypass.take() else {
            return 0;
        };
        match bypass.fill(cx, &mut pipe, most) {
            Ok(n @ 1..) => {
                self.held = Held::Carried(pipe, u32_of(n));
                return n;
            }
            Ok(0) => {}
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.bulk.never(),
            Err(error) => self.source = State::Broken(error),
        }
        bypass.give(pipe);
        0
    }

    /// Reads into what is left of the scratch buffer if the end seems to be there, so that the last bytes can go
    /// together with it: so many more bytes.
    fn read_on(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut impl Source,
        rest: &mut [u8],
    ) -> usize {
        if rest.is_empty() || !source.seems_to_end(cx) {
            return 0;
        }
        match source.poll_read(cx, rest) {
            Poll::Ready(Ok(0)) => self.source.read_to_end(),
            Poll::Ready(Ok(n)) => return n,
            Poll::Ready(Err(error)) if error.kind() != io::ErrorKind::Interrupted => {
                self.source = State::Ended(Err(error));
            }
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
        0
    }

    /// Writes what was just read and keeps what the sink doesn't take now.
    fn write(&mut self, cx: &mut Context<'_>, sink: &mut impl Sink, read: &[u8]) -> io::Result<()> {
        let is_last = matches!(self.source, State::Ended(Ok(())));
        let written = match poll_write_some(cx, sink, read, is_last) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        self.count(written);
        self.held = Held::copied(read.get(written..).unwrap_or_default());
        Ok(())
    }

    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut impl Sink,
        bypass: &mut impl Bypass<Pipe = P>,
    ) -> Poll<io::Result<()>> {
        loop {
            let n = match &mut self.held {
                Held::Nothing => return Poll::Ready(Ok(())),
                Held::Copied(bytes, written) => {
                    let rest = bytes.get(usize_of(*written)..).unwrap_or_default();
                    let n = ready!(poll_write_some(cx, sink, rest, false))?;
                    *written += u32_of(n);
                    if usize_of(*written) >= bytes.len() {
                        self.held = Held::Nothing;
                    }
                    n
                }
                Held::Carried(pipe, bytes) => {
                    let n = ready!(bypass.poll_drain(cx, pipe, usize_of(*bytes)))?;
                    if n == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    *bytes = bytes.saturating_sub(u32_of(n));
                    if *bytes == 0
                        && let Held::Carried(pipe, _) =
                            std::mem::replace(&mut self.held, Held::Nothing)
                    {
                        bypass.give(pipe);
                    }
                    n
                }
            };
            self.count(n);
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
    is_last: bool,
) -> Poll<io::Result<usize>> {
    loop {
        let written = match is_last {
            true => sink.poll_write_last(cx, bytes),
            false => sink.poll_write(cx, bytes),
        };
        match ready!(written) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return Poll::Ready(other),
        }
    }
}

#[cfg(test)]
mod tests;
