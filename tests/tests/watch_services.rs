//! The Services by which clients come, on a real API server: made, opened, closed and deleted, and never
//! anybody else's.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tcpforward_operator::entrance;
use tcpforward_protocol::snapshot::ForwardName;
use tcpforward_tests::client;
use tcpforward_tests::echo::{Behaviour, Server};
use tcpforward_tests::eventually::{always, eventually};
use tcpforward_tests::fixtures::{mk_address_target, mk_forward, mk_pool};
use tcpforward_tests::lab::{self, Lab, Network};
use tcpforward_tests::stage::{DataPlane, SOON, Stage};

/// A pool whose pods have networks of their own.
async fn pool(stage: &Stage<'_>, says: Value) -> Result<()> {
    let mut plain = json!({"hostNetwork": false});
    if let (Value::Object(plain), Value::Object(says)) = (&mut plain, says) {
        plain.extend(says);
    }
    stage.apply(&mk_pool("default", plain).to_string()).await
}

async fn server() -> Result<Server> {
    Server::start("10.77.0.11:8080", Behaviour::Http("one".to_owned())).await
}

/// A forward of namespace `default` to a server outside the cluster.
fn to(name: &str, port: u16, server: &Server, more: Value) -> String {
    let target = mk_address_target("a", server.address());
    let mut forward = json!(mk_forward("default", name, port, &[target]));
    if let (Some(Value::Object(spec)), Value::Object(more)) = (forward.get_mut("spec"), more) {
        spec.extend(more);
    }
    format!("{forward}\n---\n")
}

fn service_of(name: &str) -> String {
    entrance::name("default", &ForwardName::new("default", name))
}

async fn get(stage: &Stage<'_>, name: &str) -> Result<Value> {
    let service = service_of(name);
    let text = stage
        .kubectl(&[
            "get",
            "service",
            &service,
            "-o",
            "json",
            "--show-managed-fields",
        ])
        .await?;
    Ok(serde_json::from_str(&text)?)
}

/// Waits until the Service of a forward is as it should be.
async fn service(
    stage: &Stage<'_>,
    name: &str,
    what: &str,
    is: impl Fn(&Value) -> bool,
) -> Result<Value> {
    eventually(
        &format!("the Service of {name} to be {what}"),
        SOON,
        async || {
            let service = get(stage, name).await?;
            ensure!(is(&service), "{service:#}");
            Ok(service)
        },
    )
    .await
}

/// What is there in it; null: nothing.
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

fn is_open(service: &Value) -> bool {
    *at(service, "/spec/selector") == json!({"tcpforward.dev/data-plane": "default"})
}

fn is_closed(service: &Value) -> bool {
    at(service, "/spec/selector/tcpforward.dev~1entrance") == "closed"
}

async fn absent(stage: &Stage<'_>, name: &str) -> Result<()> {
    eventually(&format!("no Service of {name}"), SOON, async || {
        ensure!(get(stage, name).await.is_err(), "still there");
        Ok(())
    })
    .await
}

fn target(service: &Value) -> Result<u16> {
    let port = at(service, "/spec/ports/0/targetPort").as_u64();
    Ok(u16::try_from(port.context("a target port")?)?)
}

async fn answers(dataplane: &DataPlane, port: u16) -> Result<()> {
    let address = SocketAddr::new(dataplane.ip, port);
    eventually(&format!("{address} to answer"), SOON, async || {
        let answer = client::get(address, "/").await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    })
    .await
}

#[test]
fn a_service_is_made_closed_opened_when_pods_serve_and_gone_with_its_forward() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        pool(&stage, json!({})).await?;
        let server = server().await?;
        let operator = stage.operator(1).await?;
        stage.apply(&to("a", 5432, &server, json!({}))).await?;
        stage.apply(&to("b", 5432, &server, json!({}))).await?;
        let made = service(&stage, "a", "made and closed", is_closed).await?;
        stage
            .condition("a", "Programmed", "False", "NoDataPlane")
            .await?;
        ensure!(at(&made, "/spec/ports/0/port") == 5432, "{made:#}");
        let address = at(&made, "/spec/clusterIP")
            .as_str()
            .context("an address")?;

        let dataplane = stage.dataplane(1, &[operator.push]).await?;
        let opened = service(&stage, "a", "open", is_open).await?;
        let other = service(&stage, "b", "open", is_open).await?;
        ensure!(target(&opened)? != target(&other)?, "one port for two");
        ensure!(target(&opened)? == target(&made)?, "it has moved");
        for forward in ["a", "b"] {
            stage.condition(forward, "Ready", "True", "Ready").await?;
        }
        answers(&dataplane, target(&opened)?).await?;
        answers(&dataplane, target(&other)?).await?;
        let status = stage.forward("a").await?;
        let shown = at(&status, "/status/addresses/0");
        ensure!(
            at(shown, "/value") == address && at(shown, "/port") == 5432,
            "{shown}"
        );
        let owner = at(&opened, "/metadata/ownerReferences/0");
        ensure!(
            at(owner, "/kind") == "DataPlane" && at(owner, "/name") == "default",
            "{owner}"
        );

        moves(&stage, &server, &opened).await?;

        // A new operator finds what was allocated.
        drop(operator);
        let _second = stage.operator(2).await?;
        always("the same port", Duration::from_secs(3), async || {
            let now = get(&stage, "a").await?;
            ensure!(
                is_open(&now) && target(&now)? == target(&opened)?,
                "{now:#}"
            );
            Ok(())
        })
        .await?;

        stage
            .kubectl(&["delete", "tcpf", "a", "--wait=false"])
            .await?;
        absent(&stage, "a").await?;
        ensure!(
            is_open(&get(&stage, "b").await?),
            "the other one is touched"
        );
        stage.kubectl(&["delete", "tcpf", "b"]).await?;
        absent(&stage, "b").await
    })
}

