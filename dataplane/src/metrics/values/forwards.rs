//! Edge. The values of each forward.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcpforward_process::metric::Metric;

use super::families::{Families, Histogram};
use super::number;
use crate::balancer::account::CheckResult;
use crate::metrics::{
    CHECKS, CLOSING, CONNECT, DIALS, HEDGES, HEDGES_WON, HOST_ADDRESSES, HOST_FAILING, LIMIT,
    PRIORITY_SHARE, QUEUE, QUEUE_WAIT, QUEUE_WAITS, RELAYED_BYTES, SESSIONS_FINISHED,
    SESSIONS_OPEN, SESSIONS_OPENED,
};
use crate::relay::ending::Ending;
use crate::served::{CONNECT_SECONDS, DialResult, Served, Totals};
use crate::view::View;

mod connect;

/// One forward, with its counts as they were at one moment.
struct Row {
    name: String,
    served: Arc<Served>,
    totals: Totals,
}

pub(super) fn add(view: &View, now: Instant, families: &mut Families) {
    let rows: Vec<Row> = view
        .forwards
        .iter()
        .map(|(name, row)| Row {
            name: name.to_string(),
            served: Arc::clone(&row.served),
            totals: row.served.totals(),
        })
        .collect();
    of_sessions(&rows, now, families);
    of_dials(&rows, families);
    of_queues(&rows, families);
    of_rules(&rows, families);
    of_hosts(&rows, families);
    connect::add(&rows, families);
}

fn of_sessions(rows: &[Row], now: Instant, families: &mut Families) {
    each(rows, SESSIONS_OPENED, families, |row| row.totals.opened);
    each(rows, SESSIONS_OPEN, families, |row| row.totals.open());
    let finished = rows.iter().flat_map(|row| {
        let words = Ending::ALL.iter().map(|ending| ending.word());
        by_word(row, words.zip(row.totals.finished.0))
    });
    families.add(SESSIONS_FINISHED, finished);
    let closing = rows.iter().flat_map(|row| {
        let doomed = row.served.doomed(now);
        let draining = doomed.values().map(|doomed| doomed.draining).sum();
        let due = doomed.values().map(|doomed| doomed.due).sum();
        by_word(row, [("draining", draining), ("due", due)])
    });
    families.add(CLOSING, closing);
    let bytes = rows
        .iter()
        .flat_map(|row| by_word(row, [("up", row.totals.up), ("down", row.totals.down)]));
    families.add(RELAYED_BYTES, bytes);
}

fn of_dials(rows: &[Row], families: &mut Families) {
    let dials = rows.iter().flat_map(|row| {
        let words = DialResult::ALL.iter().map(|result| result.word());
        by_word(row, words.zip(row.totals.dials))
    });
    families.add(DIALS, dials);
    let connects = rows.iter().map(|row| {
        let histogram = Histogram {
            bounds: &CONNECT_SECONDS,
            counts: &row.totals.connects,
            sum: row.totals.connect.as_secs_f64(),
        };
        (vec![row.name.as_str()], histogram)
    });
    families.add_histograms(CONNECT, connects);
    each(rows, HEDGES, families, |row| row.totals.races);
    each(rows, HEDGES_WON, families, |row| row.totals.races_won);
    let checks = rows.iter().flat_map(|row| {
        let words = CheckResult::ALL.iter().map(|result| result.word());
        by_word(row, words.zip(row.totals.checks))
    });
    families.add(CHECKS, checks);
}

fn of_queues(rows: &[Row], families: &mut Families) {
    each(rows, QUEUE, families, |row| {
        number(row.served.queue().len())
    });
    let waits: Vec<(&Row, (u64, Duration))> = rows
        .iter()
        .map(|row| (row, row.served.queue().waits()))
        .collect();
    let begun = waits
        .iter()
        .map(|(row, (begun, _))| (vec![row.name.as_str()], *begun));
    families.add(QUEUE_WAITS, begun);
    let waited = waits.iter();
    let waited = waited.map(|(row, (_, waited))| (vec![row.name.as_str()], waited.as_secs_f64()));
    families.add_fractions(QUEUE_WAIT, waited);
}

fn of_rules(rows: &[Row], families: &mut Families) {
    let limits = rows.iter().flat_map(|row| {
        let limits = row.served.limits();
        let tunnels = row.served.tunnels().in_use();
        let limits = [
            ("connections", limits.connections),
            ("connections_per_second", limits.per_second),
            ("connections_per_source", limits.per_source),
            ("backend_connections", row.served.backend_limit()),
            ("tunnels", tunnels.tunnels),
            ("tunnels_per_source", tunnels.per_source),
            ("tunnels_per_subject", tunnels.per_subject),
        ];
        by_word(
            row,
            limits
                .into_iter()
                .filter_map(|(word, limit)| Some((word, limit?.into()))),
        )
    });
    families.add(LIMIT, limits);
    let shares: BTreeMap<(&str, String), f64> = rows
        .iter()
        .flat_map(|row| {
            let priorities = row.served.priorities().into_iter();
            priorities.map(|(number, share)| ((row.name.as_str(), number.to_string()), share))
        })
        .collect();
    let shares = shares
        .iter()
        .map(|((forward, number), share)| (vec![*forward, number.as_str()], *share));
    families.add_fractions(PRIORITY_SHARE, shares);
}

fn of_hosts(rows: &[Row], families: &mut Families) {
    let mut hosts = Vec::new();
    for row in rows {
        for (target, found) in row.served.hosts() {
            let is_failing = found.as_ref().is_none_or(|found| found.error.is_some());
            let addresses = found.map_or(0, |found| found.addresses.len());
            hosts.push((
                row.name.as_str(),
                target.name,
                number(addresses),
                is_failing,
            ));
        }
    }
    let addresses = hosts.iter();
    let addresses = addresses.map(|(forward, target, n, _)| (vec![*forward, target.as_str()], *n));
    families.add(HOST_ADDRESSES, addresses);
    let failing = hosts.iter();
    let failing = failing
        .map(|(forward, target, _, failing)| (vec![*forward, target.as_str()], (*failing).into()));
    families.add(HOST_FAILING, failing);
}

fn each(rows: &[Row], metric: Metric, families: &mut Families, value: fn(&Row) -> u64) {
    families.add(
        metric,
        rows.iter().map(|row| (vec![row.name.as_str()], value(row))),
    );
}

fn by_word(
    row: &Row,
    values: impl IntoIterator<Item = (&'static str, u64)>,
) -> impl Iterator<Item = (Vec<&str>, u64)> {
    let values = values.into_iter();
    values.map(|(word, value)| (vec![row.name.as_str(), word], value))
}
