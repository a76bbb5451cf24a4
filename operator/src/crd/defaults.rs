//! Pure. What an absent field means. Each default stands here and nowhere else.

use std::time::Duration;

/// `spec.dataPlaneName`.
pub const DATA_PLANE_NAME: &str = "default";
/// `spec.relay.targets[].weight`.
pub const WEIGHT: u32 = 1;
/// `spec.relay.targets[].priority`.
pub const PRIORITY: u32 = 0;
/// `spec.relay.dial.timeout`.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// `spec.relay.dial.attempts`.
pub const DIAL_ATTEMPTS: u32 = 3;
/// `spec.relay.dial.deadline`.
pub const DIAL_DEADLINE: Duration = Duration::from_secs(5);
/// `spec.timeouts.idle`.
pub const IDLE: Option<Duration> = None;
/// `spec.timeouts.halfClosed`.
pub const HALF_CLOSED: Option<Duration> = Some(Duration::from_secs(3600));

pub(crate) fn data_plane_name() -> String {
    DATA_PLANE_NAME.to_owned()
}

// CEL knows no constants of ours: a test proves that these two name the same defaults.

/// Holds when one attempt fits into all of them.
pub(crate) const TIMEOUT_WITHIN_DEADLINE: &str = "duration(has(self.timeout) ? self.timeout : '1s') \
     <= duration(has(self.deadline) ? self.deadline : '5s')";

/// What to say when it does not.
pub(crate) const TIMEOUT_BEYOND_DEADLINE: &str = "'timeout (' + (has(self.timeout) ? self.timeout : '1s, the default') \
     + ') must not be longer than deadline (' + (has(self.deadline) ? self.deadline : '5s, the default') \
     + '): one attempt has to fit into all of them'";
