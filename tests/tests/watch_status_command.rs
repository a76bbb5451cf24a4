//! `tcpforward status` on a real API server: with and without an operator, with all rights and with few.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tcpforward_tests::cluster::{Cluster, Controllers};
use tcpforward_tests::eventually::eventually;
use tcpforward_tests::fixtures::mk_pool;
use tcpforward_tests::lab::{self, Lab, Network};
use tcpforward_tests::programs;
use tcpforward_tests::stage::{self, SOON, Stage};

/// What it says, and its exit code.
struct Said {
    code: Option<i32>,
    text: String,
}

fn status(lab: &Lab, kubeconfig: &str, arguments: &[&str]) -> Result<Said> {
    let program = programs::tcpforward()?
        .args(["status", "--kubeconfig", kubeconfig])
        .args(arguments);
    let output = program.command(lab.folder()).output()?;
    Ok(Said {
        code: output.status.code(),
        text: String::from_utf8([output.stdout, output.stderr].concat())?,
    })
}

impl Said {
    #[track_caller]
    fn has(&self, code: i32, words: &[&str]) -> Result<()> {
        let Self { code: ended, text } = self;
        // Lines are broken anywhere.
        let whole = text.replace("\n  ", " ");
        let is_in = |word: &str| text.contains(word) || whole.contains(word);
        let missing = words.iter().find(|word| !is_in(word));
        ensure!(missing.is_none(), "{missing:?} is not in: {text}");
        ensure!(*ended == Some(code), "{ended:?}, not {code}: {text}");
        let widest = text.lines().map(|line| line.chars().count()).max();
        let is_page = code <= 1 && !text.contains("Usage:") && !text.starts_with('{');
        ensure!(!is_page || widest <= Some(80), "{widest:?}: {text}");
        Ok(())
    }
}

/// May list what is in one namespace.
fn reader() -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
         "metadata": {"name": "reader"}, "rules": [
            {"apiGroups": ["tcpforward.dev"], "resources": ["tcpforwards"], "verbs": ["list"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
         "metadata": {"name": "reader"},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
         "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "default"}]},
    ]})
}

async fn apply(cluster: &Cluster, lab: &Lab, manifests: &str) -> Result<()> {
    let path = lab.file("applied.yaml", manifests)?;
    let path = path.to_str().context("a path that is text")?;
    cluster.kubectl(lab, &["apply", "-f", path]).await.map(drop)
}

#[test]
fn what_is_not_there_or_not_allowed_is_said() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let cluster = Cluster::start(lab, Controllers::Absent).await?;
        let admin = cluster.kubeconfig().display().to_string();
        let undefined = ["the cluster knows no TcpForwards", "crds/"];
        status(lab, &admin, &[])?.has(69, &undefined)?;
        status(lab, &admin, &["web"])?.has(69, &undefined)?;

        cluster.install_crds(lab).await?;
        let nothing = ["no TcpForwards in namespace default; -A looks in all of them"];
        status(lab, &admin, &[])?.has(0, &nothing)?;
        status(lab, &admin, &["-A"])?.has(0, &["no TcpForwards in this cluster"])?;
        let json = status(lab, &admin, &["-o", "json"])?;
        json.has(0, &["\"forwards\": []", "\"total\": 0"])?;
        apply(&cluster, lab, &mk_pool("default", json!({})).to_string()).await?;
        let all = [
            "no TcpForwards in this cluster",
            "default    -     -          -        Unknown",
        ];
        status(lab, &admin, &["-A"])?.has(0, &all)?;
        let absent = ["there is no TcpForward default/web"];
        status(lab, &admin, &["web"])?.has(64, &absent)?;

        apply(&cluster, lab, &stage::forward("web", 8888, "web")).await?;
        let unknown = [
            "web   8888  -         -     Unknown",
            "NoStatus: no operator",
        ];
        status(lab, &admin, &[])?.has(1, &unknown)?;
        status(lab, &admin, &["-A"])?.has(1, &["default/web", "0 of 1 ready"])?;

        apply(&cluster, lab, &reader().to_string()).await?;
        let token = cluster.kubectl(lab, &["create", "token", "reader"]).await?;
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&admin)?)?;
        let user = config.pointer_mut("/users/0/user").context("a user")?;
        *user = json!({"token": token.trim()});
        let reader = lab.file("reader.kubeconfig", config.to_string())?;
        let reader = reader.display().to_string();
        let forwards_alone = [
            "0 of 1 ready",
            "DataPlanes are not shown: may not read DataPlanes; have a ClusterRole with `list`",
        ];
        status(lab, &reader, &[])?.has(1, &forwards_alone)?;
        let json = status(lab, &reader, &["-o", "json"])?;
        json.has(1, &["\"dataPlanes\": null", "may not read DataPlanes"])?;
        let all = [
            "may not read TcpForwards of all namespaces; name a namespace",
            "forbidden",
        ];
        status(lab, &reader, &["-A"])?.has(69, &all)?;
        let other = ["may not read TcpForwards of namespace other; have a Role with `list`"];
        status(lab, &reader, &["-n", "other"])?.has(69, &other)?;
        let one = ["may not read TcpForward default/web; have a Role with `get`"];
        status(lab, &reader, &["web"])?.has(69, &one)
    })
}

