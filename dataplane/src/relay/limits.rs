//! Pure. What a session waits for at most.

use std::time::Duration;

/// What a session waits for at most, whatever its forward says.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a peer may take to read what it was sent, before it learns that the other side
    /// broke.
    pub reset: Duration,
    /// How long a peer that owes an acknowledgement may be silent.
    pub dead: Duration,
}

impl Limits {
    /// Where nobody says otherwise.
    pub const DEFAULT: Self = Self {
        reset: Duration::from_secs(60),
        dead: Duration::from_secs(30),
    };
}
