//! Edge. A cluster as the suite sees it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client};

use crate::cluster::access::Access;
use crate::eventually::eventually;
use crate::lab::Lab;
use crate::programs;

/// What a busy machine may need until pods are where they should be.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// Namespace of the product.
pub(super) const SYSTEM: &str = "tcpforward-system";

/// Namespace of the suite's own pods.
pub(super) const USERS: &str = "e2e";

/// A cluster.
pub struct Site<'a> {
    /// Where files are.
    pub(super) lab: &'a Lab,
    /// All rights.
    access: Access,
    pub(super) api: Client,
    /// Names of two nodes that take pods.
    pub(super) nodes: [String; 2],
}

/// A pod that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) name: String,
    pub(super) node: String,
    pub(super) ip: IpAddr,
    /// The id of its first container, as its node's runtime names it.
    pub(super) container: String,
}

impl<'a> Site<'a> {
    /// The cluster of that kubeconfig, which has all rights.
    ///
    /// # Errors
    /// It has fewer than two nodes.
    pub async fn new(lab: &'a Lab, kubeconfig: &Path) -> Result<Self> {
        let access = Access::new(lab, kubeconfig);
        let api = access.client().await?;
        let nodes: Api<Node> = Api::all(api.clone());
        let nodes = nodes.list(&ListParams::default()).await?;
        let takes_pods = |node: &&Node| {
            let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
            taints.is_none_or(Vec::is_empty)
        };
        let names = nodes.iter().filter(takes_pods);
        let names: Vec<String> = names
            .filter_map(|node| node.metadata.name.clone())
            .collect();
        let [first, second, ..] = names.as_slice() else {
            anyhow::bail!("two nodes that take pods are needed: {names:?}");
        };
        Ok(Self {
            nodes: [first.clone(), second.clone()],
            lab,
            access,
            api,
        })
    }

    pub(super) async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.access.kubectl(self.lab, arguments).await
    }

    /// Runs helm in the repository's folder.
    pub(super) async fn helm(&self, arguments: &[&str]) -> Result<String> {
        let helm = programs::helm()?.args(arguments.iter().copied());
        let what = format!("helm {}", arguments.join(" "));
        self.access.output(self.lab, helm).await.context(what)
    }

    /// Applies manifests to a namespace.
    pub(super) async fn apply(&self, namespace: &str, manifests: &str) -> Result<()> {
        let path = self.lab.file("applied.yaml", manifests)?;
        let path = path.to_str().context("a path that is text")?;
        self.kubectl(&["apply", "--namespace", namespace, "-f", path])
            .await
            .map(drop)
    }

    /// Waits until a Deployment has all of its pods, and none of a former one.
    pub(super) async fn rolled_out(&self, namespace: &str, name: &str) -> Result<()> {
        let name = format!("deployment/{name}");
        let wait = [
            "rollout",
            "status",
            "--timeout=150s",
            "-n",
            namespace,
            &name,
        ];
        self.kubectl(&wait).await.map(drop)
    }

    /// The pods with these labels that are ready, and not asked to end, by name.
    pub(super) async fn ready(&self, namespace: &str, labels: &str) -> Result<Vec<Running>> {
        let pods: Api<Pod> = Api::namespaced(self.api.clone(), namespace);
        let pods = pods.list(&ListParams::default().labels(labels)).await?;
        Ok(pods.iter().filter_map(running).collect())
    }

    /// Waits until that many pods are ready.
    pub(super) async fn so_many(
        &self,
        namespace: &str,
        labels: &str,
        n: usize,
    ) -> Result<Vec<Running>> {
        eventually(&format!("{n} pods {labels}"), SOON, async || {
            let pods = self.ready(namespace, labels).await?;
            ensure!(pods.len() == n, "{pods:?}");
            Ok::<_, anyhow::Error>(pods)
        })
        .await
    }

    /// Waits until a condition of a TcpForward is so for its present generation.
    pub(super) async fn condition(
        &self,
        namespace: &str,
        name: &str,
        condition: &str,
    ) -> Result<()> {
        let (forward, wait) = (
            format!("tcpf/{name}"),
            format!("--for=condition={condition}"),
        );
        let command = ["wait", "-n", namespace, &wait, "--timeout=60s", &forward];
        let waited = self.kubectl(&command).await;
        if waited.is_err() {
            let seen = ["get", "-n", namespace, &forward, "-o", "jsonpath={.status}"];
            let seen = self.kubectl(&seen).await?;
            return waited.map(drop).context(seen);
        }
        Ok(())
    }
}

fn running(pod: &Pod) -> Option<Running> {
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    let conditions: BTreeMap<_, _> = status
        .conditions
        .iter()
        .flatten()
        .map(|c| (c.type_.as_str(), c.status.as_str()))
        .collect();
    let is_ready = conditions.get("Ready") == Some(&"True");
    let container = status
        .container_statuses
        .as_ref()?
        .first()?
        .container_id
        .as_ref()?;
    (is_ready && pod.metadata.deletion_timestamp.is_none()).then_some(())?;
    Some(Running {
        name: pod.metadata.name.clone()?,
        node: spec.node_name.clone()?,
        ip: status.pod_ip.as_ref()?.parse().ok()?,
        container: container.split_once("://")?.1.to_owned(),
    })
}
