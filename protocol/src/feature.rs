//! Pure. What v1alpha1 has learnt since its first day. A forward names the features that it needs,
//! and a data plane that lacks one refuses it, instead of serving it without.

use crate::snapshot::{
    EstablishedConnections, Failover, ForwardSpec, HealthCheck, ListenerLimits, Policy, Topology,
};

/// Policies other than RoundRobin, slow start, topology.
pub const BALANCING: &str = "balancing";
/// What happens to open sessions, and the age of a connection.
pub const ESTABLISHED: &str = "established-connections";
/// Failover by percentage, failback, hedging.
pub const FAILOVER: &str = "failover";
/// Active and passive checks.
pub const HEALTH: &str = "health-checks";
/// Targets by DNS name.
pub const HOSTS: &str = "hosts";
/// Limits of listeners and backends.
pub const LIMITS: &str = "limits";
/// More than one port.
pub const PORT_RANGES: &str = "port-ranges";
/// The PROXY protocol, either way.
pub const PROXY_PROTOCOL: &str = "proxy-protocol";
/// Who may connect.
pub const SOURCE_RANGES: &str = "source-ranges";

/// All of them, sorted.
pub const ALL: [&str; 9] = [
    BALANCING,
    ESTABLISHED,
    FAILOVER,
    HEALTH,
    HOSTS,
    LIMITS,
    PORT_RANGES,
    PROXY_PROTOCOL,
    SOURCE_RANGES,
];

/// What a data plane has to know to serve this, sorted.
#[must_use]
pub fn required(spec: &ForwardSpec) -> Vec<String> {
    let (listener, relay) = (&spec.listener, &spec.relay);
    let balancer = relay.load_balancer;
    let needs = [
        (
            BALANCING,
            balancer.policy != Policy::RoundRobin
                || balancer.slow_start.is_some()
                || balancer.topology != Topology::Ignore,
        ),
        (
            ESTABLISHED,
            relay.established_connections != EstablishedConnections::default()
                || spec.timeouts.max_connection_age.is_some(),
        ),
        (
            FAILOVER,
            relay.failover != Failover::default() || relay.dial.hedge_after.is_some(),
        ),
        (HEALTH, relay.health_check != HealthCheck::default()),
        (HOSTS, relay.targets.iter().any(|t| t.host.is_some())),
        (
            LIMITS,
            listener.limits != ListenerLimits::default() || relay.backend_limits.is_some(),
        ),
        (PORT_RANGES, listener.end_port.is_some()),
        (
            PROXY_PROTOCOL,
            listener.proxy_protocol.is_some() || relay.proxy_protocol.is_some(),
        ),
        (SOURCE_RANGES, !listener.source_ranges.is_empty()),
    ];
    let needed = needs.into_iter().filter(|(_, is_needed)| *is_needed);
    needed.map(|(feature, _)| feature.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_plain_forward_needs_nothing_and_a_full_one_everything() {
        let plain = testing::spec(vec![testing::target("a")]);
        assert_eq!(required(&plain), [""; 0]);
        assert_eq!(required(&testing::full_spec()), ALL);
    }
}
