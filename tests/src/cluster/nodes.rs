//! Edge. Two nodes in two zones, CoreDNS, and what only a lab can do to a node.
//!
//! ```text
//!  the lab's network: API server, CoreDNS, the test   172.30.0.1
//!    └─ bridge ─┬─ n1, zone a   172.30.0.11   pods 10.244.1.0/24
//!               └─ n2, zone b   172.30.0.12   pods 10.244.2.0/24
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::json;

use crate::cluster::cgroups::Cgroups;
use crate::cluster::node::{Node, Place, SANDBOX};
use crate::cluster::{Audience, Cluster, Controllers, Options, image, machine};
use crate::eventually::eventually;
use crate::lab::Lab;
use crate::process::Process;
use crate::programs;

/// All addresses of pods.
pub const POD_NETWORK: &str = "10.244.0.0/16";

/// The address of the Service `kube-dns`.
pub const CLUSTER_DNS: &str = "10.96.0.10";

/// An image with `tests/pod` and nothing else; its entry point is `/pod`.
pub const POD_IMAGE: &str = "tests.tcpforward.dev/pod:1";

/// A node that isn't ready by then won't be: it takes 15 s when the machine is idle.
pub(super) const DEADLINE: Duration = Duration::from_secs(120);

/// A cluster with nodes; gone when dropped.
#[derive(Debug)]
pub struct Nodes {
    nodes: Vec<Node>,
    /// The control plane.
    pub cluster: Cluster,
    _dns: Process,
    /// Removed when nothing runs in them any more.
    cgroups: Cgroups,
}

impl Nodes {
    /// Starts all of it, and waits until both nodes are ready. The requests of `audited` users are in
    /// the log of the cluster. The lab needs a network namespace.
    ///
    /// # Errors
    /// A program is missing, or isn't ready in time.
    pub async fn start(lab: &Lab, audited: &[String]) -> Result<Self> {
        machine::lay_bridge()?;
        let options = Options {
            controllers: Controllers::Run,
            audience: Audience::Nodes(machine::GATEWAY),
            audited: Some(audited.to_vec()),
        };
        let cluster = Cluster::start_with(lab, &options).await?;
        let dns = start_dns(lab, &cluster).await?;
        let mut nodes = Self {
            nodes: Vec::new(),
            cluster,
            _dns: dns,
            cgroups: Cgroups::new(lab)?,
        };
        nodes.join(lab).await?;
        nodes.ready(lab).await?;
        Ok(nodes)
    }

    async fn join(&mut self, lab: &Lab) -> Result<()> {
        let pod = programs::pod(lab)?;
        let images = [
            image::make(lab, SANDBOX, pod.path(), &["/pod", "wait"]).await?,
            pod_image(lab).await?,
        ];
        for (name, zone, number) in [("n1", "a", 1), ("n2", "b", 2)] {
            let place = Place { name, zone, number };
            let node = Node::join(lab, &self.cluster, &self.cgroups, place, &images).await?;
            self.nodes.push(node);
        }
        Ok(())
    }

    async fn ready(&mut self, lab: &Lab) -> Result<()> {
        let wait = [
            "wait",
            "--for=condition=Ready",
            "--timeout=1s",
            "node",
            "--all",
        ];
        let ready = eventually("both nodes to be ready", DEADLINE, async || {
            for node in &mut self.nodes {
                if let Some(ended) = node.ended()? {
                    return Ok(Err(anyhow!("{ended}")));
                }
            }
            self.cluster.kubectl(lab, &wait).await?;
            // Without it no pod is let in.
            let account = ["get", "serviceaccount", "default"];
            self.cluster.kubectl(lab, &account).await.map(Ok)
        });
        ready.await?.map(drop)
    }

    /// Gives every node an image from a file, as `docker save` or `make image` write it.
    ///
    /// # Errors
    /// It is none.
    pub async fn import(&self, lab: &Lab, image: &Path) -> Result<()> {
        for node in &self.nodes {
            node.import(lab, image).await?;
        }
        Ok(())
    }

    /// Takes a node off the power.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        self.node(name)?.kill()
    }

    /// Boots a node that was taken off the power: with the disk that it had, and nothing that ran.
    ///
    /// # Errors
    /// There is none of that name, or it isn't ready in time.
    pub async fn boot(&mut self, lab: &Lab, name: &str) -> Result<()> {
        self.node(name)?.kill()?;
        self.cgroups.make(name)?;
        self.node(name)?.boot(lab).await?;
        self.ready(lab).await
    }

    /// `kill -9` of all processes of a container.
    ///
    /// # Errors
    /// None of its processes runs.
    pub fn kill_container(&self, id: &str) -> Result<()> {
        self.cgroups.kill(id)
    }

    fn node(&mut self, name: &str) -> Result<&mut Node> {
        let node = self.nodes.iter_mut().find(|node| node.name() == name);
        node.with_context(|| format!("no node is named {name}"))
    }
}

/// Writes [`POD_IMAGE`] as a file that containerd and Docker load.
///
/// # Errors
/// Go is missing.
pub async fn pod_image(lab: &Lab) -> Result<PathBuf> {
    image::make(lab, POD_IMAGE, programs::pod(lab)?.path(), &["/pod"]).await
}

/// Starts CoreDNS beside the API server, and the Service by which pods find it.
async fn start_dns(lab: &Lab, cluster: &Cluster) -> Result<Process> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system"},
        "spec": {"clusterIP": CLUSTER_DNS, "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        ]},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns", "namespace": "kube-system",
            "labels": {"kubernetes.io/service-name": "kube-dns"},
        },
        "addressType": "IPv4",
        "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        ],
        "endpoints": [{"addresses": [machine::GATEWAY]}],
    });
    let manifests = lab.file("kube-dns.yaml", format!("{service}\n---\n{slice}\n"))?;
    let manifests = manifests.to_str().context("a path that is text")?;
    cluster.kubectl(lab, &["apply", "-f", manifests]).await?;
    let corefile = lab.file("Corefile", corefile(cluster.kubeconfig()))?;
    let program = programs::of_nodes("coredns")?.arg("-conf").arg(corefile);
    lab.start("coredns", &program)
}

fn corefile(kubeconfig: &Path) -> String {
    format!(
        ".:53 {{\n  bind {}\n  errors\n  kubernetes cluster.local in-addr.arpa {{\n    kubeconfig {}\n    \
         ttl 1\n  }}\n}}\n",
        machine::GATEWAY,
        kubeconfig.display()
    )
}
