//! The control plane: Kubernetes (or manifests on disk) in, snapshots and status out.

pub mod admin;
pub mod compile;
pub mod config;
pub mod controller;
pub mod crd;
pub mod forward;
pub mod index;
pub mod lease;
pub mod manifest;
pub mod metrics;
mod patch;
pub mod push;
pub mod resolve;
pub mod status;
pub mod validate;
pub mod watch;

#[cfg(test)]
mod scripted;
