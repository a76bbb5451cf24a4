//! A real API server takes what the charts make, PodSecurity included; Helm installs, upgrades and
//! uninstalls them there.

use anyhow::{Context, Result, bail, ensure};
use kube::Client;
use serde_json::{Value, json};
use tcpforward_tests::chart::{self, CHART, CRDS, NAMESPACE};
use tcpforward_tests::cluster::{Cluster, Controllers};
use tcpforward_tests::lab::{self, Lab, Network};
use tcpforward_tests::programs::{self, workspace_root};
use tcpforward_tests::repository::commands;
use tcpforward_tests::walkthrough::Walkthrough;

/// Of the Prometheus operator, as far as we are concerned.
const POD_MONITORS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: podmonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  names: {kind: PodMonitor, listKind: PodMonitorList, plural: podmonitors, singular: podmonitor}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

#[test]
fn an_api_server_takes_every_set_and_judges_its_pods() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let cluster = Cluster::start(lab, Controllers::Absent).await?;
        cluster.install_crds(lab).await?;
        let file = lab.file("pod-monitors.yaml", POD_MONITORS)?;
        let file = file.to_string_lossy().into_owned();
        cluster.kubectl(lab, &["apply", "-f", &file]).await?;
        let crd = "crd/podmonitors.monitoring.coreos.com";
        let wait = ["wait", "--for=condition=Established", "--timeout=30s", crd];
        cluster.kubectl(lab, &wait).await?;
        for namespace in [NAMESPACE, "games", "shop"] {
            let namespace = ["create", "namespace", namespace];
            cluster.kubectl(lab, &namespace).await?;
        }
        let label = "pod-security.kubernetes.io/enforce=restricted";
        let label = ["label", "namespace", NAMESPACE, label];
        cluster.kubectl(lab, &label).await?;
        let client = cluster.client().await?;
        let mut on_nodes = 0;
        for set in chart::sets()? {
            let accounts = accounts(lab, &set)?;
            cluster.kubectl(lab, &["apply", "-f", &accounts]).await?;
            let golden = chart::golden(&set).to_string_lossy().into_owned();
            let apply = ["apply", "--dry-run=server", "--validate=strict", "-f"];
            let apply = [&apply[..], &[&golden]].concat();
            let said = cluster.kubectl(lab, &apply).await;
            said.with_context(|| set.clone())?;
            for pod in pods(&set)? {
                let name = pod["metadata"]["name"].clone();
                let is_on_node = pod["spec"]["hostNetwork"] == true;
                on_nodes += usize::from(is_on_node);
                let verdict = judged(&client, &pod).await;
                match (is_on_node, verdict) {
                    (false, verdict) => verdict.with_context(|| format!("{set}: {name}"))?,
                    (true, Ok(())) => bail!("{set}: {name} is let onto a node's network"),
                    (true, Err(error)) => {
                        let text = error.to_string();
                        let wrong = text.split("\": ").nth(1).unwrap_or_default();
                        // All that is wrong with it: the network, and the ports that come with it.
                        let wrong: Vec<_> = wrong.split(", ").collect();
                        ensure!(
                            matches!(wrong.as_slice(), [network, port]
                                if *network == "host namespaces (hostNetwork=true)"
                                    && port.starts_with("hostPort (container \"dataplane\"")),
                            "{set}: {name}: {text}"
                        );
                    }
                }
            }
        }
        ensure!(on_nodes >= 2, "only {on_nodes} pods on nodes' networks");
        Ok(())
    })
}

/// Whether a pod would be let in, by PodSecurity too: that only warns of a Deployment.
async fn judged(client: &Client, pod: &Value) -> Result<()> {
    let uri = format!("/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All&fieldValidation=Strict");
    let request = http::Request::post(uri)
        .header("Content-Type", "application/json")
        .body(serde_json::to_vec(pod)?)?;
    match client.request::<Value>(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => bail!("{}", status.message),
        Err(error) => bail!(error),
    }
}

