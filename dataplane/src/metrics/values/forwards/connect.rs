//! Edge. The values of forwards that are CONNECT proxies.

use super::Row;
use crate::connect::tunnels::InUse;
use crate::metrics::values::families::Families;
use crate::metrics::{
    CONNECT_ANSWERS, CONNECT_PENDING, CONNECT_REPORTED, CONNECT_RULES, CONNECT_TUNNELS,
};
use crate::served::STATUSES;

pub(super) fn add(rows: &[Row], families: &mut Families) {
    let is_proxy = |row: &&Row| row.served.active().proxy.is_some();
    let proxies: Vec<(&Row, InUse)> = rows
        .iter()
        .filter(is_proxy)
        .map(|row| (row, row.served.tunnels().in_use()))
        .collect();
    let statuses = STATUSES.map(|status| status.to_string());
    let answers = proxies.iter().flat_map(|(row, _)| {
        let answers = statuses.iter().zip(row.totals.answers);
        answers.map(|(status, count)| (vec![row.name.as_str(), status.as_str()], count))
    });
    families.add(CONNECT_ANSWERS, answers);
    let subjects: Vec<(&Row, String, u32)> = proxies
        .iter()
        .flat_map(|(row, in_use)| {
            // Who was not asked has a series even while there is no tunnel, so that a proxy has one.
            let mut subjects = in_use.subjects.clone();
            subjects.entry(None).or_default();
            let subjects = subjects.into_iter();
            subjects.map(|(subject, open)| {
                let subject = subject.map(|subject| subject.to_string());
                (*row, subject.unwrap_or_default(), open)
            })
        })
        .collect();
    let tunnels = subjects.iter();
    let tunnels = tunnels
        .map(|(row, subject, open)| (vec![row.name.as_str(), subject.as_str()], (*open).into()));
    families.add(CONNECT_TUNNELS, tunnels);
    let pending = proxies.iter();
    let pending = pending.map(|(row, in_use)| (vec![row.name.as_str()], u64::from(in_use.pending)));
    families.add(CONNECT_PENDING, pending);
    let rules = proxies.iter().flat_map(|(row, in_use)| {
        let verdicts = in_use.verdicts.iter();
        verdicts.map(|(rule, count)| (vec![row.name.as_str(), rule.as_str()], *count))
    });
    families.add(CONNECT_RULES, rules);
    let reported = proxies.iter();
    let reported = reported.map(|(row, _)| (vec![row.name.as_str()], row.totals.would_deny));
    families.add(CONNECT_REPORTED, reported);
}
