//! Which pods of a pool count for `Programmed`, on a real API server.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tcpforward_tests::eventually::{always, eventually};
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::stage::{self, DataPlane, Operator, SOON, Stage};

/// A pod of the pool `default`, which no kubelet runs; its uid.
async fn pod(stage: &Stage<'_>, name: &str) -> Result<String> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"tcpforward.dev/data-plane": "default"}},
        "spec": {"automountServiceAccountToken": false,
                 "containers": [{"name": "dataplane", "image": "tcpforward"}]},
    });
    stage.apply(&pod.to_string()).await?;
    let uid = ["get", "pod", name, "-o", "jsonpath={.metadata.uid}"];
    stage.kubectl(&uid).await
}

/// As the kubelet says it.
async fn turn(stage: &Stage<'_>, pod: &str, ready: &str) -> Result<()> {
    let status = json!({"status": {"phase": "Running", "conditions": [
        {"type": "Ready", "status": ready}]}});
    let status = status.to_string();
    let patch = ["patch", "pod", pod, "--subresource=status", "-p", &status];
    stage.kubectl(&patch).await.map(drop)
}

fn start(stage: &Stage<'_>, n: u16, uid: &str, operator: &Operator) -> Result<DataPlane> {
    let arguments = [
        "--insecure-transport".to_owned(),
        format!("--pod=edge-{n}"),
        format!("--pod-uid={uid}"),
        format!("--operator={}", operator.push),
    ];
    stage.dataplane_with(n, &arguments)
}

/// Waits until `Programmed` is not True, and says so: a text alone is written now and then.
async fn waits(stage: &Stage<'_>, text: &str) -> Result<()> {
    eventually(text, SOON, async || {
        let condition = stage.condition("web", "Programmed", "False", "Pending");
        let message = condition.await?;
        ensure!(message.contains(text), "{message}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// Waits until the status counts the pool's pods so.
async fn counted(stage: &Stage<'_>, summary: &str) -> Result<Value> {
    eventually(&format!("{summary} pods"), SOON, async || {
        let forward = stage.forward("web").await?;
        let counts = forward.pointer("/status/dataPlanes").context("no counts")?;
        let now = counts.get("summary").and_then(Value::as_str);
        ensure!(now == Some(summary), "{counts}");
        Ok::<_, anyhow::Error>(counts.clone())
    })
    .await
}

/// Waits until the DataPlane is Ready or not for that reason, with so many pods; its status.
async fn pool_says(stage: &Stage<'_>, reason: &str, summary: &str) -> Result<Value> {
    let what = format!("the pool to say {reason} of {summary} pods");
    eventually(&what, SOON, async || {
        let found = ["get", "tcpdp", "default", "-o", "json"];
        let found: Value = serde_json::from_str(&stage.kubectl(&found).await?)?;
        let status = found.get("status").context("no status")?;
        let conditions = status.get("conditions").and_then(Value::as_array);
        let says = |condition: &Value, field: &str, text: &str| {
            condition.get(field).and_then(Value::as_str) == Some(text)
        };
        let is_said = conditions
            .into_iter()
            .flatten()
            .any(|condition| says(condition, "type", "Ready") && says(condition, "reason", reason));
        let counts = status.pointer("/pods/summary").and_then(Value::as_str);
        ensure!(is_said && counts == Some(summary), "{status:#}");
        Ok::<_, anyhow::Error>(status.clone())
    })
    .await
}

/// A pool, and a forward of it.
async fn set_up(stage: &Stage<'_>) -> Result<()> {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
                         "metadata": {"name": "default"}});
    let pool = json!({"apiVersion": "tcpforward.dev/v1alpha1", "kind": "DataPlane",
                      "metadata": {"name": "default"},
                      "spec": {"podNamespace": "default", "serviceAccountName": "default"}});
    let service = stage::service("web", &["10.77.0.11:8080".parse()?]);
    let objects = [account.to_string(), pool.to_string(), service];
    let objects = objects.join("\n---\n") + &stage::forward("web", 8888, "web");
    stage.apply(&objects).await
}

/// Starts a third one, which turns nothing on its way.
async fn scale_out(stage: &Stage<'_>, operator: &Operator) -> Result<DataPlane> {
    let third = pod(stage, "edge-3").await?;
    let third = start(stage, 3, &third, operator)?;
    always("Programmed", Duration::from_secs(3), async || {
        let forward = stage.forward("web").await?;
        let conditions = forward.pointer("/status/conditions");
        let conditions = conditions.and_then(Value::as_array).context("none")?;
        let is = |value: &Value, key: &str, text: &str| {
            value.get(key).and_then(Value::as_str) == Some(text)
        };
        let mut conditions = conditions.iter();
        let programmed = conditions.find(|condition| is(condition, "type", "Programmed"));
        let programmed = programmed.context("not Programmed")?;
        ensure!(is(programmed, "status", "True"), "{programmed}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    stage::ready(third.health).await?;
    turn(stage, "edge-3", "True").await?;
    Ok(third)
}

#[test]
fn ready_pods_count_connected_or_not() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        set_up(&stage).await?;
        let operator = stage.operator(1).await?;

        // Connected and not Ready: nobody who counts yet.
        let first = pod(&stage, "edge-1").await?;
        let first = start(&stage, 1, &first, &operator)?;
        stage::ready(first.health).await?;
        waits(&stage, "none is Ready; look why edge-1 is not").await?;
        let status = pool_says(&stage, "NotReady", "0/0").await?;
        ensure!(status["pods"]["connected"] == 1, "{status:#}");
        turn(&stage, "edge-1", "True").await?;
        stage
            .condition("web", "Programmed", "True", "Programmed")
            .await?;

        // Ready and not connected: it counts after a while, and is named.
        let second = pod(&stage, "edge-2").await?;
        turn(&stage, "edge-2", "True").await?;
        waits(
            &stage,
            "waiting for edge-2, which is Ready and not connected",
        )
        .await?;
        let counts = counted(&stage, "1/2").await?;
        let pending = &counts["pending"][0];
        ensure!(pending["pod"] == "edge-2", "{counts}");
        let text = pending["message"].as_str().unwrap_or_default();
        ensure!(
            text.contains("not connected to this operator since"),
            "{text}"
        );
        let status = pool_says(&stage, "NotConnected", "1/2").await?;
        ensure!(status["pods"]["connected"] == 1, "{status:#}");
        let lags = &status["pods"]["pending"][0];
        ensure!(
            lags["pod"] == "edge-2" && lags["reason"] == "NotConnected",
            "{status:#}"
        );
        let second = start(&stage, 2, &second, &operator)?;
        stage::ready(second.health).await?;
        stage
            .condition("web", "Programmed", "True", "Programmed")
            .await?;
        counted(&stage, "2/2").await?;
        let status = pool_says(&stage, "Ready", "2/2").await?;
        ensure!(status["pods"]["connected"] == 2, "{status:#}");

        let _third = scale_out(&stage, &operator).await?;
        counted(&stage, "3/3").await?;
        Ok(())
    })
}
