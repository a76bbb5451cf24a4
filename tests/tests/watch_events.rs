//! Events about TcpForwards on a real API server: one for each turn, none for what is as it was.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tcpforward_tests::client;
use tcpforward_tests::eventually::{always, eventually};
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::stage::{self, SOON, Stage};

/// Longer than a new holder of the Lease waits for data planes.
const SETTLED: Duration = Duration::from_secs(12);

/// Those about a forward.
async fn events(stage: &Stage<'_>, forward: &str) -> Result<Vec<Value>> {
    let text = stage
        .kubectl(&["get", "events.v1.events.k8s.io", "-o", "json"])
        .await?;
    let list: Value = serde_json::from_str(&text)?;
    let items = list.get("items").and_then(Value::as_array);
    let items = items.context("a list")?.iter();
    let about = items.filter(|event| {
        let name = event.pointer("/regarding/name");
        name.and_then(Value::as_str) == Some(forward)
    });
    Ok(about.cloned().collect())
}

/// Waits for an Event with that reason.
async fn told(stage: &Stage<'_>, forward: &str, reason: &str) -> Result<Value> {
    eventually(&format!("{reason} of {forward}"), SOON, async || {
        let events = events(stage, forward).await?;
        let found = events.iter().find(|event| event["reason"] == reason);
        found.cloned().with_context(|| format!("{events:?}"))
    })
    .await
}

#[test]
fn a_turn_is_told_once_whoever_leads() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let mut first = stage.operator(1).await?;
        stage.apply(&stage::forward("lost", 7001, "web")).await?;
        let event = told(&stage, "lost", "BackendNotFound").await?;
        let uid = stage.forward("lost").await?["metadata"]["uid"].clone();
        ensure!(event["regarding"]["uid"] == uid, "{event:#}");
        let words = ["type", "action", "reportingController", "reportingInstance"];
        let said = [
            "Warning",
            "ResolveRefs",
            "tcpforward.dev/operator",
            "operator-1",
        ];
        ensure!(words.map(|word| &event[word]) == said, "{event:#}");
        let note = event["note"].as_str().unwrap_or_default();
        ensure!(note.contains("web"), "{note}");
        told(&stage, "lost", "NoDataPlane").await?;
        let long = "x".repeat(253);
        stage.apply(&stage::forward(&long, 7002, "web")).await?;
        told(&stage, &long, "BackendNotFound").await?;

        // Who comes next compares with the status that is there.
        let before = events(&stage, "lost").await?;
        first.process.signal(Signal::TERM)?;
        first.process.end(SOON).await?;
        let second = stage.operator(2).await?;
        eventually("the second to lead", SOON, async || {
            let leads = client::metric(second.health, "tcpforward_operator_leader", &[]).await?;
            ensure!(leads > 0.5, "{leads}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        always("nothing is told again", SETTLED, async || {
            let now = events(&stage, "lost").await?;
            ensure!(now == before, "{now:#?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;

        stage
            .apply(&stage::service("web", &["10.77.0.11:8080".parse()?]))
            .await?;
        let event = told(&stage, "lost", "ResolvedRefs").await?;
        let said = [
            "Normal",
            "ResolveRefs",
            "tcpforward.dev/operator",
            "operator-2",
        ];
        ensure!(words.map(|word| &event[word]) == said, "{event:#}");
        let described = stage.kubectl(&["describe", "tcpf", "lost"]).await?;
        ensure!(described.contains("NoDataPlane"), "{described}");
        Ok(())
    })
}

#[test]
fn what_repeats_is_a_series_and_refusals_hold_up_nothing() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let operator = stage.operator(1).await?;
        stage.apply(&stage::forward("web", 7001, "web")).await?;
        let service = stage::service("web", &["10.77.0.11:8080".parse()?]);
        for _ in 0..2 {
            stage
                .condition("web", "ResolvedRefs", "False", "BackendNotFound")
                .await?;
            stage.apply(&service).await?;
            stage
                .condition("web", "ResolvedRefs", "True", "ResolvedRefs")
                .await?;
            stage.kubectl(&["delete", "service", "web"]).await?;
        }
        eventually("the third one to be counted", SOON, async || {
            let event = told(&stage, "web", "BackendNotFound").await?;
            ensure!(event["series"]["count"] == 3, "{event:#}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;

        // From here on the API server refuses every Event.
        let refusing = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "no-events"},
            "spec": {
                "matchConstraints": {"resourceRules": [{"apiGroups": ["events.k8s.io"],
                    "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["events"]}]},
                "validations": [{"expression": "false", "message": "no events here"}],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "no-events"},
            "spec": {"policyName": "no-events", "validationActions": ["Deny"]},
        });
        stage
            .apply(&format!("{refusing}\n---\n{binding}\n"))
            .await?;
        let failed = async || {
            let name = "tcpforward_operator_recorded_events_total";
            client::metric(operator.health, name, &["result=\"failed\""]).await
        };
        eventually("an Event to be refused", SOON, async || {
            stage.apply(&service).await?;
            stage
                .condition("web", "ResolvedRefs", "True", "ResolvedRefs")
                .await?;
            stage.kubectl(&["delete", "service", "web"]).await?;
            stage
                .condition("web", "ResolvedRefs", "False", "BackendNotFound")
                .await?;
            let failed = failed().await?;
            ensure!(failed >= 1.0, "{failed}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    })
}
