//! Pure. What a forward does as a CONNECT proxy.

use std::collections::BTreeMap;

use serde::Serialize;

use tcpforward_protocol::snapshot::Subject;

use crate::served::{STATUSES, Served};

/// A CONNECT proxy.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyView {
    /// `httpConnect.mode`.
    pub mode: &'static str,
    /// Tunnels at present, those that are being opened included.
    pub tunnels: u32,
    /// The same by who asked; empty: nobody had to say so.
    pub subjects: BTreeMap<String, u32>,
    /// Requests that wait for their answer.
    pub pending: u32,
    /// This data plane's part of `limits.tunnels`.
    pub tunnels_limit: Option<u32>,
    /// `limits.tunnelsPerSource`.
    pub tunnels_per_source: Option<u32>,
    /// `limits.tunnelsPerSubject`.
    pub tunnels_per_subject: Option<u32>,
    /// Answers so far, by HTTP status.
    pub answers: BTreeMap<u16, u64>,
    /// Requests that each rule has decided.
    pub rules: BTreeMap<String, u64>,
    /// Requests that the rules refuse and that were let through.
    pub reported: u64,
}

impl ProxyView {
    pub(super) fn of(served: &Served) -> Option<Self> {
        let active = served.active();
        let proxy = active.proxy.as_ref()?;
        let in_use = served.tunnels().in_use();
        let totals = served.totals();
        let subjects = in_use.subjects.into_iter();
        let name = |subject: Option<Subject>| subject.map_or_else(String::new, |s| s.to_string());
        let answers = STATUSES.into_iter().zip(totals.answers);
        Some(Self {
            mode: if proxy.only_reports() {
                "Report"
            } else {
                "Enforce"
            },
            tunnels: in_use.open,
            subjects: subjects
                .map(|(subject, open)| (name(subject), open))
                .collect(),
            pending: in_use.pending,
            tunnels_limit: in_use.tunnels,
            tunnels_per_source: in_use.per_source,
            tunnels_per_subject: in_use.per_subject,
            answers: answers.filter(|(_, count)| *count > 0).collect(),
            rules: in_use.verdicts,
            reported: totals.would_deny,
        })
    }
}
