//! Edge. The operator of `tcpforward run`: manifests on disk, one process, no Lease.

use std::collections::BTreeMap;
use std::path::PathBuf;

use prometheus::Registry;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};

use super::tasks::{Tasks, done};
use super::{Core, EVENTS, Error};
use crate::admin::Insight;
use crate::compile::Rules;
use crate::controller::Writing;
use crate::files;
use crate::index::{Event, Index};
use crate::lease::LeaseView;
use crate::manifest::Finding;
use crate::metrics::Metrics;
use crate::push;

/// An operator for the data plane of the same process: manifests on disk, no Lease.
pub struct Local {
    core: Core,
}

impl Local {
    /// An operator, and how it will be. `reserved`: ports of this process that no forward may
    /// take, and what has them, as in "the admin page of this process".
    ///
    /// # Errors
    /// The registry has the metrics of another operator.
    pub fn new(
        registry: &Registry,
        reserved: BTreeMap<u16, String>,
    ) -> Result<(Self, Insight), Error> {
        let rules = Rules {
            reserved,
            ..Rules::of_manifests()
        };
        let (_, lease) = watch::channel(LeaseView::alone());
        let metrics = Metrics::new(registry)?;
        let identity = "local".to_owned();
        let index = Index::new();
        let core = Core::new(rules, index, Writing::Local, None, lease, identity, metrics);
        let insight = core.insight.clone();
        Ok((Self { core }, insight))
    }

    /// Serves the data planes that dial `incoming` until shutdown. `findings` hears what is wrong
    /// with the manifests; what was good before stays in force.
    ///
    /// # Errors
    /// A path can't be read at the start, or a part has failed.
    pub async fn run(
        self,
        paths: Vec<PathBuf>,
        incoming: mpsc::Receiver<DuplexStream>,
        mut findings: impl FnMut(&[Finding]) + Send + 'static,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let Core {
            controller,
            shared,
            insight,
        } = self.core;
        let stop = shared.shutdown.clone();
        let (events, inbox) = mpsc::channel::<Event>(EVENTS);
        let mut tasks = Tasks::default();
        tasks.spawn("the controller", done(controller.run(inbox, stop.clone())));
        tasks.spawn("the push", async move {
            Ok(push::serve_local(shared, incoming).await?)
        });
        let errors = insight.metrics.file_errors.clone();
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn("the watch of files", async move {
            let hear = move |found: &[Finding]| {
                errors.inc_by(u64::try_from(found.len()).unwrap_or(u64::MAX));
                findings(found);
            };
            tokio::select! {
                () = stopped => Ok(()),
                ended = files::run(paths, events, hear) => Ok(ended?),
            }
        });
        let ended = tasks.until(shutdown).await;
        stop.cancel();
        tasks.goodbye().await;
        ended
    }
}
