//! Edge. A real Kubernetes: etcd, kube-apiserver and kube-controller-manager, and with [`nodes`] all
//! of it.
//!
//! Without nodes, everything listens on 127.0.0.1, in a namespace of the test or on the machine's own
//! loopback device. With the controllers, namespaces end, garbage is collected, ServiceAccounts get
//! tokens and EndpointSlices follow Services with selectors; without them, a test is the only writer.

pub mod access;
mod cgroups;
mod image;
mod machine;
mod node;
pub mod nodes;
mod pki;
mod plan;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use kube::Client;
use serde_json::{Value, json};

use crate::client;
use crate::cluster::access::Access;
use crate::cluster::pki::Authority;
use crate::cluster::plan::{AUDIT, Plan, Ports};
use crate::eventually::eventually;
use crate::lab::Lab;
use crate::process::Process;

/// An API server that isn't ready by then won't be: it takes 4 s when the machine is idle.
const READY_DEADLINE: Duration = Duration::from_secs(90);

/// Until a CRD that was applied is served.
const SERVED_DEADLINE: Duration = Duration::from_secs(60);

/// Whether the controllers of kube-controller-manager run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controllers {
    /// They do.
    Run,
    /// Only the API: enough for admission, and half the start time.
    Absent,
}

/// Who reaches the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Programs on this machine, by 127.0.0.1.
    Machine,
    /// Machines of the lab, by this address of it.
    Nodes(Ipv4Addr),
}

/// What a cluster is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether controllers run; with nodes, the scheduler runs beside them.
    pub controllers: Controllers,
    /// Who reaches the API server.
    pub audience: Audience,
    /// Users whose requests [`Cluster::audit`] holds; absent: no log.
    pub audited: Option<Vec<String>>,
}

/// A running Kubernetes; gone when dropped.
#[derive(Debug)]
pub struct Cluster {
    access: Access,
    /// To be stopped, held and started again by tests of outages.
    pub api_server: Process,
    /// The API server's storage.
    pub etcd: Process,
    /// Absent when the test asked for none.
    pub controllers: Option<Process>,
    /// Absent without nodes.
    pub scheduler: Option<Process>,
    authority: Authority,
    audit: PathBuf,
    ports: Ports,
}

impl Cluster {
    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// A program is missing, or isn't ready in time.
    pub async fn start(lab: &Lab, controllers: Controllers) -> Result<Self> {
        let options = Options {
            controllers,
            audience: Audience::Machine,
            audited: None,
        };
        Self::start_with(lab, &options).await
    }

    /// The same with more to choose.
    ///
    /// # Errors
    /// A program is missing, or isn't ready in time.
    pub async fn start_with(lab: &Lab, options: &Options) -> Result<Self> {
        let plan = Plan::new(lab, options)?;
        let (controller_manager, scheduler) = (plan.controller_manager()?, plan.scheduler()?);
        let mut cluster = Self {
            access: Access::new(lab, &plan.administrator()?),
            etcd: lab.start("etcd", &plan.etcd()?)?,
            api_server: lab.start("kube-apiserver", &plan.api_server()?)?,
            controllers: None,
            scheduler: None,
            authority: plan.authority,
            audit: lab.folder().join(AUDIT),
            ports: plan.ports,
        };
        cluster.ready().await?;
        if options.controllers == Controllers::Run {
            let started = lab.start("kube-controller-manager", &controller_manager)?;
            cluster.controllers = Some(started);
        }
        if options.audience != Audience::Machine {
            cluster.scheduler = Some(lab.start("kube-scheduler", &scheduler)?);
        }
        Ok(cluster)
    }

    /// The requests of the audited users so far: one event of audit.k8s.io/v1 a line.
    ///
    /// # Errors
    /// There is no log.
    pub fn audit(&self) -> Result<String> {
        std::fs::read_to_string(&self.audit).context("the audit log")
    }

    /// Has etcd forget every state but the present one.
    ///
    /// # Errors
    /// It refuses.
    pub async fn compact(&self) -> Result<()> {
        let etcd = self.ports.etcd();
        // Of a key that may not be there; base64 of "/".
        let now = client::post(etcd, "/v3/kv/range", r#"{"key": "Lw=="}"#).await?;
        let now: Value = serde_json::from_str(&now.body)?;
        let revision = now.pointer("/header/revision").context("a revision")?;
        let compact = json!({"revision": revision, "physical": true}).to_string();
        let done = client::post(etcd, "/v3/kv/compaction", &compact).await?;
        ensure!(done.status == 200, "{done:?}");
        Ok(())
    }

    /// Waits until the API server says that it is ready.
    ///
    /// # Errors
    /// It ends, or the deadline passes.
    pub async fn ready(&mut self) -> Result<()> {
        let client = self.client().await?;
        let ready = eventually("kube-apiserver to be ready", READY_DEADLINE, async || {
            if let Some(status) = self.api_server.ended()? {
                return Ok(Err(anyhow!("kube-apiserver ended: {status}")));
            }
            let request = http::Request::get("/readyz").body(Vec::new())?;
            client.request_text(request).await?;
            Ok::<_, anyhow::Error>(Ok(()))
        });
        ready.await?
    }

    /// A new client with all rights.
    ///
    /// # Errors
    /// The kubeconfig can't be read.
    pub async fn client(&self) -> Result<Client> {
        self.access.client().await
    }

    /// Where the API server listens.
    #[must_use]
    pub fn api(&self) -> SocketAddr {
        self.ports.api()
    }

    /// The kubeconfig of an administrator, for programs.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        self.access.kubeconfig()
    }

    /// Applies `crds/` and waits until all of its kinds can be written.
    ///
    /// # Errors
    /// The API server refuses it, or the deadline passes.
    pub async fn install_crds(&self, lab: &Lab) -> Result<()> {
        self.kubectl(lab, &["apply", "--server-side", "-f", "crds/"])
            .await?;
        let client = self.client().await?;
        eventually("our kinds to be served", SERVED_DEADLINE, async || {
            for plural in ["dataplanes", "tcpforwards"] {
                let path = format!("/apis/tcpforward.dev/v1alpha1/{plural}");
                let request = http::Request::get(path).body(Vec::new())?;
                client.request_text(request).await?;
            }
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// Runs kubectl in the repository's folder and returns what it prints.
    ///
    /// # Errors
    /// It fails; the message is what it wrote to standard error.
    pub async fn kubectl(&self, lab: &Lab, arguments: &[&str]) -> Result<String> {
        self.access.kubectl(lab, arguments).await
    }
}
