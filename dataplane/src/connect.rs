//! Edge. What a session of an HTTP CONNECT proxy does before it is a relay.

pub mod names;
pub mod race;