/// Another port for clients is no other one for pods.
async fn moves(stage: &Stage<'_>, server: &Server, opened: &Value) -> Result<()> {
    stage.apply(&to("a", 5433, server, json!({}))).await?;
    let moved = |service: &Value| {
        at(service, "/spec/ports/0/port") == 5433
            && at(service, "/spec/ports")
                .as_array()
                .is_some_and(|ports| ports.len() == 1)
    };
    let moved = service(stage, "a", "on another port", moved).await?;
    ensure!(
        is_open(&moved) && target(&moved)? == target(opened)?,
        "{moved:#}"
    );
    ensure!(
        at(&moved, "/spec/clusterIP") == at(opened, "/spec/clusterIP"),
        "{moved:#}"
    );
    Ok(())
}

#[test]
fn what_others_write_stays_and_what_is_ours_is_taken_back() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        pool(
            &stage,
            json!({"allowedExposeTypes": ["LoadBalancer", "ClusterIP"]}),
        )
        .await?;
        let server = server().await?;
        let operator = stage.operator(1).await?;
        let _dataplane = stage.dataplane(1, &[operator.push]).await?;
        let annotated = json!({"expose": {
            "type": "LoadBalancer", "externalTrafficPolicy": "Local",
            "annotations": {"example.com/tier": "gold", "example.com/old": "x"},
        }});
        stage.apply(&to("a", 5432, &server, annotated)).await?;
        let first = service(&stage, "a", "open", is_open).await?;
        stage
            .condition("a", "Programmed", "False", "Pending")
            .await?;
        somebody_writes(lab, &stage, &first).await?;
        // What is ours, changed by somebody else, and by us after that.
        let ours = json!({"spec": {"selector": {"app": "other"}},
                          "metadata": {"annotations": {"example.com/tier": "lead"}}});
        let ours = ours.to_string();
        let service_name = service_of("a");
        let patch = [
            "patch",
            "service",
            &service_name,
            "--type=merge",
            "-p",
            &ours,
        ];
        stage.kubectl(&patch).await?;
        let fewer = json!({"expose": {
            "type": "LoadBalancer", "externalTrafficPolicy": "Local",
            "annotations": {"example.com/tier": "gold"},
        }});
        stage.apply(&to("a", 5432, &server, fewer)).await?;
        let is_back = |service: &Value| {
            let annotations = at(service, "/metadata/annotations");
            is_open(service)
                && at(annotations, "/example.com~1tier") == "gold"
                && at(annotations, "/example.com~1old").is_null()
        };
        let now = service(&stage, "a", "as it should be", is_back).await?;
        stays(&now, &first)?;
        owns_only_its_own(&now)
    })
}

/// Whatever the operator leaves to others, as a manager of fields of its own.
async fn somebody_writes(lab: &Lab, stage: &Stage<'_>, first: &Value) -> Result<()> {
    let foreign = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {
            "name": service_of("a"), "annotations": {"example.com/note": "mine"},
            "labels": {"team": "net"},
        },
        "spec": {
            "externalIPs": ["203.0.113.9"],
            "sessionAffinity": "ClientIP",
            "healthCheckNodePort": at(first, "/spec/healthCheckNodePort"),
            "ports": [{"port": 5432, "protocol": "TCP", "nodePort": at(first, "/spec/ports/0/nodePort")}],
        },
    });
    let file = lab.file("foreign.json", foreign.to_string())?;
    let file = file.to_string_lossy().into_owned();
    let apply = [
        "apply",
        "--server-side",
        "--field-manager=somebody",
        "-f",
        &file,
    ];
    stage.kubectl(&apply).await.map(drop)
}

