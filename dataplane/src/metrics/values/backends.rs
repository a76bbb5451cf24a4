//! Edge. The values of each backend: of those in the set only, so that they go with it.

use std::time::Instant;

use tcpforward_process::metric::Metric;
use tcpforward_protocol::answer::DialError;
use tcpforward_protocol::snapshot::TakesNew;

use super::families::Families;
use crate::balancer::account::Account;
use crate::balancer::backend::{Counts, REASONS};
use crate::balancer::health::Standing;
use crate::metrics::{
    BACKEND_BYTES, BACKEND_CONNECT, BACKEND_CONNECTS, BACKEND_EJECTIONS, BACKEND_FAILURES,
    BACKEND_HEALTHY, BACKEND_OPEN, BACKEND_SESSIONS, BACKENDS,
};
use crate::served::DialResult;
use crate::view::View;

/// One backend, with its counts as they were at one moment.
struct Row<'a> {
    forward: &'a str,
    target: String,
    address: String,
    account: Account,
    counts: Counts,
}

/// What all backends of a forward are counted by.
const STATES: [&str; 5] = ["ejected", "failing", "idle", "unhealthy", "usable"];

pub(super) fn add(view: &View, now: Instant, families: &mut Families) {
    let names: Vec<String> = view.forwards.keys().map(ToString::to_string).collect();
    let (mut rows, mut states) = (Vec::new(), Vec::new());
    for (forward, row) in names.iter().zip(view.forwards.values()) {
        let accounts = row.served.accounts(now);
        let of_forward: Vec<_> = accounts.iter().map(state).collect();
        states.push((forward.as_str(), of_forward));
        rows.extend(accounts.into_iter().map(|account| Row {
            forward,
            target: account.backend.target.to_string(),
            address: account.backend.address.to_string(),
            counts: account.backend.counts(),
            account,
        }));
    }
    let words = states.iter().flat_map(|(forward, states)| {
        STATES.map(|word| {
            let count = states.iter().filter(|state| **state == word).count();
            (vec![*forward, word], super::number(count))
        })
    });
    families.add(BACKENDS, words);
    each(&rows, BACKEND_HEALTHY, families, |row| {
        is_healthy(&row.account).into()
    });
    each(&rows, BACKEND_OPEN, families, |row| row.counts.open);
    each(&rows, BACKEND_SESSIONS, families, |row| row.counts.total);
    each(&rows, BACKEND_CONNECTS, families, |row| row.counts.reached);
    each(&rows, BACKEND_EJECTIONS, families, |row| {
        row.counts.ejections
    });
    let connect = rows
        .iter()
        .map(|row| (row.labels(), row.counts.connect.as_secs_f64()));
    families.add_fractions(BACKEND_CONNECT, connect);
    let failures = rows.iter().flat_map(|row| {
        let counts = REASONS.iter().zip(row.counts.failed);
        // Only checks know that one.
        let counts = counts.filter(|(reason, _)| **reason != DialError::Unexpected);
        counts.map(|(reason, count)| (row.labels_and(DialResult::Failed(*reason).word()), count))
    });
    families.add(BACKEND_FAILURES, failures);
    let bytes = rows.iter().flat_map(|row| {
        let Counts { up, down, .. } = row.counts;
        [("up", up), ("down", down)].map(|(way, bytes)| (row.labels_and(way), bytes))
    });
    families.add(BACKEND_BYTES, bytes);
}

impl Row<'_> {
    fn labels(&self) -> Vec<&str> {
        vec![self.forward, &self.target, &self.address]
    }

    fn labels_and<'a>(&'a self, last: &'a str) -> Vec<&'a str> {
        vec![self.forward, &self.target, &self.address, last]
    }
}

fn is_healthy(account: &Account) -> bool {
    matches!(account.standing, Standing::Probation | Standing::Usable)
}

fn state(account: &Account) -> &'static str {
    match account.standing {
        _ if account.takes_new == TakesNew::No => "idle",
        Standing::Ejected => "ejected",
        Standing::Unhealthy => "unhealthy",
        Standing::Probation | Standing::Usable if account.backend.failing().is_some() => "failing",
        Standing::Probation | Standing::Usable => "usable",
    }
}

fn each(rows: &[Row<'_>], metric: Metric, families: &mut Families, value: fn(&Row<'_>) -> u64) {
    families.add(metric, rows.iter().map(|row| (row.labels(), value(row))));
}
