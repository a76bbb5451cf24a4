//! Pure. `/debug/forwards`: all that is known of each forward at a moment.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde::Serialize;
use tcpforward_protocol::snapshot::{ForwardName, Policy, Target};

use crate::balancer::account::CheckResult;
use crate::hosts::found::Found;
use crate::relay::ending::Ending;
use crate::served::{Served, Totals};
use crate::sessions::Doomed;
use crate::view::people::backend::BackendView;
use crate::view::{Row, View};

pub mod backend;
mod proxy;

pub use proxy::ProxyView;

/// When somebody looks, and what is not in the view.
#[derive(Clone, Debug)]
pub struct Moment {
    /// By the clock that everything is timed with.
    pub now: Instant,
    /// The same in Unix milliseconds, because people read dates.
    pub unix_ms: u64,
    /// When each name is asked for next; absent: it is being asked for.
    pub lookups_due: BTreeMap<String, Instant>,
}

/// One forward.
#[derive(Clone, Debug, Default, Serialize)]
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
    /// Socket options that the kernel takes otherwise than they were written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Sessions at present.
    pub open_sessions: u64,
    /// Sessions since the data plane started.
    pub total_sessions: u64,
    /// How backends are chosen.
    pub policy: Option<&'static str>,
    /// Where new sessions go; the one in use has a share.
    pub priorities: Vec<PriorityView>,
    /// Limits of the listener, as far as they are this data plane's.
    pub limits: LimitsView,
    /// Sessions that wait for a place on a backend.
    pub queue: QueueView,
    /// Dials that a second backend joined.
    pub hedges: HedgesView,
    /// Checks by what came of them.
    pub checks: BTreeMap<&'static str, u64>,
    /// What it does as a CONNECT proxy; absent: it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyView>,
    /// Sessions that will be closed, and why.
    pub closing: Vec<ClosingView>,
    /// Every backend, whatever its state.
    pub backends: Vec<BackendView>,
    /// What the names of targets lead to.
    pub hosts: Vec<HostView>,
}

/// One priority.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PriorityView {
    /// As targets have it.
    pub priority: u32,
    /// Its part of all new sessions, from 0 to 1.
    pub share: f64,
}

/// Limits and how far they are used; absent: there is none.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitsView {
    /// Sessions that count.
    pub open: u32,
    /// Different clients that they are of.
    pub sources: usize,
    /// This data plane's part of `limits.connections`.
    pub connections: Option<u32>,
    /// `limits.connectionsPerSource`.
    pub connections_per_source: Option<u32>,
    /// This data plane's part of `limits.connectionsPerSecond`.
    pub connections_per_second: Option<u32>,
}

/// Sessions that wait for a place on a backend.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueView {
    /// At present.
    pub waiting: usize,
    /// Waits so far.
    pub waits: u64,
    /// How long they took, together.
    pub waited_ms: u64,
}

/// Dials that a second backend joined.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HedgesView {
    /// So far.
    pub begun: u64,
    /// Those in which the second one was first.
    pub won: u64,
}

/// Sessions that will be closed with one word.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClosingView {
    /// The word of the access log.
    pub ending: &'static str,
    /// They may still end by themselves for a while.
    pub draining: u64,
    /// They wait for their turn.
    pub due: u64,
}

/// One name.
#[derive(Clone, Debug, Serialize)]
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
    /// When it is asked for next, in Unix milliseconds; absent: it is being asked for.
    pub next_lookup_ms: Option<u64>,
}

impl Moment {
    /// Another moment in Unix milliseconds.
    pub(super) fn date(&self, at: Instant) -> u64 {
        let ago = self.now.saturating_duration_since(at);
        let ahead = at.saturating_duration_since(self.now);
        let ms = self.unix_ms.saturating_add(millis(ahead));
        ms.saturating_sub(millis(ago))
    }
}

impl View {
    /// All forwards, by name.
    #[must_use]
    pub fn for_people(&self, moment: &Moment) -> Vec<ForwardView> {
        let only_refused = self
            .refused
            .keys()
            .filter(|name| !self.forwards.contains_key(*name));
        let mut rows: Vec<_> = only_refused.map(|name| self.refused_view(name)).collect();
        rows.extend(
            self.forwards
                .iter()
                .map(|(name, row)| self.forward_view(name, row, moment)),
        );
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }

    fn refused_view(&self, name: &ForwardName) -> ForwardView {
        ForwardView {
            name: name.to_string(),
            refusal: self.refused.get(name).map(|r| r.text.clone()),
            ..ForwardView::default()
        }
    }

    fn forward_view(&self, name: &ForwardName, row: &Row, moment: &Moment) -> ForwardView {
        let served = &row.served;
        let active = served.active();
        let totals = served.totals();
        let accounts = served.accounts(moment.now).into_iter();
        ForwardView {
            generation: Some(active.forward.spec.generation),
            spec_hash: Some(active.forward.spec_hash.to_string()),
            listeners: row.listeners.clone(),
            notes: row.notes.clone(),
            open_sessions: totals.open(),
            total_sessions: totals.opened,
            policy: Some(policy(active.forward.spec.relay.load_balancer.policy)),
            priorities: priorities(served),
            limits: limits(served),
            queue: queue(served),
            hedges: HedgesView {
                begun: totals.races,
                won: totals.races_won,
            },
            checks: checks(&totals),
            proxy: ProxyView::of(served),
            closing: closing(served, moment),
            backends: accounts.map(|a| BackendView::new(a, moment)).collect(),
            hosts: hosts(served, moment),
            ..self.refused_view(name)
        }
    }
}

fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::ConsistentHash => "ConsistentHash",
        Policy::LeastConnections => "LeastConnections",
        Policy::LeastLatency => "LeastLatency",
        Policy::RoundRobin => "RoundRobin",
    }
}

fn priorities(served: &Served) -> Vec<PriorityView> {
    let priorities = served.priorities().into_iter();
    let view = |(priority, share)| PriorityView { priority, share };
    priorities.map(view).collect()
}

fn limits(served: &Served) -> LimitsView {
    let in_use = served.limits();
    LimitsView {
        open: in_use.open,
        sources: in_use.sources,
        connections: in_use.connections,
        connections_per_source: in_use.per_source,
        connections_per_second: in_use.per_second,
    }
}

fn queue(served: &Served) -> QueueView {
    let (waits, waited) = served.queue().waits();
    QueueView {
        waiting: served.queue().len(),
        waits,
        waited_ms: millis(waited),
    }
}

fn checks(totals: &Totals) -> BTreeMap<&'static str, u64> {
    let words = CheckResult::ALL.iter().map(|result| result.word());
    words.zip(totals.checks).collect()
}

fn closing(served: &Served, moment: &Moment) -> Vec<ClosingView> {
    let doomed = served.doomed(moment.now).into_iter();
    let view = |(ending, doomed): (Ending, Doomed)| ClosingView {
        ending: ending.word(),
        draining: doomed.draining,
        due: doomed.due,
    };
    doomed.map(view).collect()
}

fn hosts(served: &Served, moment: &Moment) -> Vec<HostView> {
    let view = |(target, found): (Target, Option<Found>)| {
        let name = target.host.map(|host| host.name).unwrap_or_default();
        let due = moment.lookups_due.get(&name);
        HostView {
            target: target.name,
            next_lookup_ms: due.map(|due| moment.date(*due)),
            name,
            error: match &found {
                Some(found) => found.error.as_ref().map(ToString::to_string),
                None => Some("no answer yet".to_owned()),
            },
            addresses: found.unwrap_or_default().addresses,
        }
    };
    served.hosts().into_iter().map(view).collect()
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