#[test]
fn kubectl_finds_it_as_a_plugin() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let cluster = Cluster::start(lab, Controllers::Absent).await?;
        cluster.install_crds(lab).await?;
        apply(&cluster, lab, &stage::forward("web", 8888, "web")).await?;
        let bin = lab.folder().join("bin");
        fs::create_dir(&bin)?;
        symlink(
            programs::tcpforward()?.path(),
            bin.join("kubectl-tcpforward"),
        )?;
        let mut path = bin.into_os_string();
        path.push(":/usr/bin:/bin");
        let kubectl = |arguments: &[&'static str]| -> Result<Said> {
            let program = programs::kubernetes("kubectl")?
                .env("PATH", &path)
                .env("KUBECONFIG", cluster.kubeconfig())
                .args(arguments.iter().copied());
            let output = program.command(lab.folder()).output()?;
            Ok(Said {
                code: output.status.code(),
                text: String::from_utf8([output.stdout, output.stderr].concat())?,
            })
        };
        kubectl(&["tcpforward"])?.has(1, &["0 of 1 ready"])?;
        kubectl(&["tcpforward", "status", "web"])?.has(1, &["default/web, port 8888"])?;
        kubectl(&["tcpforward", "--help"])?.has(0, &["Usage: kubectl tcpforward"])
    })
}

#[test]
fn a_broken_and_a_sound_forward_are_told_apart() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let operator = stage.operator(1).await?;
        let _dataplane = stage.dataplane(1, &[operator.push]).await?;
        let backend = "10.77.0.11:8080".parse()?;
        let objects = stage::service("web", &[backend])
            + &stage::forward("web", 8888, "web")
            + &stage::forward("lost", 8889, "nowhere");
        stage.apply(&objects).await?;
        let admin = stage.cluster.kubeconfig().display().to_string();
        stage.condition("web", "Ready", "True", "Ready").await?;
        stage
            .condition("lost", "Programmed", "True", "Programmed")
            .await?;

        let sound = [
            "web, port 8888, pool default",
            "ready, for",
            "backends: 1 of 1 healthy",
            "DataPlane default: ready\n  pods: 1 of 1 serve, 1 connected\n  versions: ",
        ];
        status(lab, &admin, &["web"])?.has(0, &sound)?;
        let all = [
            "web   8888  1/1       1/1   True",
            "1 of 2 ready",
            "DATAPLANE  PODS",
            "default    1/1   1 ",
        ];
        status(lab, &admin, &[])?.has(1, &all)?;
        let broken = [
            "not ready, for",
            "BackendNotFound\n  ",
            "nowhere",
            "Programmed=True",
        ];
        status(lab, &admin, &["lost"])?.has(1, &broken)?;
        let report = status(lab, &admin, &["-n", "default", "-o", "json"])?;
        let report: Value = serde_json::from_str(&report.text)?;
        ensure!(report["summary"]["notReady"] == 1, "{report:#}");
        ensure!(
            report["forwards"][0]["ready"]["reason"] == "BackendNotFound",
            "{report:#}"
        );

        // Once the operator is gone, nobody looks at what is new.
        drop(operator);
        let port = json!({"spec": {"listener": {"port": 8890}}}).to_string();
        let patch = ["patch", "tcpf", "web", "--type=merge", "-p", &port];
        stage.kubectl(&patch).await?;
        eventually("the change to be noticed", SOON, async || {
            status(lab, &admin, &["web"])?.has(1, &["nobody knows: Outdated", "generation 2"])
        })
        .await
    })
}
