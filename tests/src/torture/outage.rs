//! Edge. The API server is gone, and then the operators are, too: what data planes do without them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;

use crate::client;
use crate::echo::{Behaviour, Server};
use crate::eventually::pass;
use crate::stage::{self, DataPlane, Operator, Stage};
use crate::torture::figure::{EVERYTHING, Figure};
use crate::torture::flow::ping;
use crate::torture::{Place, Side};
use crate::traffic::{Traffic, answers, name_of};

/// Longer than any pause between two tries to reach the API server, so that the longest is met.
const SHORT: Duration = Duration::from_secs(30);

/// Enough to see that nothing rests on an operator.
const OPERATORLESS: Duration = Duration::from_secs(5);

const AGE: &str = "tcpforward_dataplane_snapshot_age_seconds";

/// R17. The control plane is gone.
///
/// # Errors
/// The cluster doesn't start, or a program.
pub async fn control_plane(place: &Place<'_>) -> Result<Vec<Figure>> {
    if place.side == Side::HaProxy {
        return Ok(vec![Figure::cannot(EVERYTHING, "it has no control plane")]);
    }
    let minute = Duration::from_secs(60);
    let without_api = place.scaled(SHORT, minute, |lengths| minute * lengths.minutes.min(10));
    let without_operators = place.scaled(OPERATORLESS, minute, |l| minute * l.minutes.min(10));
    let mut scene = Scene::start(place).await?;
    let mut open = client::dial(scene.at(0, 9000)?).await?;
    ping(&mut open).await?;
    let traffic = Traffic::start(scene.at(0, 8888)?);
    traffic.more(20).await?;

    scene.stage.cluster.api_server.kill()?;
    pass(without_api / 2).await;
    let young = age(&scene.dataplanes).await?;
    scene.restart_data_plane().await?;
    let serves = name_of(scene.at(1, 8888)?).await? == "one";
    pass(without_api / 2).await;
    let old = age(&scene.dataplanes).await?;

    for operator in &mut scene.operators {
        operator.process.kill()?;
    }
    pass(without_operators).await;
    traffic.more(20).await?;
    // They start while there is no API server to read from.
    for operator in &mut scene.operators {
        operator.process.restart()?;
    }
    traffic.more(20).await?;

    scene.stage.cluster.api_server.restart()?;
    scene.stage.cluster.ready().await?;
    let back = Instant::now();
    let two = stage::service("web", &[scene.servers.1.address()]);
    scene.stage.apply(&two).await?;
    traffic.turns_to("two").await?;
    let resync = back.elapsed();
    answers(scene.at(1, 8888)?, "two").await?;
    // A status is written again, by whoever holds the Lease now.
    let more = stage::forward("more", 8889, "web");
    scene.stage.apply(&more).await?;
    let programmed = scene
        .stage
        .condition("more", "Programmed", "True", "Programmed");
    programmed.await?;
    let session = ping(&mut open).await;
    let seen = traffic.end().await;
    let turns = seen
        .as_ref()
        .map(|seen| seen.turns.len())
        .unwrap_or_default();
    let resync = Figure::new("a change after it is back", resync.as_secs_f64(), "s");
    Ok(vec![
        Figure::yes("every request is served", seen.is_ok()),
        Figure::yes("an open session goes on", session.is_ok()),
        Figure::yes("a data plane started meanwhile serves", serves),
        Figure::yes("the age of what is served rises", old > young),
        Figure::yes("nobody goes back to an older state", turns == 2),
        place.timing(resync.at_most(10.0)),
    ])
}

/// Two operators, two data planes, a Service that moves, and one that does not.
struct Scene<'a> {
    stage: Stage<'a>,
    operators: Vec<Operator>,
    dataplanes: Vec<DataPlane>,
    servers: (Server, Server, Server),
}

impl<'a> Scene<'a> {
    async fn start(place: &Place<'a>) -> Result<Self> {
        let stage = Stage::new(place.lab).await?;
        let named = |ip: u8, name: &str| {
            let name = Behaviour::Http(name.to_owned());
            async move { Server::start(&format!("10.77.0.{ip}:8080"), name).await }
        };
        let (one, two) = (named(11, "one").await?, named(12, "two").await?);
        let echo = Server::start("10.77.0.13:8080", Behaviour::Echo).await?;
        let operators = vec![stage.operator(1).await?, stage.operator(2).await?];
        let at: Vec<_> = operators.iter().map(|operator| operator.push).collect();
        let dataplanes = vec![
            stage.dataplane(1, &at).await?,
            stage.dataplane(2, &at).await?,
        ];
        let manifests = [
            stage::service("web", &[one.address()]),
            stage::forward("web", 8888, "web"),
            stage::service("echo", &[echo.address()]),
            stage::forward("echo", 9000, "echo"),
        ];
        stage.apply(&manifests.concat()).await?;
        for name in ["web", "echo"] {
            let programmed = stage.condition(name, "Programmed", "True", "Programmed");
            programmed.await?;
        }
        Ok(Self {
            stage,
            operators,
            dataplanes,
            servers: (one, two, echo),
        })
    }

    fn at(&self, dataplane: usize, port: u16) -> Result<SocketAddr> {
        let dataplane = self.dataplanes.get(dataplane).context("no data plane")?;
        Ok(SocketAddr::new(dataplane.ip, port))
    }

    /// The second one, which has nothing to go by but its last good snapshot.
    async fn restart_data_plane(&mut self) -> Result<()> {
        let dataplane = self.dataplanes.last_mut().context("no data plane")?;
        dataplane.process.kill()?;
        dataplane.process.restart()?;
        stage::ready(dataplane.health).await
    }
}

/// How old what the first data plane serves is.
async fn age(dataplanes: &[DataPlane]) -> Result<f64> {
    let first = dataplanes.first().context("no data plane")?;
    client::metric(first.health, AGE, &[]).await
}
