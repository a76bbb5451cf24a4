//! Edge. What a session of an HTTP CONNECT proxy does before it is a relay: a head in, who asks, who
//! may go where, the way there, and what is answered.

pub mod head;
pub mod failures;
pub mod names;
pub mod race;
pub mod policy;
pub mod refusal;
pub mod target;
pub mod users;
