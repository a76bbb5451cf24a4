//! Every metric of the operator: name, labels, help. Names are kept for ever; `ALL` is what the
//! reference page is made from.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// One metric, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in Prometheus.
    pub name: &'static str,
    /// What it does.
    pub kind: MetricKind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only up, from 0 at the start of the process.
    Counter,
    /// Up and down.
    Gauge,
    /// Counts of observations by size.
    Histogram,
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    let kind = MetricKind::Counter;
    Metric {
        name,
        kind,
        labels,
        help,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    let kind = MetricKind::Gauge;
    Metric {
        name,
        kind,
        labels,
        help,
    }
}

const BUILD_INFO: Metric = gauge(
    "tcpforward_operator_build_info",
    &["version"],
    "Always 1; the version of this operator",
);
const CACHE_READY: Metric = gauge(
    "tcpforward_operator_cache_ready",
    &["kind"],
    "1 once every object of the kind was read",
);
const COMPILED: Metric = counter(
    "tcpforward_operator_compiled_forwards_total",
    &[],
    "Forwards that were compiled, the first pass included; a change costs what it touches",
);
const CONNECTED: Metric = gauge(
    "tcpforward_operator_dataplanes_connected",
    &["pool"],
    "Data planes with a stream to this replica",
);
const EPOCH: Metric = gauge(
    "tcpforward_operator_epoch",
    &[],
    "leaseTransitions of the Lease as this replica saw it; 0 without a Lease",
);
const EVENTS: Metric = counter(
    "tcpforward_operator_events_total",
    &["kind"],
    "Changes of objects that were taken in, by kind; a whole list is one",
);
const FILE_ERRORS: Metric = counter(
    "tcpforward_operator_file_errors_total",
    &[],
    "Findings in manifests on disk; the last good content stays in force",
);
const FORWARDS: Metric = gauge(
    "tcpforward_operator_forwards",
    &["state"],
    "TcpForwards by state: served or rejected",
);
const LEADER: Metric = gauge(
    "tcpforward_operator_leader",
    &[],
    "1 while this replica holds the Lease",
);
const LEASE_ERRORS: Metric = counter(
    "tcpforward_operator_lease_errors_total",
    &[],
    "Calls about the Lease that failed",
);
const NACKS: Metric = counter(
    "tcpforward_operator_nacks_total",
    &["code"],
    "Refusals of a forward by a data plane, each spec of each data plane once",
);
const PATCHES: Metric = counter(
    "tcpforward_operator_status_patches_total",
    &["result"],
    "Writes of a status: written, conflict, gone or failed",
);
const PUSHES: Metric = counter(
    "tcpforward_operator_pushes_total",
    &["scope"],
    "Changes sent to data planes: full or delta",
);
const PUSH_SECONDS: Metric = Metric {
    name: "tcpforward_operator_push_seconds",
    kind: MetricKind::Histogram,
    labels: &[],
    help: "From sending a change to the data plane's word that it has applied it",
};
const PUSH_TIMEOUTS: Metric = counter(
    "tcpforward_operator_push_timeouts_total",
    &[],
    "Streams that were ended because a data plane did not answer a change in time",
);
const RECOMPILES: Metric = counter(
    "tcpforward_operator_passes_total",
    &[],
    "Passes of the controller over gathered events",
);
const STREAMS_REFUSED: Metric = counter(
    "tcpforward_operator_streams_refused_total",
    &["reason"],
    "Streams that were ended for what the other side did: limit, protocol or replaced",
);
const WATCH_ERRORS: Metric = counter(
    "tcpforward_operator_watch_errors_total",
    &["kind"],
    "Failures to watch, by kind of object",
);

/// Every metric of the operator, by name.
pub const ALL: &[Metric] = &[
    BUILD_INFO,
    CACHE_READY,
    COMPILED,
    CONNECTED,
    EPOCH,
    EVENTS,
    FILE_ERRORS,
    FORWARDS,
    LEADER,
    LEASE_ERRORS,
    RECOMPILES,
    NACKS,
    PUSH_SECONDS,
    PUSH_TIMEOUTS,
    PUSHES,
    PATCHES,
    STREAMS_REFUSED,
    WATCH_ERRORS,
];

/// The metrics of one operator, registered.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Where they are gathered from.
    pub registry: Registry,
    pub(crate) cache_ready: IntGaugeVec,
    pub(crate) compiled: IntCounter,
    pub(crate) connected: IntGaugeVec,
    pub(crate) epoch: IntGauge,
    pub(crate) events: IntCounterVec,
    pub(crate) file_errors: IntCounter,
    pub(crate) forwards: IntGaugeVec,
    pub(crate) leader: IntGauge,
    pub(crate) lease_errors: IntCounter,
    pub(crate) nacks: IntCounterVec,
    pub(crate) passes: IntCounter,
    pub(crate) patches: IntCounterVec,
    pub(crate) pushes: IntCounterVec,
    pub(crate) push_seconds: Histogram,
    pub(crate) push_timeouts: IntCounter,
    pub(crate) streams_refused: IntCounterVec,
    pub(crate) watch_errors: IntCounterVec,
}

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// The registry has a metric of one of these names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |metric: Metric| -> Result<IntCounter, prometheus::Error> {
            let made = IntCounter::new(metric.name, metric.help)?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let counters = |metric: Metric| -> Result<IntCounterVec, prometheus::Error> {
            let made = IntCounterVec::new(Opts::new(metric.name, metric.help), metric.labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let gauge = |metric: Metric| -> Result<IntGauge, prometheus::Error> {
            let made = IntGauge::new(metric.name, metric.help)?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let gauges = |metric: Metric| -> Result<IntGaugeVec, prometheus::Error> {
            let made = IntGaugeVec::new(Opts::new(metric.name, metric.help), metric.labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let push_seconds = Histogram::with_opts(
            HistogramOpts::new(PUSH_SECONDS.name, PUSH_SECONDS.help).buckets(vec![
                0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0,
            ]),
        )?;
        registry.register(Box::new(push_seconds.clone()))?;
        gauges(BUILD_INFO)?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        Ok(Self {
            registry: registry.clone(),
            cache_ready: gauges(CACHE_READY)?,
            compiled: counter(COMPILED)?,
            connected: gauges(CONNECTED)?,
            epoch: gauge(EPOCH)?,
            events: counters(EVENTS)?,
            file_errors: counter(FILE_ERRORS)?,
            forwards: gauges(FORWARDS)?,
            leader: gauge(LEADER)?,
            lease_errors: counter(LEASE_ERRORS)?,
            nacks: counters(NACKS)?,
            passes: counter(RECOMPILES)?,
            patches: counters(PATCHES)?,
            pushes: counters(PUSHES)?,
            push_seconds,
            push_timeouts: counter(PUSH_TIMEOUTS)?,
            streams_refused: counters(STREAMS_REFUSED)?,
            watch_errors: counters(WATCH_ERRORS)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_in_the_table_once_and_has_our_prefix() {
        let registry = Registry::new();
        Metrics::new(&registry).unwrap();
        for metric in ALL {
            assert!(
                metric.name.starts_with("tcpforward_operator_"),
                "{}",
                metric.name
            );
            assert!(!metric.help.is_empty());
            let again = IntCounter::new(metric.name, metric.help).unwrap();
            let plain = metric.labels.is_empty() && metric.kind == MetricKind::Counter;
            let registered = registry.register(Box::new(again)).is_err();
            assert!(registered || !plain, "{} is not registered", metric.name);
        }
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|m| m.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
