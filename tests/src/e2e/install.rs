//! Edge. The product comes into the cluster, and goes, by the commands of its pages, word for word.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;
use serde_json::json;
use tcpforward_operator::entrance;
use tcpforward_protocol::snapshot::ForwardName;

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

/// Makes the suite's own namespace.
pub(super) async fn prepare(site: &Site<'_>) -> Result<()> {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": USERS},
    });
    site.apply("default", &namespace.to_string()).await
}

/// The data planes: one on each node, by name.
pub(super) async fn data_planes(site: &Site<'_>) -> Result<Vec<Running>> {
    site.so_many(SYSTEM, DATA_PLANES, 2).await
}

/// Where clients reach a forward of the suite's namespace: its Service, by the name that its status says.
pub(super) fn front(name: &str, port: u16) -> String {
    format!("{}.{SYSTEM}.svc:{port}", service_of(USERS, name))
}

/// The name of the Service of a forward.
pub(super) fn service_of(namespace: &str, name: &str) -> String {
    entrance::name("default", &ForwardName::new(namespace, name))
}

/// Where each data plane listens for a forward: on a port that the operator gave to it, and here `more`
/// behind the first one of a range.
pub(super) async fn listeners(
    site: &Site<'_>,
    namespace: &str,
    name: &str,
    more: u16,
) -> Result<Vec<(Running, String)>> {
    let services: Api<Service> = Api::namespaced(site.api.clone(), SYSTEM);
    let service = services.get(&service_of(namespace, name)).await?;
    let ports = service.spec.and_then(|spec| spec.ports);
    let mut ports: Vec<_> = ports.unwrap_or_default();
    ports.sort_by_key(|port| port.port);
    let port = ports.get(usize::from(more));
    let target = port.and_then(|port| port.target_port.clone());
    let Some(IntOrString::Int(target)) = target else {
        bail!("{name} has no port of pods: {ports:?}");
    };
    let planes = data_planes(site).await?.into_iter();
    let listeners = planes.map(|plane| {
        let address = format!("{}:{target}", plane.ip);
        (plane, address)
    });
    Ok(listeners.collect())
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
