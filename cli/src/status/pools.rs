//! Pure. The DataPlanes behind forwards, as their statuses tell of them: a table, and each in full.

use std::collections::BTreeSet;

use serde_json::Value;
use tcpforward_operator::crd::DataPlaneStatus;
use tcpforward_operator::index::{Index, KnownPool};

use super::list::{MESSAGE, why_not};
use super::table::{Table, WIDEST};
use super::view::{Ready, Said, Truth, View};
use crate::terminal::{plain, shorten, wrap};

const HEAD: [&str; COLUMNS] = ["DATAPLANE", "PODS", "CONNECTED", "VERSION", "READY"];

const COLUMNS: usize = 5;

/// Of a pod's name that stands with others on a line.
const NAME: usize = 40;

/// What could be read of DataPlanes.
#[derive(Debug, PartialEq)]
pub(super) struct Pools {
    pub(super) known: Vec<PoolView>,
    /// Why none could.
    pub(super) unread: Option<String>,
}

/// A DataPlane, as far as its status is about it.
#[derive(Debug, PartialEq)]
pub(super) struct PoolView {
    pub(super) name: String,
    pub(super) generation: i64,
    pub(super) ready: Ready,
    pub(super) status: DataPlaneStatus,
}

impl Pools {
    /// Those that these forwards name; all of them for `None`.
    pub(super) fn of(index: &Index, used_by: Option<&[View]>, unread: Option<String>) -> Self {
        let used = used_by.map(|views| views.iter().map(|view| &view.pool).collect());
        let is_used = |name: &String| {
            let used: Option<&BTreeSet<&String>> = used.as_ref();
            used.is_none_or(|used| used.contains(name))
        };
        let known = index.pools().iter().filter(|(name, _)| is_used(name));
        Self {
            known: known
                .map(|(name, known)| PoolView::of(name, known))
                .collect(),
            unread,
        }
    }

    /// A table with what is wrong below each; nothing where there is nothing to say.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        if !self.known.is_empty() {
            let rows: Vec<_> = self.known.iter().map(PoolView::row).collect();
            let table = Table::new(HEAD, &rows);
            text += &table.line(&HEAD);
            for (pool, row) in self.known.iter().zip(&rows) {
                text += &table.line(row);
                why_not(&mut text, &pool.ready);
                pool.lagging(&mut text);
            }
        }
        self.say_what_is_unread(&mut text);
        text
    }

    /// Each in full.
    pub(super) fn detail(&self) -> String {
        let mut text = String::new();
        for pool in &self.known {
            pool.detail(&mut text);
        }
        self.say_what_is_unread(&mut text);
        text
    }

    fn say_what_is_unread(&self, text: &mut String) {
        if let Some(unread) = &self.unread {
            let line = format!("DataPlanes are not shown: {unread}");
            wrap(text, "", "  ", &shorten(&line, MESSAGE));
        }
    }
}

impl PoolView {
    fn of(name: &str, known: &KnownPool) -> Self {
        let generation = known.raw.pointer("/metadata/generation");
        let generation = generation.and_then(Value::as_i64).unwrap_or_default();
        let status = known.status();
        let said = status.as_ref().map(|status| Said {
            observed: status.observed_generation,
            conditions: &status.conditions,
        });
        Self {
            name: name.to_owned(),
            generation,
            ready: Ready::of(&known.raw, generation, said, NO_STATUS),
            status: status.unwrap_or_default(),
        }
    }

    fn row(&self) -> [String; COLUMNS] {
        let pods = self.status.pods.as_ref();
        let unknown = || "-".to_owned();
        let versions = self.status.versions.as_slice();
        let others = [
            pods.map_or_else(unknown, |pods| format!("{}/{}", pods.serving, pods.ready)),
            pods.map_or_else(unknown, |pods| pods.connected.to_string()),
            match versions {
                [] => unknown(),
                [only] => only.version.clone(),
                [first, others @ ..] => format!("{} +{}", first.version, others.len()),
            },
            self.ready.is.word().to_owned(),
        ];
        let [pods, connected, version, ready] = others.map(|cell| shorten(&plain(&cell), WIDEST));
        [
            plain(&self.name).into_owned(),
            pods,
            connected,
            version,
            ready,
        ]
    }

    /// Pods that lag, by name and reason.
    fn lagging(&self, text: &mut String) {
        let pending = self.status.pods.iter().flat_map(|pods| &pods.pending);
        let pending = pending.map(|pod| format!("{} {}", shorten(&pod.pod, NAME), pod.reason));
        let pending: Vec<_> = pending.collect();
        if !pending.is_empty() {
            let line = format!("pods that lag: {}", pending.join(", "));
            wrap(text, "  ", "    ", &line);
        }
    }

    fn detail(&self, text: &mut String) {
        let Ready {
            is,
            reason,
            message,
            ..
        } = &self.ready;
        let ready = match is {
            Truth::True => "ready".to_owned(),
            Truth::False => format!("not ready: {reason}"),
            Truth::Unknown => format!("nobody knows: {reason}"),
        };
        wrap(text, "", "  ", &format!("DataPlane {}: {ready}", self.name));
        if *is != Truth::True {
            wrap(text, "  ", "    ", &shorten(message, MESSAGE));
        }
        let Some(pods) = &self.status.pods else {
            return;
        };
        let (serving, total, connected) = (pods.serving, pods.ready, pods.connected);
        let line = format!("pods: {serving} of {total} serve, {connected} connected");
        wrap(text, "  ", "    ", &line);
        for pod in &pods.pending {
            let line = format!("{}: {}", shorten(&pod.pod, NAME), pod.reason);
            wrap(text, "    ", "      ", &line);
            wrap(text, "      ", "        ", &shorten(&pod.message, MESSAGE));
        }
        let versions = self.status.versions.iter();
        let versions = versions.map(|one| format!("{} ({})", one.version, one.pods));
        let versions: Vec<_> = versions.collect();
        if !versions.is_empty() {
            let line = format!("versions: {}", versions.join(", "));
            wrap(text, "  ", "    ", &line);
        }
    }
}

const NO_STATUS: &str =
    "no operator has said anything of it; does one run for the namespace of its pods?";
