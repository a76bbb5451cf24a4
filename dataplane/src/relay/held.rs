//! Pure. What a direction keeps between two polls: bytes that wait for the sink, and how the source is.

use std::io;

/// What waits for the sink.
#[derive(Debug)]
pub(super) enum Held<P> {
    Nothing,
    /// Copied bytes, of which so many are written.
    Copied(Box<[u8]>, u32),
    /// A pipe with so many bytes in it.
    Carried(P, u32),
}

/// What is known of the source.
#[derive(Debug)]
pub(super) enum State {
    Open,
    /// It broke, which a read would take for a clean end now.
    Broken(io::Error),
    /// Everything that came before is read.
    Ended(io::Result<()>),
}

impl<P> Held<P> {
    /// A copy of these, if they are any.
    pub(super) fn copied(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::Nothing;
        }
        Self::Copied(bytes.into(), 0)
    }
}

impl State {
    /// A read came to the end.
    pub(super) fn read_to_end(&mut self) {
        *self = Self::Ended(match std::mem::replace(self, Self::Open) {
            Self::Broken(error) => Err(error),
            Self::Open | Self::Ended(_) => Ok(()),
        });
    }
}

/// Of what one read or one pipe holds, which is never more.
pub(super) fn u32_of(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

pub(super) fn usize_of(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