/// What somebody wrote is there, and what Kubernetes gave is as it was.
fn stays(now: &Value, first: &Value) -> Result<()> {
    ensure!(
        at(now, "/metadata/annotations/example.com~1note") == "mine",
        "{now:#}"
    );
    ensure!(at(now, "/metadata/labels/team") == "net", "{now:#}");
    ensure!(
        *at(now, "/spec/externalIPs") == json!(["203.0.113.9"]),
        "{now:#}"
    );
    ensure!(at(now, "/spec/sessionAffinity") == "ClientIP", "{now:#}");
    for field in ["clusterIP", "healthCheckNodePort", "ipFamilies"] {
        ensure!(
            at(now, &format!("/spec/{field}")) == at(first, &format!("/spec/{field}")),
            "{field}: {now:#}"
        );
    }
    ensure!(
        at(now, "/spec/ports/0/nodePort") == at(first, "/spec/ports/0/nodePort"),
        "{now:#}"
    );
    Ok(())
}

/// By the API server's account of who has written what.
fn owns_only_its_own(service: &Value) -> Result<()> {
    let entries = at(service, "/metadata/managedFields").as_array();
    let ours = entries.into_iter().flatten().filter(|entry| {
        at(entry, "/manager") == "tcpforward-operator" && at(entry, "/subresource").is_null()
    });
    let applied: Vec<_> = ours
        .filter(|entry| at(entry, "/operation") == "Apply")
        .collect();
    let [applied] = applied.as_slice() else {
        anyhow::bail!("{service:#}");
    };
    let spec = at(applied, "/fieldsV1/f:spec").as_object();
    let fields: Vec<_> = spec.context("a spec")?.keys().map(String::as_str).collect();
    let expected = ["f:externalTrafficPolicy", "f:ports", "f:selector", "f:type"];
    ensure!(fields == expected, "{fields:?}");
    let text = applied.to_string();
    for others in [
        "nodePort",
        "example.com/note",
        "f:team",
        "externalIPs",
        "f:clusterIP",
    ] {
        ensure!(!text.contains(others), "{others}: {text}");
    }
    Ok(())
}

#[test]
fn somebody_elses_service_is_never_taken_over() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        pool(&stage, json!({})).await?;
        let server = server().await?;
        let name = service_of("a");
        let theirs = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"ports": [{"port": 80}]},
        });
        stage.apply(&theirs.to_string()).await?;
        let before = get(&stage, "a").await?;
        let operator = stage.operator(1).await?;
        let _dataplane = stage.dataplane(1, &[operator.push]).await?;
        stage.apply(&to("a", 5432, &server, json!({}))).await?;
        let message = stage
            .condition("a", "Programmed", "False", "ServiceUnavailable")
            .await?;
        ensure!(
            message.contains(&name) && message.contains("delete it"),
            "{message}"
        );
        ensure!(get(&stage, "a").await? == before, "it was written");
        stage.kubectl(&["delete", "service", &name]).await?;
        stage.condition("a", "Ready", "True", "Ready").await?;
        service(&stage, "a", "open", is_open).await.map(drop)
    })
}

#[test]
fn a_pool_says_which_services_there_are() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let stage = Stage::new(lab).await?;
        pool(&stage, json!({})).await?;
        let server = server().await?;
        let operator = stage.operator(1).await?;
        let dataplane = stage.dataplane(1, &[operator.push]).await?;
        let node_port = json!({"expose": {"type": "NodePort"}});
        stage
            .apply(&to("a", 5432, &server, node_port.clone()))
            .await?;
        let message = stage
            .condition("a", "Accepted", "False", "NotAllowedByDataPlane")
            .await?;
        ensure!(
            message.starts_with("spec.expose.type is NodePort"),
            "{message}"
        );
        absent(&stage, "a").await?;
        pool(&stage, json!({"allowedExposeTypes": ["NodePort", "None"]})).await?;
        stage.condition("a", "Ready", "True", "Ready").await?;
        let status = stage.forward("a").await?;
        let addresses = at(&status, "/status/addresses").as_array();
        let kinds: Vec<_> = addresses
            .into_iter()
            .flatten()
            .map(|a| at(a, "/type"))
            .collect();
        ensure!(kinds.contains(&&json!("NodePort")), "{kinds:?}");

        let mut by_source = node_port;
        by_source["listener"] = json!({"port": 5432, "sourceRanges": ["10.0.0.0/8"]});
        stage.apply(&to("a", 5432, &server, by_source)).await?;
        let message = stage
            .condition("a", "Accepted", "False", "SourceAddressNotPreserved")
            .await?;
        ensure!(message.contains("externalTrafficPolicy Local"), "{message}");
        service(&stage, "a", "closed", is_closed).await?;

        // Without a Service the pods listen where clients dial.
        let direct = json!({"expose": {"type": "None"}});
        stage.apply(&to("a", 5432, &server, direct)).await?;
        stage.condition("a", "Ready", "True", "Ready").await?;
        answers(&dataplane, 5432).await?;
        absent(&stage, "a").await
    })
}
