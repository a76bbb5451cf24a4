//! Edge. What a cluster is made of before it runs: ports, certificates, command lines.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;

use crate::cluster::pki::{Authority, Identity};
use crate::cluster::{Audience, Options};
use crate::lab::Lab;
use crate::ports::Reserved;
use crate::process::Program;
use crate::programs;

pub(super) struct Plan<'a> {
    pub(super) ports: Ports,
    pub(super) authority: Authority,
    lab: &'a Lab,
    options: &'a Options,
    /// Signs the tokens of ServiceAccounts.
    accounts: Identity,
}

/// Held by us from the start, so that parallel tests can't take them from each other.
#[derive(Debug)]
pub(super) struct Ports {
    api: Reserved,
    etcd: Reserved,
    etcd_peer: Reserved,
}

impl Ports {
    /// Where the API server is.
    pub(super) fn api(&self) -> SocketAddr {
        self.api.address()
    }

    /// Where its storage is.
    pub(super) fn etcd(&self) -> SocketAddr {
        self.etcd.address()
    }
}

impl<'a> Plan<'a> {
    pub(super) fn new(lab: &'a Lab, options: &'a Options) -> Result<Self> {
        let address = match options.audience {
            Audience::Machine => Ipv4Addr::LOCALHOST,
            Audience::Nodes(address) => address,
        };
        let ports = Ports {
            api: Reserved::at(address)?,
            etcd: Reserved::new()?,
            etcd_peer: Reserved::new()?,
        };
        let authority = Authority::new(lab, ports.api())?;
        let accounts = authority.issue("service-accounts", None)?;
        Ok(Self {
            ports,
            authority,
            lab,
            options,
            accounts,
        })
    }

    pub(super) fn administrator(&self) -> Result<PathBuf> {
        self.authority.kubeconfig("admin", Some("system:masters"))
    }

    pub(super) fn etcd(&self) -> Result<Program> {
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

    pub(super) fn api_server(&self) -> Result<Program> {
        let server = self.authority.issue("kube-apiserver", None)?;
        let (address, etcd) = (self.ports.api(), self.ports.etcd.address());
        let program = programs::kubernetes("kube-apiserver")?
            .arg(format!("--etcd-servers=http://{etcd}"))
            .arg(format!("--bind-address={}", address.ip()))
            .arg(format!("--advertise-address={}", address.ip()))
            .arg(format!("--secure-port={}", address.port()))
            .arg("--permit-port-sharing")
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
            ));
        let program = match self.options.audience {
            // Its own EndpointSlice may not hold a loopback address.
            Audience::Machine => program.arg("--endpoint-reconciler-type=none"),
            Audience::Nodes(_) => self.with_kubelets(program)?,
        };
        self.with_audit(program)
    }

    /// Logs, exec and the proxy to pods go by the kubelets; names of nodes are in no DNS.
    fn with_kubelets(&self, program: Program) -> Result<Program> {
        let client = self
            .authority
            .issue("kube-apiserver-kubelet-client", Some("system:masters"))?;
        Ok(program
            .arg("--allow-privileged")
            .arg("--kubelet-preferred-address-types=InternalIP")
            .arg(flag("--kubelet-client-certificate", &client.certificate))
            .arg(flag("--kubelet-client-key", &client.key)))
    }

    fn with_audit(&self, program: Program) -> Result<Program> {
        let Some(users) = &self.options.audited else {
            return Ok(program);
        };
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata", "users": users}, {"level": "None"}],
        });
        let policy = self.lab.file("audit-policy.yaml", policy.to_string())?;
        Ok(program
            .arg(flag("--audit-policy-file", &policy))
            .arg(flag("--audit-log-path", &self.lab.folder().join(AUDIT))))
    }

    pub(super) fn controller_manager(&self) -> Result<Program> {
        let kubeconfig = self
            .authority
            .kubeconfig("system:kube-controller-manager", None)?;
        Ok(programs::kubernetes("kube-controller-manager")?
            .arg("--secure-port=0")
            .arg("--leader-elect=false")
            .arg("--use-service-account-credentials")
            // Of a node that is silent; the default is 50 s.
            .args([
                "--node-monitor-grace-period=10s",
                "--node-monitor-period=2s",
            ])
            .arg(flag("--kubeconfig", &kubeconfig))
            .arg(flag("--root-ca-file", &self.authority.certificate))
            .arg(flag(
                "--service-account-private-key-file",
                &self.accounts.key,
            )))
    }

    pub(super) fn scheduler(&self) -> Result<Program> {
        let kubeconfig = self.authority.kubeconfig("system:kube-scheduler", None)?;
        Ok(programs::kubernetes("kube-scheduler")?
            .arg("--secure-port=0")
            .arg("--leader-elect=false")
            .arg(flag("--kubeconfig", &kubeconfig)))
    }
}

/// Where the audit log is, in the folder of the lab.
pub(super) const AUDIT: &str = "audit.json";

pub(super) fn flag(name: &str, file: &Path) -> String {
    format!("{name}={}", file.display())
}
