//! Edge. A real Kubernetes without nodes: etcd, kube-apiserver and kube-controller-manager.
//!
//! Everything listens on 127.0.0.1, in a namespace of the test or on the machine's own loopback
//! device. With the controllers, namespaces end, garbage is collected, ServiceAccounts get tokens
//! and EndpointSlices follow Services with selectors; without them, a test is the only writer.

mod pki;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::cluster::pki::{Authority, Identity};
use crate::eventually::eventually;
use crate::lab::Lab;
use crate::ports::Reserved;
use crate::process::{Process, Program};
use crate::programs;

/// An API server that isn't ready by then won't be: it takes 4 s when the machine is idle.
const READY_DEADLINE: Duration = Duration::from_secs(90);

/// Of one kubectl command.
const KUBECTL_DEADLINE: Duration = Duration::from_secs(60);

/// Whether the controllers of kube-controller-manager run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controllers {
    /// They do.
    Run,
    /// Only the API: enough for admission, and half the start time.
    Absent,
}

/// A running Kubernetes; gone when dropped.
#[derive(Debug)]
pub struct Cluster {
    kubeconfig: PathBuf,
    kubectl: Program,
    /// To be stopped, held and started again by tests of outages.
    pub api_server: Process,
    /// The API server's storage.
    pub etcd: Process,
    /// Absent when the test asked for none.
    pub controllers: Option<Process>,
    _ports: Ports,
}

impl Cluster {
    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// A program is missing, or isn't ready in time.
    pub async fn start(lab: &Lab, controllers: Controllers) -> Result<Self> {
        let plan = Plan::new(lab)?;
        let kubeconfig = plan.kubeconfig("admin", Some("system:masters"))?;
        let kubectl = programs::kubernetes("kubectl")?
            .arg(flag("--kubeconfig", &kubeconfig))
            .folder(programs::workspace_root())
            // Where it caches what the API server offers.
            .env("HOME", lab.folder());
        let controller_manager = plan.controller_manager()?;
        let mut cluster = Self {
            kubeconfig,
            kubectl,
            etcd: lab.start("etcd", &plan.etcd()?)?,
            api_server: lab.start("kube-apiserver", &plan.api_server()?)?,
            controllers: None,
            _ports: plan.ports,
        };
        cluster.ready().await?;
        if controllers == Controllers::Run {
            let started = lab.start("kube-controller-manager", &controller_manager)?;
            cluster.controllers = Some(started);
        }
        Ok(cluster)
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
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        Ok(Client::try_from(config)?)
    }

    /// The kubeconfig of an administrator, for programs.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Applies `crds/` and waits until all of its kinds can be written.
    ///
    /// # Errors
    /// The API server refuses it, or the deadline passes.
    pub async fn install_crds(&self, lab: &Lab) -> Result<()> {
        self.kubectl(lab, &["apply", "--server-side", "-f", "crds/"])
            .await?;
        let client = self.client().await?;
        eventually("our kinds to be served", KUBECTL_DEADLINE, async || {
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
        let program = self.kubectl.clone().args(arguments);
        tokio::time::timeout(KUBECTL_DEADLINE, lab.output(&program))
            .await
            .with_context(|| format!("no end within {KUBECTL_DEADLINE:?}"))
            .flatten()
            .with_context(|| format!("kubectl {}", arguments.join(" ")))
    }
}

/// What a cluster is made of before it runs.
struct Plan<'a> {
    ports: Ports,
    authority: Authority<'a>,
    /// Signs the tokens of ServiceAccounts.
    accounts: Identity,
}

/// Held by us from the start, so that parallel tests can't take them from each other.
#[derive(Debug)]
struct Ports {
    api: Reserved,
    etcd: Reserved,
    etcd_peer: Reserved,
}

impl<'a> Plan<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let ports = Ports {
            api: Reserved::new()?,
            etcd: Reserved::new()?,
            etcd_peer: Reserved::new()?,
        };
        let authority = Authority::new(lab)?;
        let accounts = authority.issue("service-accounts", None)?;
        Ok(Self {
            ports,
            authority,
            accounts,
        })
    }

    fn kubeconfig(&self, user: &str, group: Option<&str>) -> Result<PathBuf> {
        self.authority
            .kubeconfig(self.ports.api.address(), user, group)
    }

    fn etcd(&self) -> Result<Program> {
        let url = |port: &Reserved| format!("http://{}", port.address());
        let (clients, peers) = (url(&self.ports.etcd), url(&self.ports.etcd_peer));
        Ok(programs::kubernetes("etcd")?
            .args(["--name=test", "--data-dir=etcd", "--log-level=warn"])
            // Nothing of it outlives the test.
            .arg("--unsafe-no-fsync")
            .arg("--socket-reuse-port")
            .args(["--listen-client-urls", &clients])
            .args(["--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers])
            .args(["--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("test={peers}")]))
    }

    fn api_server(&self) -> Result<Program> {
        let server = self.authority.issue("kube-apiserver", None)?;
        let address = self.ports.api.address();
        Ok(programs::kubernetes("kube-apiserver")?
            .arg(format!(
                "--etcd-servers=http://{}",
                self.ports.etcd.address()
            ))
            .arg(format!("--bind-address={}", address.ip()))
            .arg(format!("--advertise-address={}", address.ip()))
            .arg(format!("--secure-port={}", address.port()))
            .arg("--permit-port-sharing")
            // Its own EndpointSlice may not hold a loopback address.
            .arg("--endpoint-reconciler-type=none")
            .arg("--authorization-mode=Node,RBAC")
            .arg("--service-cluster-ip-range=10.96.0.0/16")
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(flag("--tls-cert-file", &server.certificate))
            .arg(flag("--tls-private-key-file", &server.key))
            .arg(flag("--client-ca-file", &self.authority.certificate))
            .arg(flag(
                "--service-account-key-file",
                &self.accounts.certificate,
            ))
            .arg(flag(
                "--service-account-signing-key-file",
                &self.accounts.key,
            )))
    }

    fn controller_manager(&self) -> Result<Program> {
        let kubeconfig = self.kubeconfig("system:kube-controller-manager", None)?;
        Ok(programs::kubernetes("kube-controller-manager")?
            .arg("--secure-port=0")
            .arg("--leader-elect=false")
            .arg("--use-service-account-credentials")
            .arg(flag("--kubeconfig", &kubeconfig))
            .arg(flag("--root-ca-file", &self.authority.certificate))
            .arg(flag(
                "--service-account-private-key-file",
                &self.accounts.key,
            )))
    }
}

fn flag(name: &str, file: &Path) -> String {
    format!("{name}={}", file.display())
}
