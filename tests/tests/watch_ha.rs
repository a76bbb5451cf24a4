//! Two operators, of which one writes: whatever becomes of it, of the API server and of what it
//! stores, traffic goes on, and no data plane goes back to an older state.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tcpforward_tests::client::{self, metric};
use tcpforward_tests::detour::{Detour, Way};
use tcpforward_tests::echo::{Behaviour, Server};
use tcpforward_tests::eventually::{always, eventually};
use tcpforward_tests::lab::{self, Lab, Network};
use tcpforward_tests::measure::connections;
use tcpforward_tests::stage::{self, DataPlane, Operator, SOON, Stage, ready};
use tcpforward_tests::torture::{self, Scale, Side, measure, nft, way};
use tcpforward_tests::traffic::{Traffic, answers};
use tokio::time::Instant;

const PLAIN: &[&str] = &["--insecure-transport"];

/// Until a lost connection is missed, and one more is made.
const MISSED: Duration = Duration::from_secs(35);

/// No connection that was lost is missed sooner: its peer is given that long to answer at least.
const HELD: Duration = Duration::from_secs(10);

const LEADER: &str = "tcpforward_operator_leader";
const EPOCH: &str = "tcpforward_operator_epoch";
const PATCHES: &str = "tcpforward_operator_status_patches_total";

async fn server(ip: u8, name: &str) -> Result<Server> {
    let name = Behaviour::Http(name.to_owned());
    Server::start(&format!("10.77.0.{ip}:8080"), name).await
}

fn at(dataplane: &DataPlane, port: u16) -> SocketAddr {
    SocketAddr::new(dataplane.ip, port)
}

/// Waits until a program's metric is that.
async fn shows(health: SocketAddr, name: &str, value: f64) -> Result<()> {
    eventually(&format!("{name} to be {value}"), SOON, async || {
        let now = metric(health, name, &[]).await?;
        ensure!((now - value).abs() < 0.5, "{now}");
        Ok(())
    })
    .await
}

async fn leads(operator: &Operator) -> Result<()> {
    shows(operator.health, LEADER, 1.0).await
}

async fn programmed(stage: &Stage<'_>, name: &str) -> Result<()> {
    let condition = stage.condition(name, "Programmed", "True", "Programmed");
    condition.await.map(drop)
}

#[test]
fn without_a_control_plane_everything_goes_on() -> Result<()> {
    let figures = measure(
        torture::row("R17")?,
        Side::Ours,
        way::Way::Any,
        Scale::Short,
    )?;
    for figure in figures {
        let (name, shown, wanted) = (figure.name, figure.shown(), figure.wanted());
        println!("{name}: {shown}");
        ensure!(figure.meets(), "{name}: {shown}, must be {wanted}");
    }
    Ok(())
}

#[test]
fn a_holder_that_was_held_writes_nothing_and_leads_nobody_back() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let (one, two, three) = (
            server(11, "one").await?,
            server(12, "two").await?,
            server(13, "three").await?,
        );
        let mut first = stage.operator(1).await?;
        leads(&first).await?;
        let mut second = stage.operator(2).await?;
        let dataplane = stage.dataplane(1, &[first.push, second.push]).await?;
        let web = stage::service("web", &[one.address()]) + &stage::forward("web", 8888, "web");
        stage.apply(&web).await?;
        programmed(&stage, "web").await?;
        let traffic = Traffic::start(at(&dataplane, 8888));
        traffic.turns_to("one").await?;

        first.process.signal(Signal::STOP)?;
        leads(&second).await?;
        let two = stage::service("web", &[two.address()]) + &stage::forward("more", 8889, "web");
        stage.apply(&two).await?;
        programmed(&stage, "more").await?;
        traffic.turns_to("two").await?;
        let epoch = metric(second.health, EPOCH, &[]).await?;
        let written = ["result=\"written\""];
        first.process.signal(Signal::CONT)?;
        let before = metric(first.health, PATCHES, &written).await?;
        shows(first.health, EPOCH, epoch).await?;
        let quiet = Duration::from_secs(5);
        always("the former holder to write nothing", quiet, async || {
            let (leads, now) = (
                metric(first.health, LEADER, &[]).await?,
                metric(first.health, PATCHES, &written).await?,
            );
            ensure!(leads < 0.5 && (now - before).abs() < 0.5, "{leads} {now}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        traffic.more(1000).await?;

        // Held again while the world moves on, it then is the only one.
        first.process.signal(Signal::STOP)?;
        stage
            .apply(&stage::service("web", &[three.address()]))
            .await?;
        traffic.turns_to("three").await?;
        second.process.kill()?;
        first.process.signal(Signal::CONT)?;
        leads(&first).await?;
        traffic.more(1000).await?;
        let last = stage::service("web", &[one.address()]) + &stage::forward("last", 8890, "web");
        stage.apply(&last).await?;
        programmed(&stage, "last").await?;
        traffic.turns_to("one").await?;
        let seen = traffic.end().await.context("a request failed")?;
        ensure!(seen.turns == ["one", "two", "three", "one"], "{seen:?}");
        Ok(())
    })
}

