//! Pure. What a data plane says of itself: what it serves, what it refused, how things go.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::delta::Scope;
use crate::snapshot::ForwardName;
use crate::version::{Hash, Version};

/// The opening of a stream, and again whenever `source` changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Name of the pod, or what stands for one.
    pub pod: String,
    /// Tells apart two lives of one name.
    pub uid: String,
    /// Where the pod runs, as far as it knows.
    pub node: String,
    /// Which pool's forwards it serves.
    pub pool: String,
    /// Version of the program, for people.
    pub build: String,
    /// What it can do beyond the base of this protocol version.
    pub features: Vec<String>,
    /// The set that it holds; absent: nothing.
    pub version: Option<Version>,
    /// Highest epoch that it has applied.
    pub epoch: u64,
    /// Whether it takes updates from this stream.
    pub source: Source,
}

/// Whether a stream is the one that updates are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Its updates are applied.
    Chosen,
    /// It only hears answers and reports.
    Listening,
}

/// What is served and what is not; an acknowledgement if `nonce` is not 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Of the update that this answers; 0: of its own accord.
    pub nonce: u64,
    /// The set that is held; absent: nothing yet.
    pub version: Option<Version>,
    /// Highest epoch applied.
    pub epoch: u64,
    /// Whether `serving` is everything or only what changed.
    pub scope: Scope,
    /// Forwards that are served, by which spec.
    pub serving: Vec<Serving>,
    /// Everything that is refused at present.
    pub refused: Vec<Refusal>,
}

/// One forward as a data plane serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// Which.
    pub forward: ForwardName,
    /// Absent: not served any more.
    pub spec: Option<ServedSpec>,
}

/// Which state of a TcpForward is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedSpec {
    /// Hash of the spec.
    pub hash: Hash,
    /// Its generation.
    pub generation: i64,
}

/// A forward that a data plane could not take; it keeps serving the former state, if any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which.
    pub forward: ForwardName,
    /// Which spec of it.
    pub spec_hash: Hash,
    /// What kind of refusal.
    pub code: RefusalCode,
    /// What is wrong and what to do, for people.
    pub text: String,
}

/// Kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalCode {
    /// The listener can't be bound.
    BindFailed,
    /// The message makes no sense to this data plane.
    Invalid,
    /// It needs a feature that this data plane lacks.
    Unsupported,
}

/// How things go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Backends whose latest dial failed.
    pub failing: Vec<FailingBackend>,
    /// What is bound.
    pub listeners: Vec<BoundListener>,
    /// Sessions of each forward.
    pub sessions: Vec<SessionCount>,
    /// What targets by DNS name lead to.
    pub hosts: Vec<ResolvedHost>,
}

/// A backend whose latest dial failed, or that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingBackend {
    /// Of which forward.
    pub forward: ForwardName,
    /// Of which target.
    pub target: String,
    /// Which address.
    pub address: SocketAddr,
    /// Kind of failure.
    pub reason: DialError,
    /// The failure's text.
    pub message: String,
    /// Unix milliseconds of the first failure of the present run.
    pub since_ms: u64,
    /// Whether new sessions avoid it.
    pub left_out: LeftOut,
}

/// Whether new sessions avoid a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    /// Sessions failed there too often.
    Ejected,
    /// They don't.
    No,
    /// Our checks fail.
    Unhealthy,
}

/// What a target by DNS name leads to at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedHost {
    /// Of which forward.
    pub forward: ForwardName,
    /// Of which target.
    pub target: String,
    /// In use; the last good ones while DNS fails.
    pub addresses: Vec<IpAddr>,
    /// What is wrong with the latest answer; absent: nothing.
    pub error: Option<HostError>,
}

/// What is wrong with the latest answer for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError {
    /// What it means.
    pub kind: HostErrorKind,
    /// For people.
    pub text: String,
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostErrorKind {
    /// It leads to addresses that must not be dialled.
    Forbidden,
    /// There is no answer; earlier ones may be in use.
    NotResolved,
    /// Only a part of the answer could be had, or is used.
    PartlyResolved,
}

impl HostError {
    /// One of that kind.
    #[must_use]
    pub fn new(kind: HostErrorKind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, text }
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Kinds of failure to reach a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DialError {
    /// None of the others.
    Other,
    /// It answered the SYN with a reset.
    Refused,
    /// It reset a session before its first byte.
    Reset,
    /// No answer in time.
    Timeout,
    /// It was reached and answered a check with something else.
    Unexpected,
    /// The network says there is no way.
    Unreachable,
}

/// An address that a forward listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundListener {
    /// Which forward.
    pub forward: ForwardName,
    /// As bound.
    pub address: SocketAddr,
}

/// Sessions of one forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCount {
    /// Which forward.
    pub forward: ForwardName,
    /// At present.
    pub open: u64,
    /// Since the data plane started.
    pub total: u64,
}
