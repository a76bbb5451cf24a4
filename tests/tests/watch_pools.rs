//! Pools on a real API server: who may use one, for what, and what its data planes may be led to.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tcpforward_tests::client;
use tcpforward_tests::echo::{Behaviour, Server};
use tcpforward_tests::eventually::eventually;
use tcpforward_tests::fixtures::{mk_address_target, mk_forward, mk_pool};
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::stage::{self, DataPlane, SOON, Stage};
use tokio::io::AsyncReadExt;

async fn server() -> Result<Server> {
    Server::start("10.77.0.11:8080", Behaviour::Http("one".to_owned())).await
}

fn at(dataplane: &DataPlane, port: u16) -> SocketAddr {
    SocketAddr::new(dataplane.ip, port)
}

async fn answers(address: SocketAddr) -> Result<()> {
    eventually(&format!("{address} to answer"), SOON, async || {
        let answer = client::get(address, "/").await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    })
    .await
}

async fn closed(address: SocketAddr) -> Result<()> {
    eventually(&format!("{address} to be closed"), SOON, async || {
        ensure!(client::dial(address).await.is_err(), "still open");
        Ok(())
    })
    .await
}

async fn pool(stage: &Stage<'_>, says: Value) -> Result<()> {
    stage.apply(&mk_pool("default", says).to_string()).await
}

/// Waits until a condition of the pool `default` has this reason, and gives its whole status.
async fn pool_says(stage: &Stage<'_>, kind: &str, reason: &str) -> Result<Value> {
    eventually(&format!("the pool to say {reason}"), SOON, async || {
        let found = ["get", "tcpdp", "default", "-o", "json"];
        let found: Value = serde_json::from_str(&stage.kubectl(&found).await?)?;
        let conditions = found
            .pointer("/status/conditions")
            .and_then(Value::as_array);
        let mut conditions = conditions.into_iter().flatten();
        let said = conditions.any(|c| is(c, "type", kind) && is(c, "reason", reason));
        ensure!(said, "{found:#}");
        found.get("status").cloned().context("a status")
    })
    .await
}

fn is(condition: &Value, field: &str, text: &str) -> bool {
    condition.get(field).and_then(Value::as_str) == Some(text)
}

fn to(name: &str, port: u16, address: SocketAddr) -> String {
    let target = mk_address_target("a", address);
    format!("{}\n---\n", mk_forward("default", name, port, &[target]))
}

#[test]
fn a_pool_serves_whom_it_allows_and_only_while_it_does() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let server = server().await?;
        stage.kubectl(&["delete", "dataplane", "default"]).await?;
        let operator = stage.operator(1).await?;
        let dataplane = stage.dataplane(1, &[operator.push]).await?;
        let web = stage::service("web", &[server.address()]);
        stage
            .apply(&(web + &stage::forward("web", 8888, "web")))
            .await?;
        let refused = ("Accepted", "False");
        let message = stage
            .condition("web", refused.0, refused.1, "UnknownDataPlane")
            .await?;
        ensure!(
            message.contains("there is no DataPlane default"),
            "{message}"
        );

        pool(&stage, json!({})).await?;
        stage.condition("web", "Ready", "True", "Ready").await?;
        answers(at(&dataplane, 8888)).await?;
        let status = pool_says(&stage, "Ready", "Ready").await?;
        ensure!(status["pods"]["summary"] == "1/1", "{status:#}");
        ensure!(status["versions"][0]["pods"] == 1, "{status:#}");
        let table = stage.kubectl(&["get", "tcpdp"]).await?;
        ensure!(
            table.contains("NAMESPACE") && table.contains("1/1"),
            "{table}"
        );

        let selector = json!({"matchLabels": {"team": "a"}});
        let allowed = json!({"from": "Selector", "selector": selector});
        pool(&stage, json!({"allowedNamespaces": allowed})).await?;
        let message = stage
            .condition("web", refused.0, refused.1, "NotAllowedByDataPlane")
            .await?;
        ensure!(
            message.contains("metadata.namespace is default"),
            "{message}"
        );
        closed(at(&dataplane, 8888)).await?;
        stage
            .kubectl(&["label", "namespace", "default", "team=a"])
            .await?;
        answers(at(&dataplane, 8888)).await?;
        stage
            .kubectl(&["label", "namespace", "default", "team-"])
            .await?;
        closed(at(&dataplane, 8888)).await?;

        limits(&stage).await
    })
}

