//! Pure. Metrics of the whole process, whatever it forwards.

use tcpforward_process::metric::Metric;

pub(super) const FORWARDS: Metric = Metric::gauge(
    "tcpforward_dataplane_forwards_serving",
    &[],
    "Forwards with a bound listener.",
);
pub(super) const REFUSED: Metric = Metric::gauge(
    "tcpforward_dataplane_forwards_refused",
    &["code"],
    "Forwards whose wanted spec is refused; the former one stays in service.",
);
pub(super) const ACCEPT_ERRORS: Metric = Metric::counter(
    "tcpforward_dataplane_accept_errors_total",
    &[],
    "Connections that could not be accepted; the listener rests 100 ms after each.",
);
pub(super) const ACCEPT_WAITS: Metric = Metric::counter(
    "tcpforward_dataplane_accept_waits_total",
    &[],
    "Times that a connection had to wait because descriptors were short.",
);
pub(super) const PORT_WAITS: Metric = Metric::counter(
    "tcpforward_dataplane_port_waits_total",
    &[],
    "Dials that had to wait for their turn, because this host has few ports left to an address; some of them gave up.",
);
pub(super) const HANDED_OVER: Metric = Metric::counter(
    "tcpforward_dataplane_sessions_handed_over_total",
    &[],
    "Connections that were served by another worker than the one they came to, which had more to do.",
);
pub(super) const DESCRIPTORS_FREE: Metric = Metric::gauge(
    "tcpforward_dataplane_descriptors_free",
    &[],
    "Descriptors that sessions and listeners may still open; a session takes two.",
);
pub(super) const SNAPSHOT_EPOCH: Metric = Metric::gauge(
    "tcpforward_dataplane_snapshot_epoch",
    &[],
    "Highest epoch applied.",
);
pub(super) const SNAPSHOT_AGE: Metric = Metric::gauge(
    "tcpforward_dataplane_snapshot_age_seconds",
    &[],
    "Time since a set was applied; absent before the first one.",
);
pub(super) const LAST_GOOD: Metric = Metric::gauge(
    "tcpforward_dataplane_last_good_failing",
    &[],
    "1 while the last good snapshot can't be written to disk, else 0.",
);
pub(super) const OPERATORS: Metric = Metric::gauge(
    "tcpforward_dataplane_operators_connected",
    &[],
    "Replicas of the operator that answer.",
);
pub(super) const SHARE_INDEX: Metric = Metric::gauge(
    "tcpforward_dataplane_share_index",
    &[],
    "Which part of pool-wide limits this data plane has.",
);
pub(super) const SHARE_OF: Metric = Metric::gauge(
    "tcpforward_dataplane_share_of",
    &[],
    "Into how many parts pool-wide limits are split; 0 before an operator said so.",
);
