//! The control plane: Kubernetes (or manifests on disk) in, snapshots and status out.
//!
//! ```text
//!  kube API ─► watch ─┐                                            ┌─► push ══ data planes
//!                     ├─► controller{ index ─► forward, resolve ─► compile }      ║
//!  files ─────────────┘        │                                          roster ◄╝ answers, reports
//!                              └─► status ◄── roster
//!                                    └─► patch ─► record ─► kube API, while `lease` is held
//! ```
//!
//! Pure: `crd`, `validate`, `manifest`, `forward`, `htpasswd`, `pool`, `resolve`, `index`, `compile`,
//! `status`. The rest does IO and decides nothing that a pure module could; `app` is the only wiring.

pub mod admin;
pub mod app;
pub mod check;
mod client;
pub mod compile;
pub mod config;
pub mod controller;
pub mod crd;
pub mod entrance;
pub mod files;
pub mod forward;
pub mod glance;
pub mod htpasswd;
pub mod identity;
pub mod index;
pub mod lease;
pub mod manifest;
pub mod metrics;
mod patch;
pub mod pods;
pub mod pool;
pub mod push;
mod record;
pub mod resolve;
pub mod status;
pub mod validate;
pub mod watch;

#[cfg(test)]
mod scripted;
