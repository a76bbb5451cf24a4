//! The rights that the chart gives are those that the operator uses: it runs with them, and the API
//! server's audit log says which it has used.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tcpforward_tests::audit::{self, Asked};
use tcpforward_tests::chart::{self, NAMESPACE};
use tcpforward_tests::echo::{Behaviour, Server};
use tcpforward_tests::eventually::eventually;
use tcpforward_tests::lab::{self, Lab, Network};
use tcpforward_tests::process::Process;
use tcpforward_tests::programs;
use tcpforward_tests::secure::HOST;
use tcpforward_tests::stage::{SOON, Stage, ready, service};

const OPERATOR: &str = "tcpforward-operator";
const DATA_PLANE: &str = "tcpforward-default";

/// As far as a watch is concerned.
const REFERENCE_GRANTS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: referencegrants.gateway.networking.k8s.io
  annotations: {api-approved.kubernetes.io: 'unapproved, a stand-in for tests of tcpforward'}
spec:
  group: gateway.networking.k8s.io
  names:
    {kind: ReferenceGrant, listKind: ReferenceGrantList, plural: referencegrants, singular: referencegrant}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

/// One thing that may be done: where (empty: anywhere), and group, resource, verb.
type Right = (String, String, String, String);

#[test]
fn the_operator_uses_each_right_in_the_cluster_and_needs_no_other() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        rights_are_those_used(lab, "default", &["shop"]).await
    })
}

#[test]
fn the_same_in_listed_namespaces() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        rights_are_those_used(lab, "namespaced", &["games", "shop"]).await
    })
}

async fn rights_are_those_used(lab: &Lab, set: &str, namespaces: &[&str]) -> Result<()> {
    let install = Install::new(lab, set, namespaces).await?;
    install.stage.apply(REFERENCE_GRANTS).await?;
    let mut first = install.operator(1, &[]).await?;
    let server = Server::start("10.77.0.1:8080", Behaviour::Http("one".to_owned())).await?;
    for (port, namespace) in (8000..).zip(namespaces) {
        install.forward(namespace, port, server.address()).await?;
    }
    let _dataplane = install.dataplane(first.push).await?;
    for namespace in namespaces {
        install.until(namespace, "Programmed").await?;
        // An Event, and once more the same one, which is counted in the first.
        for condition in ["false", "true", "false", "true"] {
            let ready = json!({"endpoints": [{
                "addresses": [server.address().ip()],
                "conditions": {"ready": condition == "true"},
            }]});
            let patch = ["patch", "endpointslice", "web", "-n", namespace, "-p"];
            let ready = ready.to_string();
            let patch = [&patch[..], &[&ready, "--type=merge"]].concat();
            install.kubectl(&patch).await?;
            let condition = format!("BackendsAvailable={condition}");
            install.until(namespace, &condition).await?;
        }
    }
    let n_namespaces = install.watched;
    install
        .asked_for("watch", "referencegrants", n_namespaces)
        .await?;
    // The Services by which clients come go with their forwards.
    for namespace in namespaces {
        install
            .kubectl(&["delete", "tcpf", "web", "-n", namespace])
            .await?;
    }
    let n = namespaces.len();
    install.asked_for("delete", "services", n).await?;
    // What the chart made room for is made anew if somebody deletes it.
    for object in ["secret/tls", "configmap/ca", "lease/"] {
        let (kind, end) = object.split_once('/').context("a kind")?;
        let name = format!("{OPERATOR}-{end}");
        let delete = ["delete", kind, name.trim_end_matches('-'), "-n", NAMESPACE];
        install.kubectl(&delete).await?;
        install.asked_for("create", &format!("{kind}s"), 1).await?;
    }
    first.process.signal(Signal::TERM)?;
    let _second = install
        .operator(2, &["--server-name=other.example"])
        .await?;
    install.asked_for("update", "secrets", 1).await?;

    let asked = install.asked()?;
    let refused: Vec<_> = asked.iter().filter(|asked| asked.code == 403).collect();
    ensure!(refused.is_empty(), "may not, but tries to: {refused:#?}");
    let unused: Vec<_> = granted(set)?
        .into_iter()
        .filter(|right| !asked.iter().any(|asked| uses(asked, right)))
        .collect();
    ensure!(unused.is_empty(), "may, but never does: {unused:#?}");
    Ok(())
}

