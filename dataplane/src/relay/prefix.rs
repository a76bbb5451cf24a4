//! Pure. What goes before all that a relay reads.

/// Bytes that go first.
#[derive(Debug, Default)]
pub struct Prefix {
    /// To upstream, before everything else, and not counted: a PROXY header.
    pub header: Vec<u8>,
    /// To upstream: what downstream sent before the relay began.
    pub up: Vec<u8>,
    /// To downstream.
    pub down: Vec<u8>,
}

impl Prefix {
    /// Whether there is nothing of that.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.header.is_empty() && self.up.is_empty() && self.down.is_empty()
    }
}
