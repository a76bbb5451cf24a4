//! Pure. What the operator and the data plane say to each other.
//!
//! ```text
//!  data plane                                     operator (every replica)
//!     │ ── Hello{pod, pool, version, epoch, source} ──► │
//!     │ ◄─────────────── Welcome{node, zone, epoch} ─── │
//!     │ ── Applied{full: what it serves} ─────────────► │
//!     │ ◄── Update{nonce, epoch, version, parts…} ───── │  only where source
//!     │ ── Applied{nonce, version, refused} ──────────► │  on every stream
//!     │ ── Report{failing, listeners, sessions} ──────► │  on every stream
//! ```
//!
//! `snapshot` holds the validated types, `wire` turns messages into them and back,
//! `version` names a set by its content, `delta` finds and cuts what changed.

pub mod answer;
pub mod delta;
pub mod feature;
pub mod guard;
pub mod snapshot;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod version;
pub mod wire;

/// Generated messages and, behind the features `client` and `server`, stubs.
#[allow(
    missing_docs,
    clippy::all,
    clippy::too_many_lines,
    reason = "generated; documented in the .proto"
)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/tcpforward.v1alpha1.rs"));
}

/// Bytes of forwards that one `Update` part carries at most, unless a single forward is larger.
pub const PART_BYTES: usize = 1 << 20;

/// Bytes of one gRPC message at most: a part and the largest single forward.
pub const MESSAGE_BYTES: usize = 8 << 20;

/// Bytes that a data plane gathers for one change at most, over all its parts.
pub const CHANGE_BYTES: usize = 256 << 20;

/// Backends of one forward at most; what is beyond is left out and said in its conditions.
pub const BACKENDS_PER_FORWARD: usize = 10_000;

/// Bytes of all backends of one forward at most, as `wire::backend_bytes` counts them: with its
/// spec a forward still fits a message.
pub const BACKENDS_BYTES: usize = 3 << 20;

/// Ports of one listener at most.
pub const PORTS_PER_LISTENER: usize = 100;

/// CIDRs of one list at most.
pub const RANGES: usize = 256;

/// Networks that nobody may be led to but by a Service, at most, once joined: the nodes of the largest
/// clusters and their pods. They travel with every change of a set, 17 bytes each at most.
pub const PROTECTED_RANGES: usize = 16_384;

/// Rules of one CONNECT proxy at most, and entries of each list in a rule.
pub const RULES: usize = 256;

/// Ports of Services that the rules of one CONNECT proxy lead to, at most.
pub const SERVICE_PORTS: usize = 512;

/// Users of one CONNECT proxy at most.
pub const USERS: usize = 4096;

/// Bytes of the certificates that a parent proxy's may be signed by, at most.
pub const CA_BYTES: usize = 64 << 10;

/// Bytes of the head of a CONNECT request that may be allowed.
pub const HEAD_BYTES: std::ops::RangeInclusive<u32> = 1 << 10..=64 << 10;

/// Bytes of a socket's buffer, and of what may wait in it unsent.
pub const SOCKET_BUFFERS: std::ops::RangeInclusive<u32> = 4 << 10..=512 << 20;

/// Bytes of a segment that the kernel takes as its limit (`TCP_MIN_MSS`, `MAX_TCP_WINDOW`).
pub const SEGMENT_SIZES: std::ops::RangeInclusive<u32> = 88..=32_767;

/// Seconds of keepalive, as the kernel takes them (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL`).
pub const KEEPALIVE_SECONDS: std::ops::RangeInclusive<u32> = 1..=32_767;

/// Probes of keepalive, as the kernel takes them (`MAX_TCP_KEEPCNT`).
pub const KEEPALIVE_PROBES: std::ops::RangeInclusive<u32> = 1..=127;

/// Bytes of the name of a congestion control at most (`TCP_CA_NAME_MAX`, which counts a zero byte).
pub const CONGESTION_CONTROL_BYTES: usize = 15;

/// Bytes that a check sends or expects, at most.
pub const PROBE_BYTES: usize = 4 << 10;

/// Characters of a text that travels to a status, at most.
pub const TEXT_CHARS: usize = 256;