fn uses(asked: &Asked, (place, group, resource, verb): &Right) -> bool {
    let is_there = place.is_empty() || *place == asked.namespace;
    is_there && asked.group == *group && asked.resource == *resource && asked.verb == *verb
}

/// All rights of a set's roles of the operator, one by one.
fn granted(set: &str) -> Result<BTreeSet<Right>> {
    let mut rights = BTreeSet::new();
    for role in chart::objects(set)? {
        let name = chart::text(&role, "/metadata/name");
        if !name.starts_with(OPERATOR) {
            continue;
        }
        let place = chart::text(&role, "/metadata/namespace");
        for rule in chart::list(&role, "/rules") {
            let words = |key: &str| -> Vec<String> {
                let words = chart::list(rule, &format!("/{key}"));
                words.filter_map(Value::as_str).map(str::to_owned).collect()
            };
            for group in words("apiGroups") {
                for resource in words("resources") {
                    for verb in words("verbs") {
                        let right = (place.to_owned(), group.clone(), resource.clone(), verb);
                        rights.insert(right);
                    }
                }
            }
        }
    }
    ensure!(rights.len() > 10, "{rights:?}");
    Ok(rights)
}

/// The chart's accounts and rights in a cluster, and programs that have no others.
struct Install<'a> {
    stage: Stage<'a>,
    lab: &'a Lab,
    kubeconfig: PathBuf,
    flags: Vec<String>,
    /// Namespaces with watches of their own; 1: one for all.
    watched: usize,
}

struct Operator {
    process: Process,
    push: SocketAddr,
}

impl<'a> Install<'a> {
    async fn new(lab: &'a Lab, set: &str, namespaces: &[&str]) -> Result<Self> {
        let stage = Stage::audited(lab, &[&user()]).await?;
        for namespace in namespaces.iter().chain(&[NAMESPACE]) {
            stage.kubectl(&["create", "namespace", namespace]).await?;
        }
        let objects = chart::objects(set)?;
        let of_rights = |object: &&Value| {
            let kind = chart::text(object, "/kind");
            let room = [
                "Lease",
                "ConfigMap",
                "Secret",
                "ServiceAccount",
                "DataPlane",
            ];
            room.contains(&kind) || kind.contains("Role")
        };
        let rights: Vec<_> = objects.iter().filter(of_rights).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": rights});
        stage.apply(&list.to_string()).await?;
        let token = ["create", "token", OPERATOR, "-n", NAMESPACE];
        let token = stage.kubectl(&token).await?;
        let kubeconfig = with_token(lab, &stage, token.trim())?;
        let flags = flags(&objects)?;
        Ok(Self {
            stage,
            lab,
            kubeconfig,
            watched: flags
                .iter()
                .filter(|flag| flag.starts_with("--watch-namespaces="))
                .count()
                .max(1),
            flags,
        })
    }

