//! What an operator writes into the status of a TcpForward, on a real API server.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tcpforward_tests::client;
use tcpforward_tests::eventually::{always, eventually};
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::stage::{self, SOON, Stage};

/// What can't be relayed to, each with its own reason.
async fn unsupported_services(stage: &Stage<'_>) -> Result<()> {
    let kinds = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "elsewhere"},
         "spec": {"type": "ExternalName", "externalName": "example.com"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "udp"},
         "spec": {"ports": [{"name": "http", "port": 80, "protocol": "UDP"}]}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "other-port"},
         "spec": {"ports": [{"name": "https", "port": 443}]}},
    ]});
    stage.apply(&kinds.to_string()).await?;
    let forwards = [
        (
            "external",
            7002,
            "elsewhere",
            "UnsupportedService",
            "ExternalName",
        ),
        ("udp", 7003, "udp", "UnsupportedService", "UDP"),
        ("port", 7004, "other-port", "PortNotFound", "https"),
    ];
    for (name, port, service, _, _) in forwards {
        stage.apply(&stage::forward(name, port, service)).await?;
    }
    for (name, _, _, reason, text) in forwards {
        let message = stage
            .condition(name, "ResolvedRefs", "False", reason)
            .await?;
        ensure!(message.contains(text), "{name}: {message}");
    }
    Ok(())
}

#[test]
fn conditions_say_what_is_wrong() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let _operator = stage.operator(1).await?;
        stage
            .apply(&stage::forward("lonely", 7001, "nobody"))
            .await?;
        let message = stage
            .condition("lonely", "ResolvedRefs", "False", "BackendNotFound")
            .await?;
        ensure!(message.contains("nobody"), "{message}");
        stage
            .condition("lonely", "Accepted", "True", "Accepted")
            .await?;
        stage
            .condition("lonely", "Ready", "False", "BackendNotFound")
            .await?;
        let message = stage
            .condition("lonely", "Programmed", "False", "NoDataPlane")
            .await?;
        ensure!(message.contains("default"), "the pool is named: {message}");

        unsupported_services(&stage).await?;

        stage.apply(&stage::service("web", &[])).await?;
        stage.apply(&stage::forward("empty", 7005, "web")).await?;
        stage
            .condition("empty", "ResolvedRefs", "True", "ResolvedRefs")
            .await?;
        stage
            .condition("empty", "BackendsAvailable", "False", "NoEndpoints")
            .await?;

        stage.apply(&stage::forward("late", 7001, "web")).await?;
        let message = stage
            .condition("late", "Accepted", "False", "PortUnavailable")
            .await?;
        ensure!(
            message.contains("default/lonely"),
            "the winner is named: {message}"
        );
        Ok(())
    })
}

#[test]
fn nothing_is_written_when_nothing_changed() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let operator = stage.operator(1).await?;
        let _dataplane = stage.dataplane(1, &[operator.push]).await?;
        let backend = "10.77.0.11:8080".parse()?;
        let web = stage::service("web", &[backend]) + &stage::forward("web", 8888, "web");
        stage.apply(&web).await?;
        stage.condition("web", "Ready", "True", "Ready").await?;
        let version = async || -> Result<_> {
            Ok(stage.forward("web").await?["metadata"]["resourceVersion"].clone())
        };
        let before = version().await?;
        always("no write", Duration::from_secs(15), async || {
            let now = version().await?;
            ensure!(now == before, "{before} became {now}");
            Ok(())
        })
        .await
    })
}

#[test]
fn a_change_of_one_service_recompiles_only_its_forwards() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let operator = stage.operator(1).await?;
        let backend = "10.77.0.11:8080".parse()?;
        let mut all = stage::service("shared", &[backend]) + &stage::service("own", &[backend]);
        for i in 0..20 {
            all += &stage::forward(&format!("shared-{i}"), 7000 + i, "shared");
        }
        all += &stage::forward("own", 7100, "own");
        stage.apply(&all).await?;
        // Resolved is said of the Services alone; that its endpoints were looked at, too, this says.
        for name in ["shared-19", "own"] {
            stage
                .condition(name, "BackendsAvailable", "True", "BackendsAvailable")
                .await?;
        }
        let compiled = async || {
            let name = "tcpforward_operator_compiled_forwards_total";
            client::metric(operator.health, name, &[]).await
        };
        let before = compiled().await?;
        stage
            .apply(&stage::service("own", &["10.77.0.12:8080".parse()?]))
            .await?;
        eventually("the one forward to be compiled", SOON, async || {
            let more = compiled().await? - before;
            ensure!(more >= 1.0, "{more}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let more = compiled().await? - before;
        ensure!(
            more <= 2.0,
            "{more} forwards were compiled for a change of one"
        );
        Ok(())
    })
}

#[test]
fn an_object_that_makes_no_sense_is_a_visible_rejection() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        let operator = stage.operator(1).await?;
        let dataplane = stage.dataplane(1, &[operator.push]).await?;
        // As if an older CRD had let it in.
        let loose = json!([{
            "op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec",
            "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }]);
        let crd = "crd/tcpforwards.tcpforward.dev";
        stage
            .kubectl(&["patch", crd, "--type=json", "-p", &loose.to_string()])
            .await?;
        let nonsense = json!({
            "apiVersion": "tcpforward.dev/v1alpha1", "kind": "TcpForward",
            "metadata": {"name": "nonsense"}, "spec": {"listener": {"port": "eighty"}},
        });
        eventually("the looser schema to be in force", SOON, async || {
            stage.apply(&nonsense.to_string()).await
        })
        .await?;
        let message = stage
            .condition("nonsense", "Accepted", "False", "UnsupportedValue")
            .await?;
        ensure!(message.contains("spec."), "the field is named: {message}");
        let web = stage::service("web", &["10.77.0.11:8080".parse()?])
            + &stage::forward("web", 8888, "web");
        stage.apply(&web).await?;
        stage
            .condition("web", "Programmed", "True", "Programmed")
            .await?;
        client::dial(std::net::SocketAddr::new(dataplane.ip, 8888))
            .await
            .context("web serves")?;
        Ok(())
    })
}
