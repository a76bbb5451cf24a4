//! `tcpforward explain` on a real API server, with all rights and with few.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tcpforward_tests::cluster::{Cluster, Controllers};
use tcpforward_tests::fixtures::mk_pool;
use tcpforward_tests::lab::{self, Lab, Network};
use tcpforward_tests::programs;

/// `ci` may reach a Service; the hash is that of an example.
fn objects() -> Value {
    let hash = "$2y$08$Fq3uVwDkM5yTz8bXhN1CgevBWlIs2IDONlVewiuypwGnysW39S2XG";
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "db-1", "labels": {"kubernetes.io/service-name": "db"}},
        "addressType": "IPv4", "ports": [{"name": "pg", "port": 5432}],
        "endpoints": [{"addresses": ["10.2.0.7"], "conditions": {"ready": true}}]});
    let forward = json!({"apiVersion": "tcpforward.dev/v1alpha1", "kind": "TcpForward",
        "metadata": {"name": "out"},
        "spec": {"listener": {"port": 3128}, "httpConnect": {
            "authentication": {"basic": {"secretRef": {"name": "users"}}},
            "rules": [{"name": "db", "action": "Allow", "services": [{"name": "db"}],
                       "ports": [5432], "subjects": [{"kind": "User", "name": "ci"}]}]}}});
    let rights = json!([
        {"apiGroups": ["tcpforward.dev"], "resources": ["tcpforwards"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["services"], "verbs": ["get"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"]},
    ]);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "reader"}, "rules": rights});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "default"}]});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "users"},
         "stringData": {"auth": format!("ci:{hash}\n")}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
         "spec": {"ports": [{"name": "pg", "port": 5432}]}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}},
        slice, forward, role, binding, mk_pool("default", json!({})),
    ]})
}

/// What it says, and its exit code.
fn explain(lab: &Lab, kubeconfig: &str, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let program = programs::tcpforward()?
        .args(["explain", "--kubeconfig", kubeconfig])
        .args(arguments);
    let output = program.command(lab.folder()).output()?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    Ok((output.status.code(), printed))
}

#[test]
fn a_cluster_is_read_with_the_rights_of_who_asks() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let cluster = Cluster::start(lab, Controllers::Absent).await?;
        cluster.install_crds(lab).await?;
        let path = lab.file("objects.json", objects().to_string())?;
        let path = path.display().to_string();
        cluster.kubectl(lab, &["apply", "-f", &path]).await?;
        let admin = cluster.kubeconfig().display().to_string();

        let (code, said) = explain(lab, &admin, &["out", "db.default.svc:5432", "--as", "ci"])?;
        ensure!(code == Some(0), "{code:?}: {said}");
        ensure!(
            said.contains("allowed by rule db, to Service default/db"),
            "{said}"
        );
        ensure!(said.contains("10.2.0.7:5432  ready"), "{said}");
        let (code, said) = explain(lab, &admin, &["out", "db.default.svc:5432", "--as", "eve"])?;
        ensure!(
            code == Some(1) && said.contains("none of the users"),
            "{said}"
        );
        let (code, said) = explain(lab, &admin, &["default/none", "db.default.svc:5432"])?;
        ensure!(code == Some(64) && said.contains("default/none"), "{said}");

        // Whoever may not read the Secret hears that, and the rest.
        let token = cluster.kubectl(lab, &["create", "token", "reader"]).await?;
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&admin)?)?;
        let user = config.pointer_mut("/users/0/user").context("a user")?;
        *user = json!({"token": token.trim()});
        let reader = lab.file("reader.kubeconfig", config.to_string())?;
        let reader = reader.display().to_string();
        let (code, said) = explain(lab, &reader, &["out", "db.default.svc:5432", "--as", "ci"])?;
        ensure!(
            code == Some(0) && said.contains("10.2.0.7:5432  ready"),
            "{said}"
        );
        ensure!(
            said.contains("Secret default/users can't be read"),
            "{said}"
        );
        ensure!(said.contains("DataPlane default can't be read"), "{said}");
        Ok(())
    })
}