    async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.stage.kubectl(arguments).await
    }

    /// The operator with the flags of the chart, but on loopback.
    async fn operator(&self, n: u16, more: &[&str]) -> Result<Operator> {
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port + n * 10));
        let (push, health, admin) = (at(9000), at(9002), at(9003));
        let program = programs::operator()?
            .env("KUBECONFIG", &self.kubeconfig)
            .env("POD_NAMESPACE", NAMESPACE)
            .args(self.flags.iter().cloned())
            .arg(format!("--server-name={HOST}"))
            .arg(format!("--push={push}"))
            .arg(format!("--health={health}"))
            .arg(format!("--admin={admin}"))
            .args(more.iter().copied());
        let process = self.lab.start(&format!("operator-{n}"), &program)?;
        ready(health)
            .await
            .with_context(|| format!("operator-{n}"))?;
        Ok(Operator { process, push })
    }

    async fn forward(&self, namespace: &str, port: u16, backend: SocketAddr) -> Result<()> {
        let forward = tcpforward_tests::stage::forward("web", port, "web");
        let text = service("web", &[backend]) + &forward;
        let file = self.lab.file(&format!("{namespace}.yaml"), text)?;
        let file = file.to_string_lossy().into_owned();
        let apply = ["apply", "-n", namespace, "-f", &file];
        self.kubectl(&apply).await.map(drop)
    }

    async fn until(&self, namespace: &str, condition: &str) -> Result<()> {
        let condition = format!("--for=condition={condition}");
        let wait = ["wait", "-n", namespace, &condition, "--timeout=50s"];
        let wait = [&wait[..], &["tcpf/web"]].concat();
        self.kubectl(&wait).await.map(drop)
    }

    /// A data plane with the identity of a pod of the chart's pool.
    async fn dataplane(&self, operator: SocketAddr) -> Result<tcpforward_tests::stage::DataPlane> {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "one", "namespace": NAMESPACE, "labels": {"tcpforward.dev/data-plane": "default"}},
            "spec": {"serviceAccountName": DATA_PLANE, "containers": [{"name": "c", "image": "nowhere/at-all"}]},
        });
        self.stage.apply(&pod.to_string()).await?;
        let uid = ["get", "pod", "one", "-n", NAMESPACE];
        let uid = [&uid[..], &["-o", "jsonpath={.metadata.uid}"]].concat();
        let uid = self.kubectl(&uid).await?;
        let token = ["create", "token", DATA_PLANE, "-n", NAMESPACE];
        let bound = ["--bound-object-kind=Pod", "--bound-object-name=one"];
        let uid_of = ["--audience=tcpforward", "--bound-object-uid", &uid];
        let token = self
            .kubectl(&[&token[..], &bound, &uid_of].concat())
            .await?;
        let name = format!("{OPERATOR}-ca");
        let bundle = ["get", "configmap", &name, "-n", NAMESPACE];
        let bundle = [&bundle[..], &["-o", r"jsonpath={.data.ca\.crt}"]].concat();
        let bundle = self.kubectl(&bundle).await?;
        let files = [("ca.crt", bundle), ("token", token.trim().to_owned())];
        for (file, text) in files {
            self.lab.file(file, text)?;
        }
        let options = ["--pod=one", "--operator-ca=ca.crt", "--token-file=token"];
        let mut options: Vec<_> = options.map(str::to_owned).into();
        options.push(format!("--pod-uid={uid}"));
        options.push(format!("--operator={HOST}:{}", operator.port()));
        let dataplane = self.stage.dataplane_with(1, &options)?;
        ready(dataplane.health).await.context("the data plane")?;
        // As kubelet would: only pods that are Ready count.
        let status = r#"{"status": {"conditions": [{"type": "Ready", "status": "True"}]}}"#;
        let patch = [
            "patch",
            "pod",
            "one",
            "-n",
            NAMESPACE,
            "--subresource=status",
        ];
        self.kubectl(&[&patch[..], &["-p", status]].concat())
            .await?;
        Ok(dataplane)
    }

    fn asked(&self) -> Result<Vec<Asked>> {
        audit::asked(&self.stage.cluster.audit()?, &user())
    }

    async fn asked_for(&self, verb: &str, resource: &str, times: usize) -> Result<()> {
        let what = format!("{times} times {verb} {resource}");
        eventually(&what, SOON, async || {
            let asked = self.asked()?;
            let done = asked
                .iter()
                .filter(|a| a.verb == verb && a.resource == resource && a.code < 300);
            let count = done.count();
            ensure!(count >= times, "{count}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }
}

fn user() -> String {
    format!("system:serviceaccount:{NAMESPACE}:{OPERATOR}")
}

/// What the chart has the operator started with, but for its addresses.
fn flags(objects: &[Value]) -> Result<Vec<String>> {
    let is_it = |object: &&Value| {
        let kind = object.pointer("/kind") == Some(&json!("Deployment"));
        kind && object.pointer("/metadata/name") == Some(&json!(OPERATOR))
    };
    let deployment = objects.iter().find(is_it).context("no Deployment")?;
    let args = deployment.pointer("/spec/template/spec/containers/0/args");
    let args = args.and_then(Value::as_array).context("no args")?;
    let args = args.iter().filter_map(Value::as_str);
    let addresses = ["--push=", "--health="];
    let args = args.filter(|arg| !addresses.iter().any(|flag| arg.starts_with(flag)));
    Ok(args.map(str::to_owned).collect())
}

/// The administrator's kubeconfig with another user.
fn with_token(lab: &Lab, stage: &Stage<'_>, token: &str) -> Result<PathBuf> {
    let text = std::fs::read_to_string(stage.cluster.kubeconfig())?;
    let mut kubeconfig: Value = serde_json::from_str(&text)?;
    let user = kubeconfig.pointer_mut("/users/0/user").context("no user")?;
    *user = json!({"token": token});
    lab.file("operator.kubeconfig", kubeconfig.to_string())
}
