//! Pure. How it is known whether a backend can be used.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

/// Checks that we start, what sessions tell, and what to do when nobody is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Absent: none.
    pub active: Option<ActiveCheck>,
    /// What dials of sessions tell.
    pub passive: PassiveCheck,
    /// What a new session gets then.
    pub when_none_healthy: WhenNoneHealthy,
}

/// A check that we start, on a fresh connection each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveCheck {
    /// From one to the next, of each backend.
    pub interval: Duration,
    /// Of one check, at most `interval`.
    pub timeout: Duration,
    /// Failures in a row after which a backend is left out.
    pub unhealthy_threshold: NonZeroU32,
    /// Successes in a row after which it is used again.
    pub healthy_threshold: NonZeroU32,
    /// What is done.
    pub probe: Probe,
}

/// What a check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Asks by HTTP/1.1.
    Http(HttpProbe),
    /// Connects, and perhaps talks.
    Tcp(TcpProbe),
}

/// Both empty: a connection is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpProbe {
    /// What is sent.
    pub send: Vec<u8>,
    /// What the answer has to contain; at most 4 KiB.
    pub receive: Vec<u8>,
}

/// A GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// Absent: the backend's own.
    pub port: Option<NonZeroU16>,
    /// Of the request.
    pub path: String,
    /// Expected ones; empty: 200 to 399.
    pub statuses: Vec<u16>,
}

/// What dials of sessions tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassiveCheck {
    /// Failures in a row after which a backend is ejected; absent: never.
    pub consecutive_dial_failures: Option<NonZeroU32>,
    /// Resets by the backend before its first byte, in a row; absent: they count for nothing.
    pub consecutive_early_resets: Option<NonZeroU32>,
    /// How long the first ejection lasts; each further one lasts longer.
    pub base_ejection_time: Duration,
    /// 0 to 100: how much of a priority may be ejected at a time.
    pub max_ejection_percent: u8,
}

/// What a new session gets when no backend is healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenNoneHealthy {
    /// A reset at once.
    Refuse,
    /// Any backend that takes new sessions.
    TryAll,
}

/// What a message of before these fields means: nobody is ever left out.
impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            active: None,
            passive: PassiveCheck {
                consecutive_dial_failures: None,
                consecutive_early_resets: None,
                base_ejection_time: Duration::ZERO,
                max_ejection_percent: 0,
            },
            when_none_healthy: WhenNoneHealthy::TryAll,
        }
    }
}
