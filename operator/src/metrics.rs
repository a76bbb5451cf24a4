//! Every metric of the operator: name, labels, help. Names are kept for ever; `ALL` is what the
//! reference page is made from.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use tcpforward_process::metric::Metric;

const BUILD_INFO: Metric = Metric::gauge(
    "tcpforward_operator_build_info",
    &["version"],
    "Always 1; the version of this operator",
);
const CACHE_READY: Metric = Metric::gauge(
    "tcpforward_operator_cache_ready",
    &["kind"],
    "1 once every object of the kind was read",
);
const CERTIFICATE_EXPIRY: Metric = Metric::gauge(
    "tcpforward_operator_certificate_expiry_timestamp_seconds",
    &[],
    "When the certificate that data planes see ends, in seconds since 1970; 0 without one",
);
const COMPILED: Metric = Metric::counter(
    "tcpforward_operator_compiled_forwards_total",
    &[],
    "Forwards that were compiled, the first pass included; a change costs what it touches",
);
const CONNECTED: Metric = Metric::gauge(
    "tcpforward_operator_dataplanes_connected",
    &["pool"],
    "Data planes with a stream to this replica",
);
const EPOCH: Metric = Metric::gauge(
    "tcpforward_operator_epoch",
    &[],
    "leaseTransitions of the Lease as this replica saw it; 0 without a Lease",
);
const EVENTS: Metric = Metric::counter(
    "tcpforward_operator_events_total",
    &["kind"],
    "Changes of objects that were taken in, by kind; a whole list is one",
);
const FILE_ERRORS: Metric = Metric::counter(
    "tcpforward_operator_file_errors_total",
    &[],
    "Findings in manifests on disk; the last good content stays in force",
);
const FORWARDS: Metric = Metric::gauge(
    "tcpforward_operator_forwards",
    &["state"],
    "TcpForwards by state: served or rejected",
);
const IDENTITY_REFUSALS: Metric = Metric::counter(
    "tcpforward_operator_identity_refusals_total",
    &["reason"],
    "Who was turned away before anything was said: account, audience, busy, handshake, hello, no_token, token, unavailable or unbound",
);
const LEADER: Metric = Metric::gauge(
    "tcpforward_operator_leader",
    &[],
    "1 while this replica holds the Lease",
);
const LEASE_ERRORS: Metric = Metric::counter(
    "tcpforward_operator_lease_errors_total",
    &[],
    "Calls about the Lease that failed",
);
const NACKS: Metric = Metric::counter(
    "tcpforward_operator_nacks_total",
    &["code"],
    "Refusals of a forward by a data plane, each spec of each data plane once",
);
const PATCHES: Metric = Metric::counter(
    "tcpforward_operator_status_patches_total",
    &["result"],
    "Writes of a status: written, conflict, gone or failed",
);
const PUSHES: Metric = Metric::counter(
    "tcpforward_operator_pushes_total",
    &["scope"],
    "Changes sent to data planes: full or delta",
);
const PUSH_SECONDS: Metric = Metric::histogram(
    "tcpforward_operator_push_seconds",
    &[],
    "From sending a change to the data plane's word that it has applied it",
);
const PUSH_TIMEOUTS: Metric = Metric::counter(
    "tcpforward_operator_push_timeouts_total",
    &[],
    "Streams that were ended because a data plane did not answer a change in time",
);
const PASSES: Metric = Metric::counter(
    "tcpforward_operator_passes_total",
    &[],
    "Passes of the controller over gathered events",
);
const RECORDS: Metric = Metric::counter(
    "tcpforward_operator_recorded_events_total",
    &["result"],
    "Events about TcpForwards: written, failed or dropped because they were too many",
);
const SERVICE_WRITES: Metric = Metric::counter(
    "tcpforward_operator_service_writes_total",
    &["result"],
    "Writes of Services by which clients come: written, conflict, gone or failed",
);
const STREAMS_REFUSED: Metric = Metric::counter(
    "tcpforward_operator_streams_refused_total",
    &["reason"],
    "Streams that were ended for what the other side did: identity, limit, protocol, replaced or timeout",
);
const TOKEN_REVIEWS: Metric = Metric::counter(
    "tcpforward_operator_token_reviews_total",
    &["result"],
    "Tokens that the API server was asked about: good, refused or failed",
);
const WATCH_ERRORS: Metric = Metric::counter(
    "tcpforward_operator_watch_errors_total",
    &["kind"],
    "Failures to watch, by kind of object",
);