/// As when the node of an API server dies, or a load balancer forgets what it knew: new connections work.
#[test]
fn connections_that_are_lost_in_silence_are_missed() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let operator = stage.operator(1).await?;
        leads(&operator).await?;
        stage.apply(&stage::forward("web", 8888, "web")).await?;
        stage
            .condition("web", "Accepted", "True", "Accepted")
            .await?;
        let SocketAddr::V4(api) = stage.cluster.api() else {
            bail!("not IPv4");
        };
        let lost = connections(operator.process.pid(), api)?;
        ensure!(lost.len() > 5, "only {lost:?}");
        nft::lose(&lost)?;
        let start = Instant::now();
        stage.apply(&stage::forward("more", 8889, "web")).await?;
        stage
            .condition("more", "Accepted", "True", "Accepted")
            .await?;
        let took = start.elapsed();
        println!("noticed within {took:?}");
        // Sooner, and the connections were not lost.
        ensure!(took > HELD, "noticed after {took:?} already");
        ensure!(took < MISSED, "noticed after {took:?}");
        Ok(())
    })
}

#[test]
fn what_etcd_has_forgotten_is_read_anew() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let mut stage = Stage::new(lab).await?;
        let (one, two) = (server(11, "one").await?, server(12, "two").await?);
        let detour = Detour::start(lab, "detour", stage.cluster.kubeconfig()).await?;
        let operator = stage.operator_through(1, detour.kubeconfig(), PLAIN)?;
        ready(operator.health).await?;
        let dataplane = stage.dataplane(1, &[operator.push]).await?;
        let web = stage::service("web", &[one.address()]) + &stage::forward("web", 8888, "web");
        stage
            .apply(&(web + &stage::forward("gone", 8889, "web")))
            .await?;
        programmed(&stage, "gone").await?;
        let traffic = Traffic::start(at(&dataplane, 8888));
        traffic.turns_to("one").await?;

        detour.becomes(Way::Shut);
        stage
            .apply(&stage::service("web", &[two.address()]))
            .await?;
        stage.kubectl(&["delete", "tcpf", "gone"]).await?;
        stage.cluster.compact().await?;
        // One that starts anew remembers no more than its storage does.
        stage.cluster.api_server.kill()?;
        stage.cluster.api_server.restart()?;
        stage.cluster.ready().await?;
        let start = Instant::now();
        detour.becomes(Way::Open);
        traffic.turns_to("two").await?;
        println!("recovered in {:?}", start.elapsed());
        eventually("the port to be closed", SOON, async || {
            let dialled = client::dial(at(&dataplane, 8889)).await;
            ensure!(dialled.is_err(), "still open");
            Ok(())
        })
        .await?;
        let log = operator.process.log()?;
        ensure!(log.contains("too old resource version"), "nothing was gone");
        let seen = traffic.end().await.context("a request failed")?;
        ensure!(seen.turns == ["one", "two"], "{seen:?}");
        Ok(())
    })
}

