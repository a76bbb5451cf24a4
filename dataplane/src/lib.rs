//! The forwarder: a snapshot in, bytes moved.
//!
//! ```text
//!  operator ══Update══► sync ─► plan ─► serving ─► workers (one thread per core)
//!     ▲                   │                │            │
//!     └═Applied, Report═══┘◄──── view ◄────┘            ▼
//!                                                    listener
//!  client ─► listener ─► session ─► balancer.pick ─► dial ─► relay ─► access_log, metrics
//!                                        ▲ reached | failed ──┘
//! ```
//!
//! One thread runs `sync`, `serving` and the pages; each worker runs its own listeners and sessions.
//! `probe` (checks) and `hosts` (names) have a thread of their own and tell the balancer, too.

pub mod access_log;
pub mod admin;
pub mod app;
pub mod balancer;
pub mod channel;
pub mod config;
pub mod connect;
pub mod dial;
pub mod drain;
pub mod handover;
pub mod hosts;
mod last_good;
pub mod limits;
pub mod listener;
pub mod metrics;
pub mod parent;
pub mod place;
pub mod plan;
pub mod probe;
pub mod proxy_protocol;
pub mod relay;
pub mod served;
pub mod serving;
pub mod session;
pub mod sessions;
pub mod shared;
pub mod socket;
pub mod sync;
pub mod tls;
pub mod view;
pub mod workers;
