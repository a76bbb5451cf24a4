//! Every metric of the data plane: its name, kind, labels and help, and where its value comes from.
//! Values are read when somebody asks, so counting costs sessions nothing that is shared, and the
//! series of a forward that is gone go with it.

use tcpforward_process::metric::Metric;

pub mod values;

const FORWARD: &[&str] = &["forward"];

const SESSIONS_OPENED: Metric = Metric::counter(
    "tcpforward_dataplane_sessions_opened_total",
    FORWARD,
    "Connections accepted.",
);
const SESSIONS_FINISHED: Metric = Metric::counter(
    "tcpforward_dataplane_sessions_finished_total",
    &["forward", "ending"],
    "Sessions that ended, by who ended them and how; the words are those of the access log.",
);
const SESSIONS_OPEN: Metric = Metric::gauge(
    "tcpforward_dataplane_sessions_open",
    FORWARD,
    "Sessions at present.",
);
const SESSIONS_CUT: Metric = Metric::counter(
    "tcpforward_dataplane_sessions_cut_total",
    &[],
    "Sessions reset because the process ended before they did.",
);
const RELAYED_BYTES: Metric = Metric::counter(
    "tcpforward_dataplane_relayed_bytes_total",
    &["forward", "direction"],
    "Bytes passed on; direction up is towards the backend, down is towards the client.",
);
const DIALS: Metric = Metric::counter(
    "tcpforward_dataplane_dials_total",
    &["forward", "result"],
    "Attempts to reach a backend; result local is trouble of this host, not of the backend.",
);
const BACKENDS: Metric = Metric::gauge(
    "tcpforward_dataplane_backends",
    &["forward", "state"],
    "Backends; state failing: the latest dial failed, usable: any other that takes new sessions, idle: takes none.",
);
const FORWARDS: Metric = Metric::gauge(
    "tcpforward_dataplane_forwards_serving",
    &[],
    "Forwards with a bound listener.",
);
const REFUSED: Metric = Metric::gauge(
    "tcpforward_dataplane_forwards_refused",
    &["code"],
    "Forwards whose wanted spec is refused; the former one stays in service.",
);
const ACCEPT_ERRORS: Metric = Metric::counter(
    "tcpforward_dataplane_accept_errors_total",
    &[],
    "Connections that could not be accepted; the listener rests 100 ms after each.",
);
const ACCEPT_WAITS: Metric = Metric::counter(
    "tcpforward_dataplane_accept_waits_total",
    &[],
    "Times that a connection had to wait because descriptors were short.",
);
const DESCRIPTORS_FREE: Metric = Metric::gauge(
    "tcpforward_dataplane_descriptors_free",
    &[],
    "Descriptors that sessions and listeners may still open; a session takes two.",
);
const SNAPSHOT_EPOCH: Metric = Metric::gauge(
    "tcpforward_dataplane_snapshot_epoch",
    &[],
    "Highest epoch applied.",
);
const SNAPSHOT_AGE: Metric = Metric::gauge(
    "tcpforward_dataplane_snapshot_age_seconds",
    &[],
    "Time since a set was applied; absent before the first one.",
);
const LAST_GOOD: Metric = Metric::gauge(
    "tcpforward_dataplane_last_good_failing",
    &[],
    "1 while the last good snapshot can't be written to disk, else 0.",
);
const OPERATORS: Metric = Metric::gauge(
    "tcpforward_dataplane_operators_connected",
    &[],
    "Replicas of the operator that answer.",
);
const SHARE_INDEX: Metric = Metric::gauge(
    "tcpforward_dataplane_share_index",
    &[],
    "Which part of pool-wide limits this data plane has.",
);
const SHARE_OF: Metric = Metric::gauge(
    "tcpforward_dataplane_share_of",
    &[],
    "Into how many parts pool-wide limits are split; 0 before an operator said so.",
);

/// All of them, in the order of the documentation.
pub const ALL: &[Metric] = &[
    SESSIONS_OPENED,
    SESSIONS_FINISHED,
    SESSIONS_OPEN,
    SESSIONS_CUT,
    RELAYED_BYTES,
    DIALS,
    BACKENDS,
    FORWARDS,
    REFUSED,
    ACCEPT_ERRORS,
    ACCEPT_WAITS,
    DESCRIPTORS_FREE,
    SNAPSHOT_EPOCH,
    SNAPSHOT_AGE,
    LAST_GOOD,
    OPERATORS,
    SHARE_INDEX,
    SHARE_OF,
];
