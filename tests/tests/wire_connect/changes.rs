//! Open tunnels whose right is taken away by an edit.

use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Result, ensure};
use tcpforward_tests::client;
use tcpforward_tests::echo::{Behaviour, Server};
use tcpforward_tests::tunnel::{ask, basic};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::{Proxy, SOON, USER, USERS, place, rule, with_users};

/// From the edit to the end of the tunnel.
const LIVE: Duration = Duration::from_secs(5);

/// Two tunnels are open; after `edit` of the manifests one is reset in time, and the log says why.
fn closed_by(edit: fn(&str) -> String) -> Result<()> {
    place(async |lab| {
        let server = Server::start("10.77.0.1:7000", Behaviour::Echo).await?;
        let to_the_server = "cidrs: [10.77.0.1/32], ports: [7000]";
        let rules = ["ops", "ci"].map(|name| {
            let subject = format!("subjects: [{{kind: User, name: {name}}}]");
            rule(
                &format!("of-{name}"),
                &format!("{subject}, {to_the_server}"),
            )
        });
        let users = format!("{USERS}\\n{}", USERS.replace("ci:", "ops:"));
        let manifest = with_users(&users, &rules.concat());
        let mut proxy = Proxy::start(lab, &manifest, |_: &str| None).await?;
        let target = server.address().to_string();
        let ops = basic(&USER.replace("ci:", "ops:"));
        let mut stays = ask(proxy.address, &target, &ops).await?.tunnel()?;
        let mut goes = ask(proxy.address, &target, &basic(USER)).await?.tunnel()?;
        client::echo(&mut stays).await?;
        client::echo(&mut goes).await?;

        proxy.forwarder.edit(&edit(&manifest))?;
        let end = timeout(LIVE, goes.read(&mut [0])).await?;
        let kind = end.map_err(|error| error.kind());
        ensure!(kind == Err(ErrorKind::ConnectionReset), "{kind:?}");
        let log = &mut proxy.forwarder.process;
        let line = log.says("right_lost", SOON).await?;
        ensure!(
            line.contains("subject=\"ci\"") || line.contains("subject=ci"),
            "{line}"
        );
        client::echo(&mut stays).await?;
        let n_open = proxy.metric("connect_tunnels_open").await?;
        ensure!((0.5..1.5).contains(&n_open), "{n_open} open");
        Ok(())
    })
}

#[test]
fn pitfall_28_a_rule_that_is_deleted_closes_its_tunnels() -> Result<()> {
    closed_by(|manifest| {
        let lines = manifest.lines().filter(|line| !line.contains("of-ci"));
        lines.map(|line| line.to_owned() + "\n").collect()
    })
}

#[test]
fn pitfall_28_a_user_who_is_removed_loses_the_tunnels() -> Result<()> {
    closed_by(|manifest| manifest.replacen(&format!("{USERS}\\n"), "", 1))
}