#[test]
fn a_slow_api_server_keeps_its_holder_and_a_slower_one_stops_writes_alone() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let (one, two) = (server(11, "one").await?, server(12, "two").await?);
        let detour = Detour::start(lab, "detour", stage.cluster.kubeconfig()).await?;
        let operator = stage.operator_through(1, detour.kubeconfig(), PLAIN)?;
        ready(operator.health).await?;
        leads(&operator).await?;
        let dataplane = stage.dataplane(1, &[operator.push]).await?;
        let web = stage::service("web", &[one.address()]) + &stage::forward("web", 8888, "web");
        stage.apply(&web).await?;
        programmed(&stage, "web").await?;
        let traffic = Traffic::start(at(&dataplane, 8888));
        traffic.turns_to("one").await?;

        detour.becomes(Way::Slow(Duration::from_millis(800)));
        let two = stage::service("web", &[two.address()]) + &stage::forward("more", 8889, "web");
        stage.apply(&two).await?;
        programmed(&stage, "more").await?;
        traffic.turns_to("two").await?;
        let quiet = Duration::from_secs(12);
        always("the holder to hold", quiet, async || {
            let leads = metric(operator.health, LEADER, &[]).await?;
            ensure!(leads > 0.5, "it does not lead");
            Ok::<_, anyhow::Error>(())
        })
        .await?;

        detour.becomes(Way::Slow(Duration::from_secs(4)));
        shows(operator.health, LEADER, 0.0).await?;
        ready(operator.health).await?;
        stage
            .apply(&stage::service("web", &[one.address()]))
            .await?;
        traffic.turns_to("one").await?;
        detour.becomes(Way::Open);
        leads(&operator).await?;
        stage.apply(&stage::forward("last", 8890, "web")).await?;
        programmed(&stage, "last").await?;
        let seen = traffic.end().await.context("a request failed")?;
        ensure!(seen.turns == ["one", "two", "one"], "{seen:?}");
        Ok(())
    })
}

/// What a forward's status says, but for times and texts.
async fn said(stage: &Stage<'_>, name: &str) -> Result<BTreeSet<String>> {
    let forward = stage.forward(name).await?;
    let conditions = forward.pointer("/status/conditions");
    let conditions = conditions.and_then(Value::as_array).context("no status")?;
    let word = |condition: &Value, field: &str| {
        let word = condition.get(field).map(ToString::to_string);
        word.unwrap_or_default()
    };
    let all = ["type", "status", "reason", "observedGeneration"];
    let line = |c: &Value| all.map(|field| word(c, field)).join(" ");
    Ok(conditions.iter().map(line).collect())
}

/// Two forwards whose statuses have to be written, from scratch.
async fn begin(stage: &Stage<'_>, server: &Server) -> Result<()> {
    let delete = ["delete", "tcpf", "--all", "--wait=true"];
    stage.kubectl(&delete).await?;
    let web = stage::service("web", &[server.address()]) + &stage::forward("web", 8888, "web");
    stage
        .apply(&(web + &stage::forward("none", 8889, "nothing")))
        .await
}

async fn end(stage: &Stage<'_>, dataplane: &DataPlane) -> Result<[BTreeSet<String>; 2]> {
    programmed(stage, "web").await?;
    stage.condition("web", "Ready", "True", "Ready").await?;
    let refs = stage.condition("none", "ResolvedRefs", "False", "BackendNotFound");
    refs.await?;
    stage
        .condition("none", "Programmed", "True", "Programmed")
        .await?;
    answers(at(dataplane, 8888), "one").await?;
    let leases = ["get", "lease", "-A", "-o", "name"];
    let leases = stage.kubectl(&leases).await?;
    let ours = leases.lines().filter(|name| name.contains("tcpforward"));
    ensure!(ours.count() == 1, "{leases}");
    Ok([said(stage, "web").await?, said(stage, "none").await?])
}

