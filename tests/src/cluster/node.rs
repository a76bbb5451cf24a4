//! Edge. A node: a machine with containerd, kubelet and kube-proxy.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node as Object;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::cluster::Cluster;
use crate::cluster::cgroups::Cgroups;
use crate::cluster::machine::Machine;
use crate::cluster::nodes::{CLUSTER_DNS, DEADLINE, POD_NETWORK};
use crate::cluster::plan::flag;
use crate::eventually::eventually;
use crate::lab::Lab;
use crate::process::{Process, Program};
use crate::programs;

/// The image of pods' first container.
pub(super) const SANDBOX: &str = "tests.tcpforward.dev/sandbox:1";

const CONTAINERD: &str = "containerd";

const CONTAINERD_SOCKET: &str = "unix:///run/containerd/containerd.sock";

/// Where Debian's containernetworking-plugins are, and those of other distributions.
const PLUGINS: [&str; 3] = ["/usr/lib/cni", "/usr/libexec/cni", "/opt/cni/bin"];

#[derive(Debug)]
pub(super) struct Node {
    place: Place,
    machine: Machine,
    /// What it runs, and what of it was started since it was booted.
    programs: Vec<(&'static str, Program)>,
    started: Vec<Process>,
}

/// Where a node is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) name: &'static str,
    pub(super) zone: &'static str,
    /// From 1.
    pub(super) number: u8,
}

impl Place {
    fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(172, 30, 0, 10 + self.number)
    }

    fn pods(&self) -> String {
        format!("10.244.{}.0/24", self.number)
    }

    async fn machine(&self, lab: &Lab) -> Result<Machine> {
        let machine = Machine::boot(lab, self.name, &programs::pod(lab)?).await?;
        let (address, pods) = (self.address(), self.pods());
        machine.plug(lab, address, &pods).await?;
        Ok(machine)
    }
}

impl Node {
    /// Boots it and has it join, with these images.
    pub(super) async fn join(
        lab: &Lab,
        cluster: &Cluster,
        cgroups: &Cgroups,
        place: Place,
        images: &[PathBuf],
    ) -> Result<Self> {
        register(cluster, &place).await?;
        let mut node = Self {
            machine: place.machine(lab).await?,
            programs: vec![
                (CONTAINERD, containerd(lab, &place)?),
                (
                    "kubelet",
                    kubelet(lab, cluster, &place, &cgroups.make(place.name)?)?,
                ),
                ("kube-proxy", kube_proxy(cluster, place.name)?),
            ],
            place,
            started: Vec::new(),
        };
        node.start(lab).await?;
        for image in images {
            node.import(lab, image).await?;
        }
        Ok(node)
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        self.place.name
    }

    /// Takes it off the power.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.machine.kill()
    }

    /// Boots it again, with the disk that it had.
    pub(super) async fn boot(&mut self, lab: &Lab) -> Result<()> {
        self.machine = self.place.machine(lab).await?;
        self.start(lab).await
    }

    async fn start(&mut self, lab: &Lab) -> Result<()> {
        self.started.clear();
        for (what, program) in &self.programs {
            let name = format!("{}-{what}", self.place.name);
            let program = self.machine.program(program.clone());
            self.started.push(lab.start(&name, &program)?);
            if *what == CONTAINERD {
                // A kubelet that finds none ends.
                let what = format!("{name} to answer");
                let ctr = self
                    .machine
                    .program(programs::of_nodes("ctr")?.arg("version"));
                eventually(&what, DEADLINE, async || lab.output(&ctr).await).await?;
            }
        }
        Ok(())
    }

    /// Which of its programs ended, if one did.
    pub(super) fn ended(&mut self) -> Result<Option<String>> {
        for process in &mut self.started {
            if let Some(status) = process.ended()? {
                return Ok(Some(format!("{} ended: {status}", process.name())));
            }
        }
        Ok(None)
    }

    /// Gives it an image.
    pub(super) async fn import(&self, lab: &Lab, image: &Path) -> Result<()> {
        let ctr = programs::of_nodes("ctr")?
            .args(["--namespace", "k8s.io", "images", "import"])
            .arg(image);
        let ctr = self.machine.program(ctr);
        let what = format!("{} to have {}", self.place.name, image.display());
        eventually(&what, DEADLINE, async || lab.output(&ctr).await).await?;
        Ok(())
    }
}

