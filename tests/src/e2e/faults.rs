//! Edge. Deaths: of a backend, of a data plane, of the lease holder, of a node. Only a lab can cause them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::time::Instant;

use crate::cluster::nodes::Nodes;
use crate::e2e::balance::WEB;
use crate::e2e::client::{Client, Report};
use crate::e2e::forwards::forward;
use crate::e2e::install::{front, lease_holder, listeners};
use crate::e2e::site::{SOON, Site, USERS};
use crate::eventually::eventually;

/// A worker of a load has one connection at a time, so a death breaks so many at most.
const WORKERS: u64 = 2;

/// `kill -9` of a backend: what it was answering is lost, and nothing else.
pub(super) async fn backend(site: &Site<'_>, client: &Client<'_>, nodes: &Nodes) -> Result<()> {
    let pods = site.so_many(USERS, "app=web", 4).await?;
    let victim = pods.first().context("a page")?;
    client.start_load("backend", &front("web", WEB)).await?;
    let killed = nodes.kill_container(&victim.container);
    let back = started_again(site, "app=web", &victim.name, &victim.container).await;
    let report = client.end("backend").await?;
    killed?;
    back?;
    lost_at_most(&report, WORKERS, "answer")?;
    for (_, address) in listeners(site, USERS, "web", 0).await? {
        client.answered_by(&address, 4, 8).await?;
    }
    Ok(())
}

/// `kill -9` of a data plane: the other one loses nothing, and the container that takes its place serves
/// at once what the last one did.
pub(super) async fn data_plane(site: &Site<'_>, client: &Client<'_>, nodes: &Nodes) -> Result<()> {
    let listeners = listeners(site, USERS, "web", 0).await?;
    let [(victim, address), (_, other)] = listeners.as_slice() else {
        anyhow::bail!("two data planes: {listeners:?}");
    };
    client.start_load("other", other).await?;
    let killed = nodes.kill_container(&victim.container);
    let start = Instant::now();
    let back = client.answered_by(address, 4, 8).await;
    let took = start.elapsed();
    let report = client.end("other").await?;
    killed?;
    back?;
    report.flawless(20)?;
    ensure!(took < Duration::from_secs(20), "back after {took:?}");
    eventually("flawless answers of the Service", SOON, async || {
        client.fetch(&front("web", WEB), 40).await?.flawless(40)
    })
    .await
}

/// `kill -9` of the lease holder: traffic notices nothing, and another one goes on.
pub(super) async fn holder(site: &Site<'_>, client: &Client<'_>, nodes: &Nodes) -> Result<()> {
    let holder = lease_holder(site).await?;
    client.start_load("holder", &front("web", WEB)).await?;
    let killed = nodes.kill_container(&holder.container);
    let went_on = new_forward(site, client).await;
    let report = client.end("holder").await?;
    killed?;
    went_on?;
    report.flawless(50)
}

async fn new_forward(site: &Site<'_>, client: &Client<'_>) -> Result<()> {
    let port = WEB + 2;
    site.apply(USERS, &forward("late", port, "web", &json!({})))
        .await?;
    site.condition(USERS, "late", "Ready").await?;
    for (_, address) in listeners(site, USERS, "late", 0).await? {
        client.answered_by(&address, 4, 8).await?;
    }
    client.answered_by(&front("late", port), 4, 8).await?;
    site.kubectl(&["delete", "-n", USERS, "tcpf/late"]).await?;
    Ok(())
}

/// A node loses its power: the other one's data plane loses no connect, the Service has recovered
/// within 20 s, and the node is used again when it is back.
pub(super) async fn node(
    site: &Site<'_>,
    [client, other]: &[Client<'_>; 2],
    nodes: &mut Nodes,
) -> Result<()> {
    let [stays, goes] = &site.nodes;
    let all = listeners(site, USERS, "web", 0).await?;
    let near = all.iter().find(|(plane, _)| plane.node == *stays);
    let (_, near) = near.context("a data plane on each node")?;
    client.start_load("near", near).await?;
    let start = Instant::now();
    nodes.kill(goes)?;
    let recovered = eventually("flawless answers of the Service", SOON, async || {
        client.fetch(&front("web", WEB), 20).await?.flawless(20)
    })
    .await;
    let took = start.elapsed();
    let report = client.end("near").await?;
    recovered?;
    // What a backend of the dead node was answering is lost, and no connect.
    lost_at_most(&report, WORKERS, "answer")?;
    println!("e2e: the Service recovered {took:?} after the node's death");
    ensure!(took < Duration::from_secs(20), "recovered after {took:?}");
    nodes.boot(site.lab, goes).await?;
    other.ready().await?;
    site.so_many(USERS, "app=web", 4).await?;
    for (_, address) in listeners(site, USERS, "web", 0).await? {
        client.answered_by(&address, 4, 8).await?;
    }
    // kube-proxy hears of the pods' new addresses a little later.
    eventually("flawless answers of the Service again", SOON, async || {
        client.fetch(&front("web", WEB), 100).await?.flawless(100)
    })
    .await
}

async fn started_again(site: &Site<'_>, labels: &str, pod: &str, before: &str) -> Result<()> {
    eventually(&format!("{pod} to be back"), SOON, async || {
        let pods = site.ready(USERS, labels).await?;
        let again = pods.iter().find(|running| running.name == pod);
        let container = &again.context("not ready")?.container;
        ensure!(container != before, "the same container");
        Ok(())
    })
    .await
}

fn lost_at_most(report: &Report, most: u64, when: &str) -> Result<()> {
    let lost: u64 = report.failures.values().sum();
    let other = report.failures.keys().find(|kind| !kind.starts_with(when));
    ensure!(lost <= most && other.is_none(), "{report}");
    Ok(())
}
