//! Edge. Who gets how much: shares, scaling, rollouts of backends, zones.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::e2e::backends::Backends;
use crate::e2e::client::Client;
use crate::e2e::forwards::forward;
use crate::e2e::install::{front, listeners};
use crate::e2e::site::{SOON, Site, USERS};
use crate::eventually::eventually;

/// The port of the forward that most steps use.
pub(super) const WEB: u16 = 18080;

const REPLICAS: u32 = 4;

/// Four pages on two nodes get the same, to the connection.
pub(super) async fn shares(site: &Site<'_>, client: &Client<'_>) -> Result<()> {
    let web = Backends {
        name: "web",
        replicas: REPLICAS,
        does: "page",
        service: None,
    };
    site.apply(USERS, &web.manifests()).await?;
    site.apply(USERS, &forward("web", WEB, "web", &brief_ejection()))
        .await?;
    site.rolled_out(USERS, "web").await?;
    site.condition(USERS, "web", "Ready").await?;
    let pods = site.ready(USERS, "app=web").await?;
    let first = pods.first().context("a page")?;
    ensure!(pods.iter().any(|pod| pod.node != first.node), "{pods:?}");
    for (_, address) in listeners(site, USERS, "web", 0).await? {
        client.answered_by(&address, 4, 4).await?;
        let report = client.fetch(&address, 40).await?;
        report.flawless(40)?;
        let shares: Vec<_> = report.answers.values().collect();
        ensure!(
            shares == [&10, &10, &10, &10],
            "{report}: {:?}",
            report.answers
        );
    }
    Ok(())
}

/// A page that is back is tried again soon; by default it takes half a minute.
fn brief_ejection() -> Value {
    json!({"healthCheck": {"passive": {"baseEjectionTime": "2s"}}})
}

/// More pages, then fewer, under load: each new one gets its part, and nobody notices.
pub(super) async fn scale(site: &Site<'_>, client: &Client<'_>) -> Result<()> {
    client.start_load("scale", &front("web", WEB)).await?;
    let mut counts = Ok(());
    for replicas in [6, 2, REPLICAS] {
        counts = scaled(site, client, replicas).await;
        if counts.is_err() {
            break;
        }
    }
    let report = client.end("scale").await?;
    counts?;
    report.flawless(50)
}

async fn scaled(site: &Site<'_>, client: &Client<'_>, replicas: u32) -> Result<()> {
    let so_many = format!("--replicas={replicas}");
    site.kubectl(&["scale", "-n", USERS, "deployment/web", &so_many])
        .await?;
    site.rolled_out(USERS, "web").await?;
    let n = usize::try_from(replicas)?;
    site.so_many(USERS, "app=web", n).await?;
    for (_, address) in listeners(site, USERS, "web", 0).await? {
        client.answered_by(&address, n, replicas * 2).await?;
    }
    Ok(())
}

/// All pages are replaced under load, and nobody notices.
pub(super) async fn rollout(site: &Site<'_>, client: &Client<'_>) -> Result<()> {
    client.start_load("rollout", &front("web", WEB)).await?;
    let restart = ["rollout", "restart", "-n", USERS, "deployment/web"];
    let restarted = site.kubectl(&restart).await;
    let rolled_out = site.rolled_out(USERS, "web").await;
    let new = new_ones_only(site, client).await;
    let report = client.end("rollout").await?;
    restarted?;
    rolled_out?;
    new?;
    report.flawless(50)?;
    let replaced = report.answers.len();
    ensure!(replaced >= 8, "only {replaced} pages answered: {report}");
    Ok(())
}

async fn new_ones_only(site: &Site<'_>, client: &Client<'_>) -> Result<()> {
    eventually("answers of all new pages", SOON, async || {
        let pods = site.ready(USERS, "app=web").await?;
        let report = client.fetch(&front("web", WEB), 24).await?;
        let answered = report.answers.keys().eq(pods.iter().map(|pod| &pod.name));
        ensure!(
            answered && pods.len() == 4,
            "{:?}: {pods:?}",
            report.answers
        );
        Ok(())
    })
    .await
}

/// With hints, each data plane prefers the pages of its own zone; without, it has all of them.
pub(super) async fn zones(site: &Site<'_>, client: &Client<'_>) -> Result<()> {
    let near = Backends {
        name: "near",
        replicas: REPLICAS,
        does: "page",
        service: Some(("trafficDistribution", "PreferClose")),
    };
    site.apply(USERS, &near.manifests()).await?;
    site.apply(USERS, &forward("near", WEB + 1, "near", &json!({})))
        .await?;
    site.rolled_out(USERS, "near").await?;
    site.condition(USERS, "near", "Ready").await?;
    let pods = site.ready(USERS, "app=near").await?;
    for (plane, address) in listeners(site, USERS, "near", 0).await? {
        let of_node = pods.iter().filter(|pod| pod.node == plane.node);
        let own: Vec<_> = of_node.map(|pod| pod.name.clone()).collect();
        ensure!(!own.is_empty() && own.len() < pods.len(), "{pods:?}");
        eventually("the own zone alone", SOON, async || {
            let report = client.fetch(&address, 20).await?;
            report.flawless(20)?;
            let names: Vec<_> = report.answers.into_keys().collect();
            ensure!(names == own, "{names:?}, not {own:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}