/// Ports for whom, how many forwards, and how many connections.
async fn limits(stage: &Stage<'_>) -> Result<()> {
    let ports = json!([{"port": 8888, "namespaces": ["default"]}, {"port": 9000}]);
    let limits = json!({"forwardsPerNamespace": 1, "connectionsPerForward": 7});
    pool(stage, json!({"ports": ports, "limits": limits})).await?;
    let message = stage
        .condition("web", "Accepted", "True", "Accepted")
        .await?;
    ensure!(message.contains("allows 7 connections"), "{message}");
    stage.apply(&stage::forward("zeta", 9000, "web")).await?;
    let message = stage
        .condition("zeta", "Accepted", "False", "NotAllowedByDataPlane")
        .await?;
    ensure!(message.contains("forwardsPerNamespace"), "{message}");
    stage.apply(&stage::forward("zeta", 9001, "web")).await?;
    eventually("the port to be refused", SOON, async || {
        let message = stage
            .condition("zeta", "Accepted", "False", "NotAllowedByDataPlane")
            .await?;
        ensure!(
            message.starts_with("spec.listener.port asks for 9001"),
            "{message}"
        );
        Ok(())
    })
    .await
}

#[test]
fn of_two_pools_with_one_service_account_the_older_has_it() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let _operator = stage.operator(1).await?;
        pool_says(&stage, "Ready", "NoDataPlane").await?;
        // Later by time, or, within one second, by name.
        stage.apply(&mk_pool("zeta", json!({})).to_string()).await?;
        let query = [
            "wait",
            "dataplane/zeta",
            "--for=jsonpath={.status.conditions[0].reason}=ServiceAccountTaken",
            "--timeout=60s",
        ];
        stage.kubectl(&query).await?;
        pool_says(&stage, "Accepted", "Accepted").await.map(drop)
    })
}

/// A node whose address is that of the server.
async fn node(stage: &Stage<'_>) -> Result<()> {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"}});
    stage.apply(&node.to_string()).await?;
    let addresses = json!({"status": {"addresses": [
        {"type": "InternalIP", "address": "10.77.0.11"},
        {"type": "Hostname", "address": "one"},
    ]}});
    let patch = addresses.to_string();
    let query = [
        "patch",
        "node",
        "one",
        "--subresource=status",
        "--patch",
        &patch,
    ];
    stage.kubectl(&query).await.map(drop)
}

#[test]
fn the_cluster_itself_is_reached_by_services_alone() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let server = server().await?;
        let operator = stage.operator(1).await?;
        let dataplane = stage.dataplane(1, &[operator.push]).await?;
        let web = stage::service("web", &[server.address()]);
        stage
            .apply(&(web + &stage::forward("web", 8001, "web")))
            .await?;
        stage.apply(&to("direct", 8002, server.address())).await?;
        stage
            .apply(&to("api", 8003, "10.96.0.1:443".parse()?))
            .await?;
        let message = stage
            .condition("api", "ResolvedRefs", "False", "RefNotPermitted")
            .await?;
        ensure!(
            message.contains("10.96.0.1 must not be dialled"),
            "{message}"
        );
        answers(at(&dataplane, 8001)).await?;
        answers(at(&dataplane, 8002)).await?;

        // A node comes up there: who is there has lost the right to be.
        let mut open = client::dial(at(&dataplane, 8002)).await?;
        let mut kept = client::dial(at(&dataplane, 8001)).await?;
        node(&stage).await?;
        stage
            .condition("direct", "ResolvedRefs", "False", "RefNotPermitted")
            .await?;
        let end = tokio::time::timeout(SOON, open.read(&mut [0])).await;
        let end = end.context("the session was not cut")?;
        ensure!(!matches!(end, Ok(1..)), "{end:?}");
        answers(at(&dataplane, 8001)).await?;
        let mut byte = [0];
        let quiet = tokio::time::timeout(std::time::Duration::ZERO, kept.read(&mut byte)).await;
        ensure!(
            quiet.is_err(),
            "a session through the Service has ended: {quiet:?}"
        );

        pool(&stage, json!({"addressTargets": "Any"})).await?;
        for name in ["api", "direct"] {
            stage
                .condition(name, "ResolvedRefs", "True", "ResolvedRefs")
                .await?;
        }
        answers(at(&dataplane, 8002)).await?;
        pool(&stage, json!({})).await?;
        stage.kubectl(&["delete", "node", "one"]).await?;
        stage
            .condition("direct", "ResolvedRefs", "True", "ResolvedRefs")
            .await?;
        answers(at(&dataplane, 8002)).await
    })
}
