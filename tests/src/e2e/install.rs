//! Edge. The product comes into the cluster, and goes, by the commands of its pages, word for word.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::json;

use crate::e2e::balance::WEB;
use crate::e2e::site::{Running, SOON, SYSTEM, Site, USERS};
use crate::eventually::eventually;
use crate::programs::workspace_root;
use crate::repository;

/// The Deployment of the pool `default`.
pub(super) const DATA_PLANE: &str = "tcpforward-default";

/// The operator's Deployment, ServiceAccount and Lease.
pub(super) const OPERATOR: &str = "tcpforward-operator";

const OPERATORS: &str = "app.kubernetes.io/component=operator";

const DATA_PLANES: &str = "app.kubernetes.io/component=data-plane";

/// README's way from nothing to a forward that works.
pub(super) async fn by_readme(site: &Site<'_>) -> Result<()> {
    commands(site, "README.md", "helm install ").await?;
    site.rolled_out(SYSTEM, OPERATOR).await?;
    site.rolled_out(SYSTEM, DATA_PLANE).await?;
    // What the last of the commands has made.
    site.kubectl(&["delete", "-f", "examples/plain.yaml"])
        .await
        .map(drop)
}

/// Runs each line of the block of commands in a page that has a line with this beginning.
pub(super) async fn commands(site: &Site<'_>, page: &str, beginning: &str) -> Result<()> {
    let text = fs::read_to_string(workspace_root().join(page))?;
    let blocks = repository::commands(&text);
    let mut blocks = blocks.iter().filter(|block| {
        let mut lines = block.lines.iter();
        lines.any(|line| line.starts_with(beginning))
    });
    let block = blocks.next();
    let block = block.with_context(|| format!("{page} has no command {beginning:?}"))?;
    for line in &block.lines {
        println!("e2e: $ {line}");
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["kubectl", arguments @ ..] => site.kubectl(arguments).await?,
            ["helm", arguments @ ..] => site.helm(arguments).await?,
            _ => bail!("{page}: no test runs {line:?}"),
        };
    }
    Ok(())
}

/// `helm test` of the release.
pub(super) async fn helm_test(site: &Site<'_>) -> Result<()> {
    let printed = site
        .helm(&["-n", SYSTEM, "test", "tcpforward", "--timeout=90s"])
        .await?;
    ensure!(printed.contains("Succeeded"), "{printed}");
    Ok(())
}

/// Makes the suite's own namespace, and a Service in front of all data planes.
pub(super) async fn prepare(site: &Site<'_>) -> Result<()> {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": USERS},
    });
    site.apply("default", &namespace.to_string()).await?;
    let ports = (WEB..WEB + 4).map(|port| json!({"name": format!("p{port}"), "port": port}));
    let (label, value) = DATA_PLANES.split_once('=').context("a label")?;
    let front = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "front"},
        "spec": {"selector": {label: value}, "ports": ports.collect::<Vec<_>>()},
    });
    site.apply(SYSTEM, &front.to_string()).await
}

/// The data planes: one on each node, by name.
pub(super) async fn data_planes(site: &Site<'_>) -> Result<Vec<Running>> {
    site.so_many(SYSTEM, DATA_PLANES, 2).await
}

/// Where clients reach all data planes on that port.
pub(super) fn front(port: u16) -> String {
    format!("front.{SYSTEM}:{port}")
}

/// The operator that holds the Lease.
pub(super) async fn lease_holder(site: &Site<'_>) -> Result<Running> {
    let leases: Api<Lease> = Api::namespaced(site.api.clone(), SYSTEM);
    eventually("a holder of the Lease that is ready", SOON, async || {
        let lease = leases.get(OPERATOR).await?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity);
        let holder = holder.context("nobody holds the Lease")?;
        let mut operators = site.ready(SYSTEM, OPERATORS).await?.into_iter();
        let found = operators.find(|operator| holder.starts_with(&operator.name));
        found.with_context(|| format!("{holder} is not ready"))
    })
    .await
}
