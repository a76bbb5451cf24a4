//! Snapshot in, bytes moved.

pub mod balancer;
pub mod relay;
pub mod socket;
