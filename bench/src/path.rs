//! Edge. A long path, made here: what it takes to move bytes over it directly, and through a forwarder.
//!
//! ```text
//!  network namespace                        network namespace
//!  client ──────────────┬── TUN ─ Link ─ TUN ──┬────────────── servers, one a congestion control
//!    └─► forwarder ─────┘   delay, rate,       └─► forwarder ───┘
//!        near the client    queue, loss            near the server
//! ```
//!
//! A lane is one such path. Several run side by side, because a transfer that loss makes slow takes minutes and hardly
//! any of the processor.

pub mod direction;
pub mod far;
pub mod forwarder;
pub mod lanes;
pub mod link;
pub mod page;
pub mod place;
pub mod plan;
pub mod results;
pub mod route;
pub mod transfer;