/// Creates its object, which kubelet completes: pods' addresses are known before it starts.
async fn register(cluster: &Cluster, place: &Place) -> Result<()> {
    let node: Object = serde_json::from_value(json!({
        "metadata": {"name": place.name, "labels": {
            "topology.kubernetes.io/zone": place.zone,
            "kubernetes.io/hostname": place.name,
        }},
        "spec": {"podCIDR": place.pods(), "podCIDRs": [place.pods()]},
    }))?;
    let nodes: Api<Object> = Api::all(cluster.client().await?);
    nodes.create(&PostParams::default(), &node).await?;
    Ok(())
}

fn containerd(lab: &Lab, place: &Place) -> Result<Program> {
    let path = format!("{}/containerd.toml", place.name);
    Ok(programs::of_nodes("containerd")?
        .arg("--config")
        .arg(lab.file(&path, containerd_configuration(lab, place)?)?))
}

fn containerd_configuration(lab: &Lab, place: &Place) -> Result<String> {
    let network = json!({
        "cniVersion": "1.0.0", "name": "pods",
        "plugins": [{
            // A pod's only neighbour is its node, so that all of its traffic passes kube-proxy's rules.
            "type": "ptp",
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": place.pods()}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    });
    let network = lab.file(
        &format!("{}/cni/pods.conflist", place.name),
        network.to_string(),
    )?;
    let network = network.parent().context("a file lies in a folder")?;
    let plugins = PLUGINS.iter().find(|path| Path::new(path).is_dir());
    let plugins = plugins.with_context(|| {
        format!("no network plugins in {PLUGINS:?}: install them with `apt-get install containernetworking-plugins`")
    })?;
    Ok(format!(
        "version = 3\n\
         disabled_plugins = ['io.containerd.internal.v1.opt', 'io.containerd.nri.v1.nri']\n\
         [plugins.'io.containerd.cri.v1.images'.pinned_images]\n\
         sandbox = '{SANDBOX}'\n\
         [plugins.'io.containerd.cri.v1.runtime']\n\
         # Without CAP_SYS_RESOURCE runc would die of it.\n\
         restrict_oom_score_adj = true\n\
         [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\n\
         runtime_type = 'io.containerd.runc.v2'\n\
         [plugins.'io.containerd.cri.v1.runtime'.cni]\n\
         bin_dirs = ['{plugins}']\n\
         conf_dir = '{}'\n",
        network.display()
    ))
}

fn kubelet(lab: &Lab, cluster: &Cluster, place: &Place, cgroup: &str) -> Result<Program> {
    let user = format!("system:node:{}", place.name);
    let kubeconfig = cluster.authority.kubeconfig(&user, Some("system:nodes"))?;
    let resolv = lab.file("resolv.conf", "nameserver 127.0.0.1\n")?;
    let configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": cluster.authority.certificate},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "clusterDNS": [CLUSTER_DNS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": CONTAINERD_SOCKET,
        "enforceNodeAllocatable": [],
        "evictionHard": {
            "memory.available": "100Mi", "nodefs.available": "1%",
            "imagefs.available": "1%", "nodefs.inodesFree": "1%",
        },
        "failCgroupV1": false,
        "failSwapOn": false,
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        // A node counts as silent after 10 s.
        "nodeLeaseDurationSeconds": 12,
        "resolvConf": resolv,
        "volumePluginDir": "/var/lib/kubelet/plugins",
    });
    let file = lab.file(
        &format!("{}/kubelet.yaml", place.name),
        configuration.to_string(),
    )?;
    Ok(programs::kubernetes("kubelet")?
        .arg(flag("--config", &file))
        .arg(flag("--kubeconfig", &kubeconfig))
        .arg(format!("--hostname-override={}", place.name))
        .arg(format!("--node-ip={}", place.address())))
}

fn kube_proxy(cluster: &Cluster, name: &str) -> Result<Program> {
    let kubeconfig = cluster.authority.kubeconfig("system:kube-proxy", None)?;
    Ok(programs::kubernetes("kube-proxy")?
        .arg(flag("--kubeconfig", &kubeconfig))
        .arg("--proxy-mode=nftables")
        .arg(format!("--hostname-override={name}"))
        .arg(format!("--cluster-cidr={POD_NETWORK}"))
        // Limits of connection tracking are the kernel's, not this machine's.
        .args(["--conntrack-max-per-core=0", "--conntrack-min=0"]))
}
