//! Pure. What an absent field means. Each default stands here and nowhere else.

use std::num::NonZeroU32;
use std::time::Duration;

use tcpforward_protocol::snapshot::{
    EstablishedConnections, Failback, Fate, PolicyMode, TcpKeepalive, Topology, WhenNoneHealthy,
};

use super::{ExposeType, TrafficPolicy};

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

/// `spec.timeouts.maxConnectionAge`.
pub const MAX_CONNECTION_AGE: Option<Duration> = None;
/// `spec.relay.healthCheck.active.interval`.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// `spec.relay.healthCheck.active.timeout`.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// `spec.relay.healthCheck.active.unhealthyThreshold`.
pub const UNHEALTHY_THRESHOLD: u32 = 3;
/// `spec.relay.healthCheck.active.healthyThreshold`.
pub const HEALTHY_THRESHOLD: u32 = 2;
/// `spec.relay.healthCheck.active.http.path`.
pub const HTTP_PATH: &str = "/";
/// `spec.relay.healthCheck.passive.consecutiveDialFailures`.
pub const CONSECUTIVE_DIAL_FAILURES: u32 = 5;
/// `spec.relay.healthCheck.passive.consecutiveEarlyResets`.
pub const CONSECUTIVE_EARLY_RESETS: u32 = 0;
/// `spec.relay.healthCheck.passive.baseEjectionTime`.
pub const BASE_EJECTION_TIME: Duration = Duration::from_secs(30);
/// `spec.relay.healthCheck.passive.maxEjectionPercent`.
pub const MAX_EJECTION_PERCENT: u8 = 50;
/// `spec.relay.backendLimits.queueTimeout`.
pub const QUEUE_TIMEOUT: Duration = Duration::ZERO;

/// `spec.httpConnect.mode`.
pub const POLICY_MODE: PolicyMode = PolicyMode::Enforce;
/// `spec.httpConnect.rules[].ports`.
pub const TUNNEL_PORT: i32 = 443;
/// `spec.httpConnect.limits.headerTimeout`.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// `spec.httpConnect.limits.maxHeaderSize`.
pub const MAX_HEADER_SIZE: u32 = 16 << 10;
/// `spec.expose.externalTrafficPolicy`.
pub const EXTERNAL_TRAFFIC_POLICY: TrafficPolicy = TrafficPolicy::Cluster;
/// `spec.allowedExposeTypes` of a DataPlane.
pub const ALLOWED_EXPOSE_TYPES: [ExposeType; 2] = [ExposeType::None, ExposeType::ClusterIP];

/// When the dial of a proxy's Service is hedged, which no field says.
pub const TUNNEL_HEDGE: Duration = Duration::from_millis(250);

/// `spec.relay.loadBalancer.topology`.
pub const TOPOLOGY: Topology = Topology::Auto;
/// `spec.relay.failover.failback`.
pub const FAILBACK: Failback = Failback::Immediate;
/// `spec.relay.healthCheck.whenNoneHealthy`.
pub const WHEN_NONE_HEALTHY: WhenNoneHealthy = WhenNoneHealthy::Refuse;

/// `noDelay` of `spec.listener.tcp` and `spec.relay.tcp`.
pub const NO_DELAY: bool = true;
/// `fastOpen` of both.
pub const FAST_OPEN: bool = false;
/// `multipath` of both.
pub const MULTIPATH: bool = false;

/// `tcpKeepalive` of `spec.listener.tcp` and `spec.relay.tcp`.
#[must_use]
pub fn tcp_keepalive() -> TcpKeepalive {
    TcpKeepalive {
        idle_time: Duration::from_secs(60),
        interval: Duration::from_secs(10),
        probes: NonZeroU32::new(3).unwrap_or(NonZeroU32::MIN),
    }
}

/// `spec.relay.establishedConnections`.
#[must_use]
pub fn established_connections() -> EstablishedConnections {
    EstablishedConnections {
        on_not_ready: Fate::Keep,
        on_terminating: Fate::Keep,
        on_unhealthy: Fate::Keep,
        on_failback: Fate::Keep,
        on_removed: Fate::Drain,
        drain_timeout: Duration::from_secs(30),
        closes_per_second: NonZeroU32::new(100).unwrap_or(NonZeroU32::MIN),
    }
}

/// The pool of a forward that names none.
#[must_use]
pub fn data_plane_name() -> String {
    DATA_PLANE_NAME.to_owned()
}

// CEL knows no constants of ours: a test proves that these name the same defaults.

/// Holds when one attempt fits into all of them.
pub(crate) const TIMEOUT_WITHIN_DEADLINE: &str = "duration(has(self.timeout) ? self.timeout : '1s') \
     <= duration(has(self.deadline) ? self.deadline : '5s')";

/// What to say when it does not.
pub(crate) const TIMEOUT_BEYOND_DEADLINE: &str = "'timeout (' + (has(self.timeout) ? self.timeout : '1s, the default') \
     + ') must not be longer than deadline (' + (has(self.deadline) ? self.deadline : '5s, the default') \
     + '): one attempt has to fit into all of them'";

/// Holds when a hedge comes before its attempt ends.
pub(crate) const HEDGE_WITHIN_TIMEOUT: &str = "!has(self.hedge) || duration(self.hedge.after) \
     < duration(has(self.timeout) ? self.timeout : '1s')";

/// What to say when it does not.
pub(crate) const HEDGE_BEYOND_TIMEOUT: &str = "'must be shorter than timeout (' + (has(self.timeout) ? self.timeout : '1s, the default') \
     + '): by then the attempt has ended'";

/// Holds when a check ends before the next one begins.
pub(crate) const TIMEOUT_WITHIN_INTERVAL: &str = "duration(has(self.timeout) ? self.timeout : '1s') \
     <= duration(has(self.interval) ? self.interval : '5s')";

/// What to say when it does not.
pub(crate) const TIMEOUT_BEYOND_INTERVAL: &str = "'must not be longer than interval (' + (has(self.interval) ? self.interval : '5s, the default') \
     + ')' + (has(self.timeout) ? '' : ', and is 1s unless set') + ': a check has to end before the next one'";
