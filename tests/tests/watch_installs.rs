//! Two installs in one cluster: each has namespaces of its own, or the second one refuses to start.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tcpforward_tests::client;
use tcpforward_tests::eventually::{always, eventually};
use tcpforward_tests::fixtures::mk_pool;
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::stage::{Operator, SOON, Stage, ready};

const PLAIN: &str = "--insecure-transport";
const FIRST: &str = "--lease-name=first";
const SECOND: &str = "--lease-name=second";

/// What command lines that can't be used end with.
const USAGE: i32 = 64;

fn start(stage: &Stage<'_>, n: u16, options: &[&str]) -> Result<Operator> {
    let options = [&[PLAIN], options].concat();
    stage.operator_through(n, stage.cluster.kubeconfig(), &options)
}

/// Waits until an operator has refused to go on, and returns why.
async fn refusal(operator: &mut Operator) -> Result<String> {
    let status = operator.process.end(SOON).await?;
    ensure!(status.code() == Some(USAGE), "{status}");
    let log = operator.process.log()?;
    let last = log.lines().last().context("not a word")?;
    Ok(last.to_owned())
}

#[test]
fn a_second_operator_of_a_namespace_refuses_to_start_while_the_first_one_lives() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let mut first = start(&stage, 1, &[FIRST])?;
        ready(first.health).await?;
        let mut second = start(&stage, 2, &[SECOND, "--watch-namespaces=games,shop"])?;
        let why = refusal(&mut second).await?;
        for part in [
            "--watch-namespaces",
            "default/first",
            "namespaces games, shop",
        ] {
            ensure!(why.contains(part), "{part} is not in {why}");
        }
        ensure!(first.process.ended()?.is_none(), "the first has ended");

        first.process.signal(Signal::KILL)?;
        first.process.end(SOON).await?;
        second.process.restart()?;
        // Nobody renews the first Lease, which takes time to see.
        eventually("the second to go on", 2 * SOON, async || {
            let page = client::get(second.health, "/readyz").await?;
            ensure!(page.status == 200, "{}", page.body);
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        first.process.restart()?;
        let why = refusal(&mut first).await?;
        ensure!(why.contains("default/second"), "{why}");
        Ok(())
    })
}

#[test]
fn operators_with_namespaces_of_their_own_go_on_side_by_side() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let mut first = start(&stage, 1, &[FIRST, "--watch-namespaces=games"])?;
        let mut second = start(&stage, 2, &[SECOND, "--watch-namespaces=shop"])?;
        for operator in [&first, &second] {
            ready(operator.health).await?;
        }
        let quiet = Duration::from_secs(5);
        always("both to go on", quiet, async || {
            for operator in [&mut first, &mut second] {
                let ended = operator.process.ended()?;
                ensure!(ended.is_none(), "{ended:?}");
            }
            Ok::<_, anyhow::Error>(())
        })
        .await
    })
}

/// What the API server has of a DataPlane.
async fn pool(stage: &Stage<'_>, name: &str) -> Result<Value> {
    let found = stage.kubectl(&["get", "tcpdp", name, "-o", "json"]).await?;
    Ok(serde_json::from_str(&found)?)
}

/// Why a DataPlane is Ready or not.
fn reason(pool: &Value) -> Option<&str> {
    let conditions = pool.pointer("/status/conditions")?.as_array()?;
    let is_ready = |condition: &&Value| condition.get("type").is_some_and(|t| t == "Ready");
    conditions.iter().find(is_ready)?.get("reason")?.as_str()
}

fn version(pool: &Value) -> Option<&str> {
    pool.pointer("/metadata/resourceVersion")?.as_str()
}

#[test]
fn each_operator_says_how_its_own_pools_are_and_leaves_the_others() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        for name in ["first", "second"] {
            stage.kubectl(&["create", "namespace", name]).await?;
            let says = json!({"podNamespace": name});
            stage.apply(&mk_pool(name, says).to_string()).await?;
        }
        let home = ["--lease-namespace=first", "--watch-namespaces=games"];
        let first = start(&stage, 1, &home)?;
        let dataplane = ["--insecure-transport", "--pod=one", "--pool=first"];
        let operator = format!("--operator={}", first.push);
        let dataplane = dataplane.map(str::to_owned).into_iter().chain([operator]);
        let _dataplane = stage.dataplane_with(1, &dataplane.collect::<Vec<_>>())?;
        let says = async |name: &str, wanted: &str| {
            let what = format!("DataPlane {name} to say {wanted}");
            eventually(&what, SOON, async || {
                let pool = pool(&stage, name).await?;
                ensure!(reason(&pool) == Some(wanted), "{pool:#}");
                Ok::<_, anyhow::Error>(version(&pool).map(str::to_owned))
            })
            .await
        };
        let written = says("first", "Ready").await?;
        ensure!(reason(&pool(&stage, "second").await?).is_none());

        let home = ["--lease-namespace=second", "--watch-namespaces=shop"];
        let _second = start(&stage, 2, &home)?;
        let others = says("second", "NoDataPlane").await?;
        // A new holder waits for ten seconds before it has a word against what it finds.
        let quiet = Duration::from_secs(15);
        always("each to have one writer", quiet, async || {
            for (name, written) in [("first", &written), ("second", &others)] {
                let pool = pool(&stage, name).await?;
                ensure!(version(&pool) == written.as_deref(), "{pool:#}");
            }
            let nobodys = pool(&stage, "default").await?;
            ensure!(reason(&nobodys).is_none(), "{nobodys:#}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    })
}

#[test]
fn of_two_that_start_at_once_one_goes_on() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let watched = [
            ["--watch-namespaces=games,shop", "--watch-namespaces=shop"],
            ["--watch-namespaces=shop", "--watch-namespaces=shop"],
        ];
        for [one, other] in watched {
            let mut both = [
                start(&stage, 1, &[FIRST, one])?,
                start(&stage, 2, &[SECOND, other])?,
            ];
            let refused = eventually("one to refuse", SOON, async || {
                let mut ended = Vec::new();
                for (i, operator) in both.iter_mut().enumerate() {
                    ended.extend(operator.process.ended()?.map(|_| i));
                }
                ensure!(ended.len() < 2, "both refuse");
                ended.pop().context("none has ended")
            })
            .await?;
            let [first, second] = &mut both;
            let (loser, winner) = match refused {
                0 => (first, second),
                _ => (second, first),
            };
            let why = refusal(loser).await?;
            ensure!(why.contains("namespace shop"), "{why}");
            ready(winner.health).await?;
            let ended = winner.process.ended()?;
            ensure!(ended.is_none(), "both refuse: {ended:?}");
            drop(both);
            // As an uninstall does.
            stage.kubectl(&["delete", "lease", "--all"]).await?;
        }
        Ok(())
    })
}
