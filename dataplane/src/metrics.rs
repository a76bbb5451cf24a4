//! Every metric of the data plane: its name, kind, labels and help, and where its value comes from.
//! Values are read when somebody asks, so counting costs sessions nothing that is shared, and the
//! series of a forward that is gone go with it.

use tcpforward_process::metric::Metric;

use process::{
    ACCEPT_ERRORS, ACCEPT_WAITS, DESCRIPTORS_FREE, FORWARDS, HANDED_OVER, LAST_GOOD, OPERATORS,
    PORT_WAITS, REFUSED, SHARE_INDEX, SHARE_OF, SNAPSHOT_AGE, SNAPSHOT_EPOCH,
};

mod process;
pub mod values;

#[cfg(test)]
mod tests;

const FORWARD: &[&str] = &["forward"];
const BACKEND: &[&str] = &["forward", "target", "backend"];

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
    "Backends; state idle: takes no new sessions; of the others unhealthy: checks fail, ejected: left out for its failures, failing: the latest dial failed, usable: all others.",
);
const CONNECT: Metric = Metric::histogram(
    "tcpforward_dataplane_connect_seconds",
    FORWARD,
    "How long backends took to be reached, from the SYN to its answer.",
);
const HEDGES: Metric = Metric::counter(
    "tcpforward_dataplane_hedges_total",
    FORWARD,
    "Dials that a second backend joined, because the first was slow to answer.",
);
const HEDGES_WON: Metric = Metric::counter(
    "tcpforward_dataplane_hedges_won_total",
    FORWARD,
    "Those of them in which the second backend was first.",
);
const QUEUE: Metric = Metric::gauge(
    "tcpforward_dataplane_queue_sessions",
    FORWARD,
    "Sessions that wait for a place on a backend.",
);
const QUEUE_WAITS: Metric = Metric::counter(
    "tcpforward_dataplane_queue_waits_total",
    FORWARD,
    "Waits for a place on a backend that began; those in vain are sessions that ended with queue_timeout.",
);
const QUEUE_WAIT: Metric = Metric::counter(
    "tcpforward_dataplane_queue_wait_seconds_total",
    FORWARD,
    "How long sessions have waited for a place on a backend, together.",
);
const CLOSING: Metric = Metric::gauge(
    "tcpforward_dataplane_sessions_closing",
    &["forward", "state"],
    "Sessions that will be closed; state draining: they may still end by themselves, due: they wait for their turn.",
);
const LIMIT: Metric = Metric::gauge(
    "tcpforward_dataplane_limit",
    &["forward", "limit"],
    "This data plane's part of a limit; absent without one. Limit is connections, connections_per_second, connections_per_source, backend_connections, tunnels, tunnels_per_source or tunnels_per_subject.",
);
const PRIORITY_SHARE: Metric = Metric::gauge(
    "tcpforward_dataplane_priority_share_ratio",
    &["forward", "priority"],
    "Part of all new sessions that goes to a priority, from 0 to 1.",
);
const CHECKS: Metric = Metric::counter(
    "tcpforward_dataplane_checks_total",
    &["forward", "result"],
    "Checks of backends; result failed, passed, or unknown: it could not be made, which says nothing of the backend.",
);
const HOST_ADDRESSES: Metric = Metric::gauge(
    "tcpforward_dataplane_host_addresses",
    &["forward", "target"],
    "Addresses that the DNS name of a target leads to; the last good ones while DNS fails.",
);
const HOST_FAILING: Metric = Metric::gauge(
    "tcpforward_dataplane_host_failing",
    &["forward", "target"],
    "1 while the DNS name of a target can't be resolved, or not be used whole, else 0.",
);
const BACKEND_HEALTHY: Metric = Metric::gauge(
    "tcpforward_dataplane_backend_healthy",
    BACKEND,
    "1 unless checks or an ejection leave the backend out.",
);
const BACKEND_OPEN: Metric = Metric::gauge(
    "tcpforward_dataplane_backend_sessions_open",
    BACKEND,
    "Sessions that the backend has at present, dials included.",
);
const BACKEND_SESSIONS: Metric = Metric::counter(
    "tcpforward_dataplane_backend_sessions_total",
    BACKEND,
    "Sessions that were given to the backend, failed dials included.",
);
const BACKEND_FAILURES: Metric = Metric::counter(
    "tcpforward_dataplane_backend_failures_total",
    &["forward", "target", "backend", "reason"],
    "Dials that failed, by reason; reason reset: sessions that the backend reset before its first byte, if those count.",
);
const BACKEND_CONNECTS: Metric = Metric::counter(
    "tcpforward_dataplane_backend_connects_total",
    BACKEND,
    "Dials that reached the backend.",
);
const BACKEND_CONNECT: Metric = Metric::counter(
    "tcpforward_dataplane_backend_connect_seconds_total",
    BACKEND,
    "How long those dials took, together.",
);
const BACKEND_EJECTIONS: Metric = Metric::counter(
    "tcpforward_dataplane_backend_ejections_total",
    BACKEND,
    "Times that the backend was left out for its failures.",
);
const BACKEND_BYTES: Metric = Metric::counter(
    "tcpforward_dataplane_backend_bytes_total",
    &["forward", "target", "backend", "direction"],
    "Bytes passed on, as in relayed_bytes; those of an open session are added by 64 KiB, and at its end.",
);
const CONNECT_ANSWERS: Metric = Metric::counter(
    "tcpforward_dataplane_connect_answers_total",
    &["forward", "status"],
    "Answers of a CONNECT proxy, by HTTP status; 200 is a tunnel. Why it was another one is the ending in sessions_finished.",
);
const CONNECT_TUNNELS: Metric = Metric::gauge(
    "tcpforward_dataplane_connect_tunnels_open",
    &["forward", "subject"],
    "Tunnels of a CONNECT proxy at present, those that are being opened included, by who asked; subject is empty where nobody has to say so.",
);
const CONNECT_PENDING: Metric = Metric::gauge(
    "tcpforward_dataplane_connect_requests_pending",
    FORWARD,
    "Requests of a CONNECT proxy that wait for their answer.",
);
const CONNECT_RULES: Metric = Metric::counter(
    "tcpforward_dataplane_connect_rule_decisions_total",
    &["forward", "rule"],
    "Requests of a CONNECT proxy that each of its rules has decided; what no rule matches is refused and not counted here.",
);
const CONNECT_REPORTED: Metric = Metric::counter(
    "tcpforward_dataplane_connect_reported_total",
    FORWARD,
    "Requests of a CONNECT proxy that its rules refuse and that were let through, because mode is Report.",
);
const CONNECT_LOOKUPS: Metric = Metric::counter(
    "tcpforward_dataplane_connect_lookups_total",
    &["result"],
    "Questions about names that clients of CONNECT proxies asked for; result answered, or failed: no answer, or no such name. Names whose answer is still known are not asked for.",
);
const CONNECT_HASHES: Metric = Metric::counter(
    "tcpforward_dataplane_connect_password_hashes_total",
    &[],
    "Password hashes computed for clients of CONNECT proxies; a password that was right lately costs none.",
);
const LOOKUPS: Metric = Metric::counter(
    "tcpforward_dataplane_lookups_total",
    &["result"],
    "Questions about DNS names of targets; result answered, or failed: no answer, or no such name.",
);

