//! Edge. The list of faults.

use crate::torture::relay::Setup;
use crate::torture::{
    Kind, Row, checks, churn, dead, endings, failover, leaving, outage, ports, resources, silence,
    stalled, tunnels, urgent,
};

/// Every row, in the order of the table.
pub const ROWS: &[Row] = &[
    Row {
        number: "R1",
        what: "more clients than descriptors",
        kind: Kind::Works,
        run: |place| Box::pin(resources::out_of_descriptors(place)),
    },
    Row {
        number: "R2",
        what: "a limit beyond what descriptors carry",
        kind: Kind::Works,
        run: |place| Box::pin(resources::beyond_descriptors(place)),
    },
    Row {
        number: "R3",
        what: "one direction ends, the other goes on",
        kind: Kind::Waits,
        run: |place| Box::pin(endings::half_close(place, Setup::default())),
    },
    Row {
        number: "R3t",
        what: "the same through tunnels",
        kind: Kind::Waits,
        run: |place| Box::pin(tunnels::half_close(place)),
    },
    Row {
        number: "R4",
        what: "half-closed sessions whose peers vanish",
        kind: Kind::Waits,
        run: |place| Box::pin(silence::half_closed_leak(place)),
    },
    Row {
        number: "R5",
        what: "a server ends what it sent in three ways",
        kind: Kind::Works,
        run: |place| Box::pin(endings::resets(place, Setup::default())),
    },
    Row {
        number: "R5t",
        what: "the same through tunnels",
        kind: Kind::Works,
        run: |place| Box::pin(tunnels::resets(place)),
    },
    Row {
        number: "R6",
        what: "silence, by default and under a limit",
        kind: Kind::Waits,
        run: |place| Box::pin(silence::idle(place)),
    },
    Row {
        number: "R7",
        what: "one of three servers is taken out",
        kind: Kind::Waits,
        run: |place| Box::pin(leaving::removed(place)),
    },
    Row {
        number: "R7t",
        what: "the same, a Service behind tunnels",
        kind: Kind::Waits,
        run: |place| Box::pin(tunnels::removed(place)),
    },
    Row {
        number: "R8",
        what: "a server dies, everybody comes back at once",
        kind: Kind::Works,
        run: |place| Box::pin(failover::herd(place)),
    },
    Row {
        number: "R9",
        what: "checks of many servers",
        kind: Kind::Waits,
        run: |place| Box::pin(checks::storm(place)),
    },
    Row {
        number: "R10",
        what: "every check fails, servers accept",
        kind: Kind::Waits,
        run: |place| Box::pin(checks::none_healthy(place)),
    },
    Row {
        number: "R11",
        what: "one of three servers swallows packets",
        kind: Kind::Works,
        run: |place| Box::pin(failover::black_hole(place)),
    },
    Row {
        number: "R11h",
        what: "the same with hedged dials",
        kind: Kind::Works,
        run: |place| Box::pin(failover::hedged(place)),
    },
    Row {
        number: "K9",
        what: "one of three servers is killed",
        kind: Kind::Works,
        run: |place| Box::pin(failover::killed(place)),
    },
    Row {
        number: "R12",
        what: "servers send, clients don't read",
        kind: Kind::Works,
        run: |place| Box::pin(stalled::slow_readers(place)),
    },
    Row {
        number: "R13",
        what: "held for a second while thousands connect",
        kind: Kind::Works,
        run: |place| Box::pin(resources::accept_queue(place)),
    },
    Row {
        number: "R14",
        what: "a thousand ports for 2,950 sessions",
        kind: Kind::Works,
        run: |place| Box::pin(ports::exhausted(place)),
    },
    Row {
        number: "R15",
        what: "short connections, one after the other",
        kind: Kind::Works,
        run: |place| Box::pin(ports::time_wait(place)),
    },
    Row {
        number: "R17",
        what: "the API server is gone, then the operators",
        kind: Kind::Soaks,
        run: |place| Box::pin(outage::control_plane(place)),
    },
    Row {
        number: "R23",
        what: "small buffers cut every write",
        kind: Kind::Works,
        run: |place| Box::pin(stalled::partial_writes(place)),
    },
    Row {
        number: "R25",
        what: "an urgent byte in the middle of a stream",
        kind: Kind::Works,
        run: |place| Box::pin(urgent::urgent_byte(place)),
    },
    Row {
        number: "R26",
        what: "peers that vanish, and one that is slow",
        kind: Kind::Waits,
        run: |place| Box::pin(dead::peers(place)),
    },
    Row {
        number: "R28",
        what: "told to end with sessions open",
        kind: Kind::Waits,
        run: |place| Box::pin(leaving::drain(place)),
    },
    Row {
        number: "R29",
        what: "both directions full, an end behind them",
        kind: Kind::Works,
        run: |place| Box::pin(stalled::wedged(place)),
    },
    Row {
        number: "R30",
        what: "sessions come and go with every ending",
        kind: Kind::Soaks,
        run: |place| Box::pin(churn::leak(place)),
    },
    Row {
        number: "R31",
        what: "a flood in 128 MiB",
        kind: Kind::Works,
        run: |place| Box::pin(resources::overload(place)),
    },
    Row {
        number: "R32",
        what: "DNS is silent to those who ask for tunnels",
        kind: Kind::Works,
        run: |place| Box::pin(tunnels::silent_dns(place)),
    },
    Row {
        number: "R33",
        what: "heads that mean no good",
        kind: Kind::Waits,
        run: |place| Box::pin(tunnels::heads(place)),
    },
];
