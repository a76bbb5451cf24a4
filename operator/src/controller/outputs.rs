//! Edge. What the controller tells the rest of the program.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use tcpforward_protocol::snapshot::{Forward, ForwardName};
use tokio::sync::watch;

use crate::crd::{DataPlane, TcpForwardStatus};
use crate::identity::accounts::Accounts;
use crate::index::Key;
use crate::patch::{Queue, ServiceWrite, StatusPatch};
use crate::push::Published;

/// One forward as the operator sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardView {
    /// Whose data planes serve it.
    pub pool: String,
    /// What is, or would be, its status.
    pub status: TcpForwardStatus,
    /// What the data planes were told; absent: it is rejected.
    pub forward: Option<Arc<Forward>>,
}

/// All forwards by name.
pub type Forwards = BTreeMap<ForwardName, ForwardView>;

/// How the loop is.
#[derive(Clone, Debug)]
pub(crate) struct Pulse {
    /// Its latest turn.
    pub(crate) beat: Instant,
    /// Kinds that were not read yet.
    pub(crate) waits_for: Vec<&'static str>,
}

/// What the controller tells the rest.
pub(crate) struct Outputs {
    pub(crate) published: watch::Sender<Option<Published>>,
    pub(crate) forwards: watch::Sender<Forwards>,
    pub(crate) pulse: watch::Sender<Pulse>,
    /// The Secrets that are to be watched; none: all of them are in manifests.
    pub(crate) secrets: Option<watch::Sender<BTreeSet<Key>>>,
    /// The namespaces of pools, whose Services are to be watched; none: there are none.
    pub(crate) namespaces: Option<watch::Sender<BTreeSet<String>>>,
    /// Whose pods are whose data planes.
    pub(crate) accounts: watch::Sender<Accounts>,
}

/// Whether and where statuses are written.
pub(crate) enum Writing {
    /// To the API server.
    Cluster {
        forwards: Arc<Queue>,
        pools: Arc<Queue<StatusPatch<DataPlane>>>,
        services: Arc<Queue<ServiceWrite>>,
    },
    /// Nowhere: `tcpforward run` shows them.
    Local,
}