/// All of them, in the order of the documentation.
pub const ALL: &[Metric] = &[
    SESSIONS_OPENED,
    SESSIONS_FINISHED,
    SESSIONS_OPEN,
    SESSIONS_CUT,
    CLOSING,
    RELAYED_BYTES,
    DIALS,
    CONNECT,
    HEDGES,
    HEDGES_WON,
    QUEUE,
    QUEUE_WAITS,
    QUEUE_WAIT,
    LIMIT,
    PRIORITY_SHARE,
    CHECKS,
    HOST_ADDRESSES,
    HOST_FAILING,
    CONNECT_ANSWERS,
    CONNECT_TUNNELS,
    CONNECT_PENDING,
    CONNECT_RULES,
    CONNECT_REPORTED,
    CONNECT_LOOKUPS,
    CONNECT_HASHES,
    LOOKUPS,
    BACKENDS,
    BACKEND_HEALTHY,
    BACKEND_OPEN,
    BACKEND_SESSIONS,
    BACKEND_FAILURES,
    BACKEND_CONNECTS,
    BACKEND_CONNECT,
    BACKEND_EJECTIONS,
    BACKEND_BYTES,
    FORWARDS,
    REFUSED,
    ACCEPT_ERRORS,
    ACCEPT_WAITS,
    PORT_WAITS,
    HANDED_OVER,
    DESCRIPTORS_FREE,
    SNAPSHOT_EPOCH,
    SNAPSHOT_AGE,
    LAST_GOOD,
    OPERATORS,
    SHARE_INDEX,
    SHARE_OF,
];
