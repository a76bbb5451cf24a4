//! Operators and data planes as processes around a real API server: what is applied is served, and
//! whoever dies, traffic goes on.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tcpforward_tests::client;
use tcpforward_tests::echo::{Behaviour, Server};
use tcpforward_tests::eventually::eventually;
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::stage::{self, DataPlane, SOON, Stage};
use tcpforward_tests::traffic::{Traffic, answers, name_of};

async fn server(ip: u8, name: &str) -> Result<Server> {
    // One port for all: an EndpointSlice has one for all its endpoints.
    Server::start(
        &format!("10.77.0.{ip}:8080"),
        Behaviour::Http(name.to_owned()),
    )
    .await
}

fn at(dataplane: &DataPlane, port: u16) -> SocketAddr {
    SocketAddr::new(dataplane.ip, port)
}

/// What kubectl shows of a forward that is served.
async fn columns_and_explanation(stage: &Stage<'_>) -> Result<()> {
    let table = stage.kubectl(&["get", "tcpf"]).await?;
    let head: Vec<_> = table
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    ensure!(
        head == [
            "NAME", "PORT", "ADDRESS", "BACKENDS", "READY", "REASON", "AGE"
        ],
        "{table}"
    );
    ensure!(table.contains("8888") && table.contains("True"), "{table}");
    let wide = stage.kubectl(&["get", "tcpf", "-o", "wide"]).await?;
    ensure!(wide.contains("MESSAGE") && wide.contains("1/1"), "{wide}");
    let explained = stage.kubectl(&["explain", "tcpforward.spec.relay"]).await?;
    ensure!(explained.contains("targets"), "{explained}");
    Ok(())
}

#[test]
fn a_forward_is_applied_served_scaled_and_deleted() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let (one, two) = (server(11, "one").await?, server(12, "two").await?);
        let operator = stage.operator(1).await?;
        let dataplane = stage.dataplane(1, &[operator.push]).await?;

        stage
            .apply(&stage::service("web", &[one.address()]))
            .await?;
        stage.apply(&stage::forward("web", 8888, "web")).await?;
        stage
            .kubectl(&[
                "wait",
                "--for=condition=Programmed",
                "--timeout=60s",
                "tcpf/web",
            ])
            .await?;
        stage.condition("web", "Ready", "True", "Ready").await?;
        answers(at(&dataplane, 8888), "one").await?;

        stage
            .apply(&stage::service("web", &[one.address(), two.address()]))
            .await?;
        answers(at(&dataplane, 8888), "two").await?;
        answers(at(&dataplane, 8888), "one").await?;
        stage
            .apply(&stage::service("web", &[two.address()]))
            .await?;
        eventually("one to be left out", SOON, async || {
            for _ in 0..4 {
                let name = name_of(at(&dataplane, 8888)).await?;
                ensure!(name == "two", "{name}");
            }
            Ok(())
        })
        .await?;

        columns_and_explanation(&stage).await?;

        stage.kubectl(&["delete", "tcpf", "web"]).await?;
        eventually("the port to be closed", SOON, async || {
            ensure!(
                client::dial(at(&dataplane, 8888)).await.is_err(),
                "still open"
            );
            Ok(())
        })
        .await
    })
}

#[test]
fn an_operator_that_is_killed_costs_no_request() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let (one, two) = (server(11, "one").await?, server(12, "two").await?);
        let mut operator = stage.operator(1).await?;
        let mut dataplane = stage.dataplane(1, &[operator.push]).await?;
        let web = stage::service("web", &[one.address()]) + &stage::forward("web", 8888, "web");
        stage.apply(&web).await?;
        stage
            .condition("web", "Programmed", "True", "Programmed")
            .await?;
        let listener = at(&dataplane, 8888);
        answers(listener, "one").await?;

        let traffic = Traffic::start(listener);
        traffic.more(50).await?;
        operator.process.signal(Signal::KILL)?;
        operator.process.end(SOON).await?;
        traffic.more(200).await?;
        let seen = traffic
            .end()
            .await
            .context("a request failed without the operator")?;
        ensure!(seen.served >= 250);

        dataplane.process.signal(Signal::KILL)?;
        dataplane.process.end(SOON).await?;
        drop(dataplane);
        let dataplane = stage.dataplane(1, &[operator.push]).await?;
        answers(at(&dataplane, 8888), "one")
            .await
            .context("from the last good snapshot")?;

        let _again = stage.operator(1).await?;
        stage
            .apply(&stage::service("web", &[two.address()]))
            .await?;
        answers(at(&dataplane, 8888), "two")
            .await
            .context("changes arrive again")
    })
}

#[test]
fn the_death_of_the_lease_holder_is_survived() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let one = server(11, "one").await?;
        let mut first = stage.operator(1).await?;
        let holder = async || {
            let path = [
                "get",
                "lease",
                "tcpforward-operator",
                "-o",
                "jsonpath={.spec.holderIdentity}",
            ];
            stage.kubectl(&path).await
        };
        eventually("operator-1 to hold the Lease", SOON, async || {
            let name = holder().await?;
            ensure!(name == "operator-1", "{name}");
            Ok(())
        })
        .await?;
        let second = stage.operator(2).await?;
        let dataplane = stage.dataplane(1, &[first.push, second.push]).await?;
        let web = stage::service("web", &[one.address()]) + &stage::forward("web", 8888, "web");
        stage.apply(&web).await?;
        stage
            .condition("web", "Programmed", "True", "Programmed")
            .await?;
        answers(at(&dataplane, 8888), "one").await?;

        let traffic = Traffic::start(at(&dataplane, 8888));
        first.process.signal(Signal::KILL)?;
        first.process.end(SOON).await?;
        stage.apply(&stage::forward("more", 8889, "web")).await?;
        stage
            .condition("more", "Programmed", "True", "Programmed")
            .await?;
        ensure!(holder().await? == "operator-2");
        stage
            .condition("web", "Programmed", "True", "Programmed")
            .await?;
        answers(at(&dataplane, 8889), "one").await?;
        traffic.end().await.context("a request failed")?;
        Ok(())
    })
}

#[test]
fn a_data_plane_that_can_not_bind_is_named() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let one = server(11, "one").await?;
        let operator = stage.operator(1).await?;
        let good = stage.dataplane(1, &[operator.push]).await?;
        let bad = stage.dataplane(2, &[operator.push]).await?;
        let holder = tokio::net::TcpListener::bind(at(&bad, 8888)).await?;
        let web = stage::service("web", &[one.address()]) + &stage::forward("web", 8888, "web");
        stage.apply(&web).await?;
        let message = stage
            .condition("web", "Programmed", "False", "Rejected")
            .await?;
        ensure!(
            message.contains("8888") && message.contains("dataplane-2"),
            "{message}"
        );
        answers(at(&good, 8888), "one").await?;
        let forward = stage.forward("web").await?;
        ensure!(
            forward["status"]["dataPlanes"]["summary"] == "1/2",
            "{forward:#}"
        );
        drop(holder);
        stage
            .condition("web", "Programmed", "True", "Programmed")
            .await?;
        answers(at(&bad, 8888), "one").await
    })
}
