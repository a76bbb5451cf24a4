//! The control plane: Kubernetes (or manifests on disk) in, snapshots and status out.

pub mod compile;
pub mod crd;
pub mod forward;
pub mod index;
pub mod lease;
pub mod manifest;
pub mod metrics;
pub mod push;
pub mod resolve;
pub mod status;
pub mod validate;

#[cfg(test)]
mod scripted;