fn pods(set: &str) -> Result<Vec<Value>> {
    let objects = chart::objects(set)?.into_iter();
    let pods = objects.filter_map(|mut object| {
        let pod = match chart::text(&object, "/kind") {
            "Deployment" | "DaemonSet" => object.pointer_mut("/spec/template")?.take(),
            "Pod" => object,
            _ => return None,
        };
        let name = pod.pointer("/spec/serviceAccountName")?;
        let mut metadata = pod.pointer("/metadata")?.clone();
        metadata
            .as_object_mut()?
            .insert("name".to_owned(), name.clone());
        let spec = pod.pointer("/spec")?;
        Some(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
    });
    Ok(pods.collect())
}

/// A file with the ServiceAccounts of a set: without its own no pod is let in.
fn accounts(lab: &Lab, set: &str) -> Result<String> {
    let objects = chart::objects(set)?.into_iter();
    let accounts = objects.filter(|object| object["kind"] == "ServiceAccount");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": accounts.collect::<Vec<_>>()});
    let path = lab.file(&format!("{set}.accounts.json"), list.to_string())?;
    Ok(path.to_string_lossy().into_owned())
}

/// One command installs, and nothing is upgraded over old CustomResourceDefinitions unseen.
#[test]
fn helm_installs_upgrades_and_leaves_only_the_crds() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let cluster = Cluster::start(lab, Controllers::Absent).await?;
        let helm = async |arguments: &[&str]| {
            let helm = programs::helm()?
                .folder(workspace_root())
                .env("HOME", lab.folder())
                .args(arguments)
                .args(["--namespace", NAMESPACE, "--kubeconfig"])
                .arg(cluster.kubeconfig());
            lab.output(&helm).await
        };
        // Word for word what README.md says.
        let readme = std::fs::read_to_string(workspace_root().join("README.md"))?;
        let lines = commands(&readme).into_iter().flat_map(|block| block.lines);
        let mut install = lines.filter(|line| line.starts_with("helm "));
        let install = install.next().context("README.md installs nothing")?;
        let notes = Walkthrough::new(lab, Some(&cluster)).run(&install).await?;
        for command in ["rollout status", "test tcpforward", "kubectl apply -f -"] {
            ensure!(notes.contains(command), "{notes}");
        }
        helm(&[
            "upgrade",
            "tcpforward",
            CHART,
            "--set",
            "operator.replicas=3",
        ])
        .await?;
        let replicas = ["get", "deployment", "tcpforward-operator", "-n", NAMESPACE];
        let replicas = [&replicas[..], &["-o", "jsonpath={.spec.replicas}"]].concat();
        ensure!(cluster.kubectl(lab, &replicas).await? == "3");

        // As if the CustomResourceDefinition were of another version.
        let crd = "crd/tcpforwards.tcpforward.dev";
        let older = "/spec/versions/0/schema/openAPIV3Schema/description";
        let older = json!([{"op": "replace", "path": older, "value": "older"}]).to_string();
        let patch = ["patch", crd, "--type=json", "-p", &older];
        cluster.kubectl(lab, &patch).await?;
        let refused = helm(&["upgrade", "tcpforward", CHART]).await.err();
        let refused = refused.context("upgraded over an old CRD")?.to_string();
        let (_, remedy) = refused
            .split_once("first do: helm ")
            .context(refused.clone())?;
        let (remedy, _) = remedy.split_once(" (").context("a command")?;
        let remedy: Vec<_> = remedy.split(' ').collect();
        ensure!(remedy.contains(&CRDS), "{remedy:?}");
        helm(&remedy).await?;
        helm(&["upgrade", "tcpforward", CHART]).await?;

        helm(&["uninstall", "tcpforward"]).await?;
        helm(&["uninstall", "tcpforward-crds"]).await?;
        let left = left(lab, &cluster).await?;
        let kept = |name: &String| name.starts_with("customresourcedefinition");
        ensure!(!left.is_empty() && left.iter().all(kept), "left: {left:?}");
        Ok(())
    })
}

/// Everything that has our name.
async fn left(lab: &Lab, cluster: &Cluster) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for kinds in [
        "deployments,daemonsets,services,serviceaccounts,roles,rolebindings,networkpolicies",
        "poddisruptionbudgets,clusterroles,clusterrolebindings,secrets,dataplanes",
        "customresourcedefinitions",
        "configmaps,leases",
    ] {
        let get = ["get", kinds, "-A", "-o", "name"];
        let found = cluster.kubectl(lab, &get).await?;
        let ours = found.lines().filter(|line| line.contains("tcpforward"));
        left.extend(ours.map(str::to_owned));
    }
    Ok(left)
}
