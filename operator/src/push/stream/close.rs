//! Pure. Why a stream is ended.

use tcpforward_protocol::version::Version;
use tcpforward_protocol::wire::Invalid;

use crate::identity::verdict::Refusal;

/// Why a stream is ended.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Close {
    #[error("no answer to update {nonce} in 30 s")]
    NoAnswer { nonce: u64 },
    #[error("no hello in 10 s")]
    NoHello,
    #[error("the first message of a stream is a hello")]
    NotAHello,
    #[error(
        "update {nonce} makes {wanted}, the data plane says {held}: connect with an empty version"
    )]
    OtherContent {
        nonce: u64,
        wanted: Version,
        held: String,
    },
    #[error("a hello can't change {field} within a stream")]
    OtherIdentity { field: &'static str },
    #[error(
        "the pool protects the cluster's own networks, and this data plane can't: upgrade it, or have its DataPlane's spec.addressTargets say Any"
    )]
    Outdated,
    #[error("a newer stream of this data plane has replaced this one")]
    Replaced,
    #[error("this operator is shutting down")]
    ShuttingDown,
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Refused(#[from] Refusal),
}