#[test]
fn an_operator_killed_at_any_word_leaves_the_same_end() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let one = server(11, "one").await?;
        let detour = Detour::start(lab, "detour", stage.cluster.kubeconfig()).await?;
        let mut operator = stage.operator_through(1, detour.kubeconfig(), PLAIN)?;
        ready(operator.health).await?;
        let dataplane = stage.dataplane(1, &[operator.push]).await?;
        begin(&stage, &one).await?;
        let faultless = end(&stage, &dataplane).await?;
        // TLS, lists, watches, the Lease, statuses, Events: about a hundred, of which every 24th
        // is the last, in turn heard by the API server or not.
        for (n, piece) in (1..100).step_by(24).enumerate() {
            operator.process.kill()?;
            begin(&stage, &one).await?;
            let arrives = n % 2 == 0;
            detour.becomes(Way::Ends { piece, arrives });
            operator.process.restart()?;
            // Renewals of the Lease go on for ever, so every number comes.
            detour.carried(piece, SOON).await?;
            operator.process.kill()?;
            detour.becomes(Way::Open);
            operator.process.restart()?;
            let ended = end(&stage, &dataplane).await;
            let ended = ended.with_context(|| format!("{piece} {arrives}"))?;
            ensure!(ended == faultless, "{piece} {arrives}: {ended:#?}");
        }
        Ok(())
    })
}

/// Backends of a forward, as a data plane has them.
async fn backends(dataplane: &DataPlane) -> Result<BTreeSet<String>> {
    let page = client::get(dataplane.admin, "/debug/forwards").await?.body;
    let page: Value = serde_json::from_str(&page)?;
    let forwards = page.get("forwards").and_then(Value::as_array);
    let web = forwards.into_iter().flatten();
    let mut web = web.filter(|f| f.get("name").and_then(Value::as_str) == Some("default/web"));
    let web = web.next().context("no forward web")?;
    let all = web.get("backends").and_then(Value::as_array);
    let address = |b: &Value| Some(b.get("address")?.as_str()?.to_owned());
    Ok(all.into_iter().flatten().filter_map(address).collect())
}

#[test]
fn what_changed_while_nobody_looked_is_pushed_whole() -> Result<()> {
    lab::run(Network::Namespace, async |lab| histories(lab, 8).await)
}

/// Random changes while the operator is dead; what is pushed then is what the API has.
async fn histories(lab: &Lab, n: usize) -> Result<()> {
    let stage = Stage::new(lab).await?;
    let mut operator = stage.operator(1).await?;
    let mut old = stage.dataplane(1, &[operator.push]).await?;
    stage.apply(&stage::forward("web", 8888, "web")).await?;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut known = BTreeMap::new();
    for history in 0..n {
        operator.process.kill()?;
        for _ in 0..random.usize(1..4) {
            // Replaced, the same addresses again, or none at all.
            let addresses: BTreeSet<u8> =
                (0..random.usize(0..4)).map(|_| random.u8(11..15)).collect();
            let addresses = addresses
                .iter()
                .map(|ip| SocketAddr::from(([10, 77, 0, *ip], 8080)));
            let addresses: Vec<_> = addresses.collect();
            stage.apply(&stage::service("web", &addresses)).await?;
            known.insert(history, addresses);
        }
        old.process.kill()?;
        operator.process.restart()?;
        old.process.restart()?;
        ready(operator.health).await?;
        let start = Instant::now();
        let wanted: BTreeSet<_> = known
            .get(&history)
            .context("a history")?
            .iter()
            .map(ToString::to_string)
            .collect();
        let n = 2 + u16::try_from(history)?;
        let new = stage.dataplane(n, &[operator.push]).await?;
        for dataplane in [&old, &new] {
            eventually("the set of the API", SOON, async || {
                let backends = backends(dataplane).await?;
                ensure!(backends == wanted, "{backends:?}, not {wanted:?}");
                Ok(())
            })
            .await
            .with_context(|| format!("history {history} of {seed}"))?;
        }
        println!(
            "history {history}: {:?} after the operator was ready",
            start.elapsed()
        );
    }
    Ok(())
}
