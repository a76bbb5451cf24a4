//! Speed beside others: what each unit of work costs a relay, in one run, on one machine.
//!
//! ```text
//!  core of the load                    core of the relay
//!  load ── Path ───────────────────►  Subject: ours, HAProxy, nginx, Envoy, Go, tinyproxy
//!    │        Backend ◄──────────────    │ cpu, memory, switches
//!    ▼                                   ▼
//!  Outcome ──────► rounds (interleaved) ──► Results ──► report: figures, and targets met or missed
//! ```
//!
//! Rates wander with whatever else a machine does; what stays is processor time per unit, compared within a run.

pub mod backend;
pub mod clock;
pub mod cores;
pub mod figure;
pub mod lane;
pub mod load;
pub mod machine;
pub mod outcome;
pub mod path;
pub mod peer;
pub mod report;
pub mod results;
pub mod rounds;
pub mod subject;
pub mod targets;
pub mod user;