/// From a delta on one host to a data plane that is about to be given up.
const PUSH_BOUNDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];

/// Every metric of the operator, by name.
pub const ALL: &[Metric] = &[
    BUILD_INFO,
    CACHE_READY,
    CERTIFICATE_EXPIRY,
    COMPILED,
    CONNECTED,
    EPOCH,
    EVENTS,
    FILE_ERRORS,
    FORWARDS,
    IDENTITY_REFUSALS,
    LEADER,
    LEASE_ERRORS,
    NACKS,
    PASSES,
    PUSH_SECONDS,
    PUSH_TIMEOUTS,
    PUSHES,
    PATCHES,
    RECORDS,
    SERVICE_WRITES,
    STREAMS_REFUSED,
    TOKEN_REVIEWS,
    WATCH_ERRORS,
];

/// The metrics of one operator, registered.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Where they are gathered from.
    pub registry: Registry,
    pub(crate) cache_ready: IntGaugeVec,
    pub(crate) certificate_expiry: IntGauge,
    pub(crate) compiled: IntCounter,
    pub(crate) connected: IntGaugeVec,
    pub(crate) epoch: IntGauge,
    pub(crate) events: IntCounterVec,
    pub(crate) file_errors: IntCounter,
    pub(crate) forwards: IntGaugeVec,
    pub(crate) identity_refusals: IntCounterVec,
    pub(crate) leader: IntGauge,
    pub(crate) lease_errors: IntCounter,
    pub(crate) nacks: IntCounterVec,
    pub(crate) passes: IntCounter,
    pub(crate) patches: IntCounterVec,
    pub(crate) pushes: IntCounterVec,
    pub(crate) push_seconds: Histogram,
    pub(crate) push_timeouts: IntCounter,
    pub(crate) records: IntCounterVec,
    pub(crate) service_writes: IntCounterVec,
    pub(crate) streams_refused: IntCounterVec,
    pub(crate) token_reviews: IntCounterVec,
    pub(crate) watch_errors: IntCounterVec,
}

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// The registry has a metric of one of these names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |metric: Metric| -> Result<IntCounter, prometheus::Error> {
            let made = IntCounter::with_opts(metric.opts())?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let counters = |metric: Metric| -> Result<IntCounterVec, prometheus::Error> {
            let made = IntCounterVec::new(metric.opts(), metric.labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let gauge = |metric: Metric| -> Result<IntGauge, prometheus::Error> {
            let made = IntGauge::with_opts(metric.opts())?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let gauges = |metric: Metric| -> Result<IntGaugeVec, prometheus::Error> {
            let made = IntGaugeVec::new(metric.opts(), metric.labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let push_seconds = Histogram::with_opts(PUSH_SECONDS.histogram_opts(PUSH_BOUNDS))?;
        registry.register(Box::new(push_seconds.clone()))?;
        gauges(BUILD_INFO)?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        Ok(Self {
            registry: registry.clone(),
            cache_ready: gauges(CACHE_READY)?,
            certificate_expiry: gauge(CERTIFICATE_EXPIRY)?,
            compiled: counter(COMPILED)?,
            connected: gauges(CONNECTED)?,
            epoch: gauge(EPOCH)?,
            events: counters(EVENTS)?,
            file_errors: counter(FILE_ERRORS)?,
            forwards: gauges(FORWARDS)?,
            identity_refusals: counters(IDENTITY_REFUSALS)?,
            leader: gauge(LEADER)?,
            lease_errors: counter(LEASE_ERRORS)?,
            nacks: counters(NACKS)?,
            passes: counter(PASSES)?,
            patches: counters(PATCHES)?,
            pushes: counters(PUSHES)?,
            push_seconds,
            push_timeouts: counter(PUSH_TIMEOUTS)?,
            records: counters(RECORDS)?,
            service_writes: counters(SERVICE_WRITES)?,
            streams_refused: counters(STREAMS_REFUSED)?,
            token_reviews: counters(TOKEN_REVIEWS)?,
            watch_errors: counters(WATCH_ERRORS)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use tcpforward_process::metric::Kind;

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
            let again = IntCounter::with_opts(metric.opts()).unwrap();
            let plain = metric.labels.is_empty() && metric.kind == Kind::Counter;
            let registered = registry.register(Box::new(again)).is_err();
            assert!(registered || !plain, "{} is not registered", metric.name);
        }
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|m| m.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
