//! Pure. What v1alpha1 has learnt since its first day. A forward names the features that it needs,
//! and a data plane that lacks one refuses it, instead of serving it without.

use crate::snapshot::{
    EstablishedConnections, Failover, ForwardSpec, HealthCheck, ListenerLimits, Policy, TcpOptions,
    Topology,
};

/// Policies other than RoundRobin, slow start, topology.
pub const BALANCING: &str = "balancing";
/// What happens to open sessions, and the age of a connection.
pub const ESTABLISHED: &str = "established-connections";
/// Failover by percentage, failback, hedging.
pub const FAILOVER: &str = "failover";
/// Targets in other namespaces, and cutting what stands on a lost right. Asked for by what stands
/// beside the spec.
pub const GRANTS: &str = "grants";
/// Active and passive checks.
pub const HEALTH: &str = "health-checks";
/// Targets by DNS name.
pub const HOSTS: &str = "hosts";
/// Tunnels by HTTP CONNECT.
pub const HTTP_CONNECT: &str = "http-connect";
/// Limits of listeners and backends.
pub const LIMITS: &str = "limits";
/// More than one port.
pub const PORT_RANGES: &str = "port-ranges";
/// Networks of the cluster that only Services lead to. It is asked of a data plane, not for a forward.
pub const PROTECTED_RANGES: &str = "protected-ranges";
/// The PROXY protocol, either way.
pub const PROXY_PROTOCOL: &str = "proxy-protocol";
/// Who may connect.
pub const SOURCE_RANGES: &str = "source-ranges";
/// Socket options other than the defaults.
pub const TCP_OPTIONS: &str = "tcp-options";
/// Out through a parent proxy.
pub const VIA: &str = "via";

/// All of them, sorted.
pub const ALL: [&str; 14] = [
    BALANCING,
    ESTABLISHED,
    FAILOVER,
    GRANTS,
    HEALTH,
    HOSTS,
    HTTP_CONNECT,
    LIMITS,
    PORT_RANGES,
    PROTECTED_RANGES,
    PROXY_PROTOCOL,
    SOURCE_RANGES,
    TCP_OPTIONS,
    VIA,
];

/// What a data plane has to know to serve this, sorted; but for `GRANTS`, which no spec shows.
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
        (HTTP_CONNECT, spec.connect.is_some()),
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
        (
            TCP_OPTIONS,
            listener.tcp != TcpOptions::default() || relay.tcp != TcpOptions::default(),
        ),
        (VIA, spec.via.is_some()),
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
        let beside = [GRANTS, PROTECTED_RANGES];
        let of_spec = ALL.into_iter().filter(|feature| !beside.contains(feature));
        assert_eq!(required(&testing::full_spec()), of_spec.collect::<Vec<_>>());
    }

    /// A plain forward with this change asks for this feature alone.
    fn asks(expected: &str, change: impl FnOnce(&mut ForwardSpec)) {
        let mut spec = testing::spec(vec![testing::target("a")]);
        change(&mut spec);
        assert_eq!(required(&spec), [expected]);
    }

    #[test]
    fn each_field_of_the_relay_asks_for_its_feature() {
        let full = testing::full_spec();
        let (relay, timeouts) = (full.relay, full.timeouts);
        let (balancer, health) = (relay.load_balancer, relay.health_check);
        asks(BALANCING, |s| {
            s.relay.load_balancer.policy = balancer.policy
        });
        asks(BALANCING, |s| {
            s.relay.load_balancer.slow_start = balancer.slow_start
        });
        asks(BALANCING, |s| {
            s.relay.load_balancer.topology = balancer.topology
        });
        asks(ESTABLISHED, |s| {
            s.relay.established_connections = relay.established_connections
        });
        asks(ESTABLISHED, |s| {
            s.timeouts.max_connection_age = timeouts.max_connection_age
        });
        asks(FAILOVER, |s| s.relay.failover = relay.failover);
        asks(FAILOVER, |s| {
            s.relay.dial.hedge_after = relay.dial.hedge_after
        });
        asks(HEALTH, |s| s.relay.health_check.active = health.active);
        asks(HEALTH, |s| s.relay.health_check.passive = health.passive);
        asks(HOSTS, |s| s.relay.targets = relay.targets);
        asks(HTTP_CONNECT, |s| s.connect = full.connect);
        asks(VIA, |s| s.via = full.via);
        asks(LIMITS, |s| s.relay.backend_limits = relay.backend_limits);
        asks(PROXY_PROTOCOL, |s| {
            s.relay.proxy_protocol = relay.proxy_protocol
        });
        asks(TCP_OPTIONS, |s| s.relay.tcp = relay.tcp);
    }

    #[test]
    fn each_field_of_the_listener_asks_for_its_feature() {
        let full = testing::full_spec().listener;
        let limits = full.limits;
        asks(LIMITS, |s| {
            s.listener.limits.connections = limits.connections
        });
        let per_source = limits.connections_per_source;
        asks(LIMITS, |s| {
            s.listener.limits.connections_per_source = per_source
        });
        let per_second = limits.connections_per_second;
        asks(LIMITS, |s| {
            s.listener.limits.connections_per_second = per_second
        });
        asks(PORT_RANGES, |s| s.listener.end_port = full.end_port);
        asks(PROXY_PROTOCOL, |s| {
            s.listener.proxy_protocol = full.proxy_protocol
        });
        asks(SOURCE_RANGES, |s| {
            s.listener.source_ranges = full.source_ranges
        });
        asks(TCP_OPTIONS, |s| s.listener.tcp = full.tcp);
    }
}
