//! Edge. What a session of an HTTP CONNECT proxy does before it is a relay: a head in, who asks, who
//! may go where, the way there, and what is answered.

pub mod answer;
pub mod failures;
pub mod head;
pub mod hops;
pub mod names;
mod path;
pub mod policy;
pub mod proxy;
pub mod race;
pub mod refusal;
pub mod target;
pub mod tunnel;
pub mod tunnels;
pub mod users;
