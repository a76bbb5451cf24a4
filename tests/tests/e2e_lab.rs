//! The lab itself: nodes join, pods reach a Service by its name, labs at the same time don't meet, and
//! nothing is left behind, not even by one that is interrupted.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tcpforward_tests::cluster::nodes::{Nodes, POD_IMAGE};
use tcpforward_tests::eventually::eventually;
use tcpforward_tests::lab::{self, FOLDER_PREFIX, Lab, Network};
use tcpforward_tests::process::Program;

const DEADLINE: Duration = Duration::from_secs(120);

#[test]
fn a_pod_reaches_a_service_by_its_name() -> Result<()> {
    let mut name = String::new();
    lab::run(Network::Namespace, async |lab| {
        name = name_of(lab.folder())?;
        let nodes = Nodes::start(lab, &[]).await?;
        fetch_by_name(lab, &nodes).await
    })?;
    let left = traces(&name)?;
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

#[test]
fn an_interrupted_lab_leaves_nothing_and_meets_no_other() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let nodes = Nodes::start(lab, &[]).await?;
        let other = Program::new(std::env::current_exe()?)
            .args(["--exact", "a_pod_reaches_a_service_by_its_name"])
            .env("TMPDIR", lab.folder());
        let mut other = lab.start("other", &other)?;
        let name = eventually("the other lab's containers", DEADLINE, async || {
            let ended = other.ended()?;
            let name = only_lab(lab.folder())?;
            let is_container = |path: &&PathBuf| name_of(path).is_ok_and(|name| name.len() == 64);
            let containers = traces(&name)?.iter().filter(is_container).count();
            ensure!(containers > 0, "none yet; ended: {ended:?}");
            Ok::<_, anyhow::Error>(name)
        });
        let name = name.await?;
        // Not INT, which a shell has its background jobs ignore, and all that they start.
        other.signal(Signal::TERM)?;
        let ended = other.end(DEADLINE).await?;
        let interrupted = Some(Signal::TERM.as_raw());
        ensure!(ended.signal() == interrupted, "{ended}");
        eventually("nothing of the other lab", DEADLINE, async || {
            let left = traces(&name)?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
        .await?;
        fetch_by_name(lab, &nodes).await
    })
}

/// A pod fetches a page from two others by the name of their Service.
async fn fetch_by_name(lab: &Lab, nodes: &Nodes) -> Result<()> {
    let manifests = lab.file("pods.yaml", PODS.replace("IMAGE", POD_IMAGE))?;
    let apply = ["apply", "-f", &manifests.display().to_string()];
    nodes.cluster.kubectl(lab, &apply).await?;
    let path = "/api/v1/namespaces/default/pods/client:8080/proxy/fetch?to=page:80&n=20";
    eventually("answers of both pods", DEADLINE, async || {
        let report = nodes.cluster.kubectl(lab, &["get", "--raw", path]).await?;
        let parsed: Value = serde_json::from_str(&report)?;
        let answers = parsed.get("answers").and_then(Value::as_object);
        ensure!(answers.is_some_and(|names| names.len() == 2), "{report}");
        Ok(())
    })
    .await
}

const PODS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: page}
spec:
  replicas: 2
  selector: {matchLabels: {app: page}}
  template:
    metadata: {labels: {app: page}}
    spec:
      containers:
      - {name: page, image: "IMAGE", args: [page, ":8080"], imagePullPolicy: Never}
---
apiVersion: v1
kind: Service
metadata: {name: page}
spec:
  selector: {app: page}
  ports:
  - {port: 80, targetPort: 8080}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers:
  - {name: client, image: "IMAGE", args: [client, ":8080"], imagePullPolicy: Never}
"#;

/// Control groups and processes of the lab of that name.
fn traces(name: &str) -> Result<Vec<PathBuf>> {
    let mut traces = Vec::new();
    groups_in(Path::new("/sys/fs/cgroup"), name, &mut traces);
    for process in fs::read_dir("/proc")? {
        let path = process?.path();
        // One that ends meanwhile has none.
        let command = fs::read(path.join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains(name) {
            traces.push(path);
        }
    }
    Ok(traces)
}

fn groups_in(folder: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let path = entry.path();
            if path.to_string_lossy().contains(name) {
                found.push(path.clone());
            }
            groups_in(&path, name, found);
        }
    }
}

fn only_lab(folder: &Path) -> Result<String> {
    let names = fs::read_dir(folder)?.filter_map(|entry| name_of(&entry.ok()?.path()).ok());
    let mut labs = names.filter(|name| name.starts_with(FOLDER_PREFIX));
    labs.next().context("no lab yet")
}

fn name_of(path: &Path) -> Result<String> {
    let name = path.file_name().context("a path has a name")?;
    Ok(name.to_string_lossy().into_owned())
}
