//! The control plane: Kubernetes (or manifests on disk) in, snapshots and status out.

pub mod crd;
pub mod lease;
pub mod metrics;
pub mod push;
pub mod validate;

#[cfg(test)]
mod scripted;
