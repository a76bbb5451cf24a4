//! Edge. An upgrade by the page's commands, and certificates that are made anew.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::json;

use crate::e2e::balance::WEB;
use crate::e2e::client::Client;
use crate::e2e::forwards::forward;
use crate::e2e::install::{OPERATOR, commands, front};
use crate::e2e::site::{SYSTEM, Site, USERS};
use crate::eventually::eventually;

/// Until a pod sees what has become of a ConfigMap that it has mounted, and some more.
const MOUNTED: Duration = Duration::from_secs(180);

/// A certificate of 30 s is renewed after 20.
const RENEWED: Duration = Duration::from_secs(60);

/// By the page's commands, and then with certificates that end soon; no client notices either.
pub(super) async fn by_page(site: &Site<'_>, client: &Client<'_>) -> Result<()> {
    client.start_load("upgrade", &front("web", WEB)).await?;
    let upgraded = upgraded(site).await;
    let report = client.end("upgrade").await?;
    upgraded?;
    report.flawless(50)
}

async fn upgraded(site: &Site<'_>) -> Result<()> {
    commands(site, "docs/tasks/install.md", "helm upgrade ").await?;
    let brief = "operator.tls.certificateLifetime=30s";
    let upgrade = ["upgrade", "tcpforward", "charts/tcpforward"];
    let with = ["--namespace", SYSTEM, "--reuse-values", "--set", brief];
    site.helm(&[&upgrade[..], &with].concat()).await?;
    site.rolled_out(SYSTEM, OPERATOR).await
}

/// The Secret is deleted: a new authority is made, and data planes serve what they have until they have
/// read its certificate; then they hear of changes again. The certificate is renewed meanwhile. No client
/// notices.
pub(super) async fn certificates(site: &Site<'_>, client: &Client<'_>) -> Result<()> {
    client.start_load("anew", &front("web", WEB)).await?;
    let anew = made_anew(site).await;
    let report = client.end("anew").await?;
    anew?;
    report.flawless(50)
}

async fn made_anew(site: &Site<'_>) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(site.api.clone(), SYSTEM);
    let name = format!("{OPERATOR}-tls");
    let version = async || Ok::<_, anyhow::Error>(secrets.get(&name).await?.metadata);
    let old = version().await?;
    site.kubectl(&["delete", "secret", "-n", SYSTEM, &name])
        .await?;
    let made = eventually("a new Secret", RENEWED, async || {
        let new = version().await?;
        ensure!(new.uid != old.uid, "the old one");
        Ok::<_, anyhow::Error>(new)
    })
    .await?;
    eventually("a renewed certificate", RENEWED, async || {
        let now = version().await?;
        ensure!(now.uid == made.uid, "one more Secret");
        ensure!(now.resource_version != made.resource_version, "unchanged");
        Ok(())
    })
    .await?;
    site.apply(USERS, &forward("anew", WEB + 4, "web", &json!({})))
        .await?;
    let programmed = eventually("data planes to hear of a forward", MOUNTED, async || {
        site.condition(USERS, "anew", "Programmed").await
    });
    programmed.await.context("after a new authority")?;
    site.kubectl(&["delete", "-n", USERS, "tcpf/anew"])
        .await
        .map(drop)
}
