//! Pure. What listeners are told.

/// What a listener does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Accepts connections.
    Accept,
    /// Accepts no more; its sessions go on.
    Stop,
}
