//! Edge. What an operator has with and without a cluster, wired.

use std::collections::BTreeSet;
use std::sync::{Arc, Once};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::Insight;
use crate::compile::Rules;
use crate::controller::{Controller, Forwards, Outputs, Pulse, Writing};
use crate::identity::accounts::Accounts;
use crate::index::{Index, Key};
use crate::lease::{LeaseView, now};
use crate::metrics::Metrics;
use crate::push::{Roster, Shared};

/// What an operator has with and without a cluster.
pub(super) struct Core {
    pub(super) controller: Controller,
    pub(super) shared: Arc<Shared>,
    pub(super) insight: Insight,
}

/// What is asked to be watched, where that is not everything.
pub(super) struct Asks {
    pub(super) secrets: watch::Sender<BTreeSet<Key>>,
    pub(super) namespaces: watch::Sender<BTreeSet<String>>,
}

impl Core {
    pub(super) fn new(
        rules: Rules,
        index: Index,
        writing: Writing,
        asks: Option<Asks>,
        lease: watch::Receiver<LeaseView>,
        identity: String,
        metrics: Metrics,
    ) -> Self {
        let (published, seen) = watch::channel(None);
        let (forwards, views) = watch::channel(Forwards::new());
        let (pulse, beats) = watch::channel(Pulse {
            beat: now(),
            waits_for: Vec::new(),
        });
        let (accounts, pods) = watch::channel(Accounts::default());
        let roster = Arc::<Roster>::default();
        let (secrets, namespaces) = asks.map(|asks| (asks.secrets, asks.namespaces)).unzip();
        let outputs = Outputs {
            published,
            forwards,
            pulse,
            secrets,
            namespaces,
            accounts,
        };
        Self {
            controller: Controller::new(
                rules,
                index,
                writing,
                Arc::clone(&roster),
                lease.clone(),
                outputs,
                metrics.clone(),
            ),
            shared: Arc::new(Shared {
                identity,
                published: seen.clone(),
                accounts: pods,
                lease: lease.clone(),
                roster: Arc::clone(&roster),
                metrics: metrics.clone(),
                shutdown: CancellationToken::new(),
                behind: Once::new(),
            }),
            insight: Insight {
                forwards: views,
                published: seen,
                pulse: beats,
                lease,
                lease_name: None,
                serving: None,
                roster,
                metrics,
            },
        }
    }
}
