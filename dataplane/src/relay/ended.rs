//! Edge. How a relay ended, for who closes its sockets.

use tokio::time::Instant;

use crate::relay::ending::{Ending, Side};

/// How a relay ended: its word, and which side broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The word for it.
    pub ending: Ending,
    /// Whose socket broke; absent: none.
    pub broken: Option<Broken>,
}

impl Ended {
    /// With both sockets as they should be.
    #[must_use]
    pub fn whole(ending: Ending) -> Self {
        Self {
            ending,
            broken: None,
        }
    }
}

/// What the other side of a broken socket has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The side that broke.
    pub side: Side,
    /// It had ended cleanly before, and the other side has been told so.
    pub fin_passed: bool,
    /// When the other side has had enough time to read what came before.
    pub until: Instant,
}
