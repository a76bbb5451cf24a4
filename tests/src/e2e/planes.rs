//! Edge. Data planes are replaced while sessions are open.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::e2e::backends::Backends;
use crate::e2e::balance::WEB;
use crate::e2e::client::Client;
use crate::e2e::forwards::forward;
use crate::e2e::install::{DATA_PLANE, data_planes, front};
use crate::e2e::site::{SOON, SYSTEM, Site, USERS};
use crate::eventually::eventually;

/// Of the forward to the echoes.
pub(super) const ECHO: u16 = WEB + 3;

const SESSIONS: u32 = 200;

/// Sessions that end within the grace period lose nothing, and no new connect fails.
pub(super) async fn rollout(site: &Site<'_>, clients: &[Client<'_>; 2]) -> Result<()> {
    let [holds, connects] = clients;
    let echo = Backends {
        name: "echo",
        replicas: 2,
        does: "echo",
        service: None,
    };
    site.apply(USERS, &echo.manifests()).await?;
    site.apply(USERS, &forward("echo", ECHO, "echo", &json!({})))
        .await?;
    site.rolled_out(USERS, "echo").await?;
    site.condition(USERS, "echo", "Ready").await?;
    let before = data_planes(site).await?;
    holds
        .open_sessions("held", &front("echo", ECHO), SESSIONS)
        .await?;
    connects.start_load("planes", &front("web", WEB)).await?;

    let name = format!("deployment/{DATA_PLANE}");
    let restarted = site
        .kubectl(&["rollout", "restart", "-n", SYSTEM, &name])
        .await;
    let replaced = eventually("all data planes to be new", SOON, async || {
        let now = data_planes(site).await?;
        let old = now.iter().find(|plane| before.contains(plane));
        ensure!(now.len() == before.len() && old.is_none(), "{now:?}");
        Ok(())
    })
    .await;
    let held = holds.end("held").await?;
    let rolled_out = site.rolled_out(SYSTEM, DATA_PLANE).await;
    let load = connects.end("planes").await?;
    restarted?;
    replaced?;
    rolled_out?;
    held.flawless(SESSIONS.into())?;
    load.flawless(50)
}
