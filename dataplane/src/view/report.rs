//! Pure. What operators hear of how things go.

use tcpforward_protocol::answer::{
    BoundListener, FailingBackend, Report, ResolvedHost, SessionCount,
};
use tcpforward_protocol::snapshot::ForwardName;

use crate::view::{Row, View};

impl View {
    /// How things go, for the operators; `sync` cuts it to what a message holds.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = Report::default();
        for (name, row) in &self.forwards {
            let listeners = row.listeners.iter();
            report
                .listeners
                .extend(listeners.map(|&address| BoundListener {
                    forward: name.clone(),
                    address,
                }));
            let totals = row.served.totals();
            report.sessions.push(SessionCount {
                forward: name.clone(),
                open: totals.open(),
                total: totals.opened,
            });
            report.failing.extend(failing(name, row));
            report.hosts.extend(resolved(name, row));
        }
        report
    }
}

/// Names that nothing is known of yet are not reported.
fn resolved<'a>(name: &'a ForwardName, row: &Row) -> impl Iterator<Item = ResolvedHost> + 'a {
    let hosts = row.served.hosts().into_iter();
    hosts.filter_map(|(target, found)| {
        let found = found?;
        Some(ResolvedHost {
            forward: name.clone(),
            target: target.name,
            addresses: found.addresses,
            error: found.error,
        })
    })
}

fn failing<'a>(name: &'a ForwardName, row: &Row) -> impl Iterator<Item = FailingBackend> + 'a {
    let mut backends = row.served.backends();
    backends.sort_by(|a, b| (&a.target, a.address).cmp(&(&b.target, b.address)));
    backends.into_iter().filter_map(|backend| {
        let failing = backend.failing()?;
        Some(FailingBackend {
            forward: name.clone(),
            target: backend.target.to_string(),
            address: backend.address,
            reason: failing.reason,
            message: failing.message,
            since_ms: failing.since_ms,
            left_out: backend.left_out(),
        })
    })
}
