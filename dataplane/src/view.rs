//! Pure. What is served and refused, as pages, metrics and reports see it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tcpforward_protocol::answer::{
    BoundListener, FailingBackend, Refusal, Report, ResolvedHost, SessionCount,
};
use tcpforward_protocol::snapshot::{BackendState, ForwardName, TakesNew, Target};

use crate::balancer::backend::Failing;
use crate::hosts::found::Found;
use crate::served::Served;

/// Failing backends in one report at most; a report has to fit a message.
const FAILING_PER_REPORT: usize = 4000;

/// Names and their addresses in one report at most, for the same reason.
const HOSTS_PER_REPORT: usize = 8000;

/// Listeners in one report at most, for the same reason: a range is a hundred of them.
const LISTENERS_PER_REPORT: usize = 20_000;

/// What is served and refused.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Forwards in service, and those gone whose sessions have not ended.
    pub forwards: BTreeMap<ForwardName, Row>,
    /// What is refused, and why.
    pub refused: BTreeMap<ForwardName, Refusal>,
}

/// One forward of the view.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its configuration and counts.
    pub served: Arc<Served>,
    /// Addresses that it listens on; none once it is gone.
    pub listeners: Vec<SocketAddr>,
}

/// One forward, for people: `/debug/forwards`.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ForwardView {
    /// namespace/name
    pub name: String,
    /// `metadata.generation` of the spec in service; absent: none is.
    pub generation: Option<i64>,
    /// Hash of the spec in service.
    pub spec_hash: Option<String>,
    /// Addresses that it listens on.
    pub listeners: Vec<SocketAddr>,
    /// Why the wanted spec is not the one in service.
    pub refusal: Option<String>,
    /// Sessions at present.
    pub open_sessions: u64,
    /// Sessions since the data plane started.
    pub total_sessions: u64,
    /// Every backend, whatever its state.
    pub backends: Vec<BackendView>,
    /// What the names of targets lead to.
    pub hosts: Vec<HostView>,
}

/// One name, for people.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostView {
    /// Name of the target.
    pub target: String,
    /// Its DNS name.
    pub name: String,
    /// In use; the last good ones while DNS fails.
    pub addresses: Vec<IpAddr>,
    /// Why the latest answer could not be had, or not be used whole.
    pub error: Option<String>,
}

/// One backend, for people.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendView {
    /// Name of its target.
    pub target: String,
    /// ip:port
    pub address: SocketAddr,
    /// As the EndpointSlices say.
    pub state: &'static str,
    /// Whether new sessions may go there.
    pub takes_new: bool,
    /// Connections at present.
    pub open: u64,
    /// Connections since it is known.
    pub total: u64,
    /// Why the latest dial failed.
    pub failing: Option<String>,
    /// Unix milliseconds of the first failure in a row.
    pub failing_since_ms: Option<u64>,
}

impl View {
    /// All forwards, by name.
    #[must_use]
    pub fn for_people(&self) -> Vec<ForwardView> {
        let only_refused = self
            .refused
            .keys()
            .filter(|name| !self.forwards.contains_key(*name));
        let mut rows: Vec<_> = only_refused.map(|name| self.refused_view(name)).collect();
        rows.extend(
            self.forwards
                .iter()
                .map(|(name, row)| self.forward_view(name, row)),
        );
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }

    fn refused_view(&self, name: &ForwardName) -> ForwardView {
        ForwardView {
            name: name.to_string(),
            generation: None,
            spec_hash: None,
            listeners: Vec::new(),
            refusal: self.refused.get(name).map(|r| r.text.clone()),
            open_sessions: 0,
            total_sessions: 0,
            backends: Vec::new(),
            hosts: Vec::new(),
        }
    }

    fn forward_view(&self, name: &ForwardName, row: &Row) -> ForwardView {
        let active = row.served.active();
        let totals = row.served.totals();
        ForwardView {
            generation: Some(active.forward.spec.generation),
            spec_hash: Some(active.forward.spec_hash.to_string()),
            listeners: row.listeners.clone(),
            open_sessions: totals.open(),
            total_sessions: totals.opened,
            backends: backends(row),
            hosts: hosts(row),
            ..self.refused_view(name)
        }
    }

    /// Whether the same forwards listen on the same addresses.
    #[must_use]
    pub fn is_bound_like(&self, other: &Self) -> bool {
        let listeners = |view: &Self| {
            let rows = view.forwards.iter();
            rows.map(|(name, row)| (name.clone(), row.listeners.clone()))
                .collect::<Vec<_>>()
        };
        listeners(self) == listeners(other)
    }

    /// How things go, for the operators.
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
        report.failing.truncate(FAILING_PER_REPORT);
        report.listeners.truncate(LISTENERS_PER_REPORT);
        let mut room = HOSTS_PER_REPORT;
        report.hosts.retain(|host| {
            let left = room.checked_sub(1 + host.addresses.len());
            room = left.unwrap_or(room);
            left.is_some()
        });
        report
    }
}

fn backends(row: &Row) -> Vec<BackendView> {
    let active = row.served.active();
    let records: BTreeMap<_, _> = row
        .served
        .backends()
        .into_iter()
        .map(|b| ((b.target.to_string(), b.address), b))
        .collect();
    let view = |b: &tcpforward_protocol::snapshot::Backend| {
        let record = records.get(&(b.target.clone(), b.address));
        let failing: Option<Failing> = record.and_then(|r| r.failing());
        BackendView {
            target: b.target.clone(),
            address: b.address,
            state: match b.state {
                BackendState::NotReady => "NotReady",
                BackendState::Ready => "Ready",
                BackendState::Terminating => "Terminating",
            },
            takes_new: b.takes_new == TakesNew::Yes,
            open: record.map_or(0, |r| r.open()),
            total: record.map_or(0, |r| r.total()),
            failing_since_ms: failing.as_ref().map(|f| f.since_ms),
            failing: failing.map(|f| f.message),
        }
    };
    active.forward.backends.iter().map(view).collect()
}

fn hosts(row: &Row) -> Vec<HostView> {
    let hosts = row.served.hosts().into_iter();
    let view = |(target, found): (Target, Option<Found>)| HostView {
        target: target.name,
        name: target.host.map(|host| host.name).unwrap_or_default(),
        error: match &found {
            Some(found) => found.error.clone(),
            None => Some("no answer yet".to_owned()),
        },
        addresses: found.unwrap_or_default().addresses,
    };
    hosts.map(view).collect()
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
