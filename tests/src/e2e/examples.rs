//! Edge. Every example of `examples/` in a cluster: pods behind its Services, traffic through its ports.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::chart::{list, text};
use crate::e2e::backends::deployment;
use crate::e2e::client::Client;
use crate::e2e::grants;
use crate::e2e::install::{OPERATOR, listeners, service_of};
use crate::e2e::site::{SOON, SYSTEM, Site};
use crate::eventually::eventually;
use crate::programs::workspace_root;

const NAMESPACE: &str = "examples";

/// What `htpasswd -nbB -C 5 ci change-me` prints.
const USERS_OF_PROXY: &str =
    "--from-literal=auth=ci:$2y$05$abcdefghijklmnopqrstuu073GaJD17yVUQzL9dpmEGN.aHPXYvq2";

/// Examples whose ports others have; tried when those are gone.
const LATER: [&str; 1] = ["via.yaml"];

/// An example of what the chart has made already, and otherwise: the API server takes it, and it is not
/// kept.
const OF_THE_CHART: &str = "data-plane.yaml";

/// Forwards that this cluster has no clients or backends for: they are programmed, and that is all.
const UNUSED: [&str; 5] = [
    "dns-name",
    "proxy-protocol",
    "partner-db",
    "outside",
    "uploads",
];

/// Ports of pods that no Service says: checks of Patroni, and one of the range of FTP.
const MORE_PORTS: [(&str, u16); 2] = [("patroni", 8008), ("ftp-data", 30007)];

/// Applies all, and tries each.
pub(super) async fn all(site: &Site<'_>, client: &Client<'_>) -> Result<()> {
    site.kubectl(&["create", "namespace", NAMESPACE]).await?;
    permit_secrets(site).await?;
    let mut examples = paths()?;
    for pool in examples.extract_if(.., |path| path.ends_with(OF_THE_CHART)) {
        let pool = pool.to_str().context("a path that is text")?;
        site.kubectl(&["apply", "--dry-run=server", "-f", pool])
            .await?;
    }
    // A step of its own has that one.
    examples.retain(|path| !path.ends_with(grants::EXAMPLE));
    let is_later = |path: &PathBuf| LATER.iter().any(|name| path.ends_with(name));
    let (later, first): (Vec<_>, Vec<_>) = examples.into_iter().partition(is_later);
    ensure!(later.len() == LATER.len(), "examples are gone: {LATER:?}");
    batch(site, client, &first).await?;
    let gone = ["delete", "-n", NAMESPACE, "tcpf", "--all"];
    site.kubectl(&gone).await?;
    batch(site, client, &later).await?;
    site.kubectl(&["delete", "namespace", NAMESPACE])
        .await
        .map(drop)
}

/// What the first lines of connect.yaml and via.yaml say: Secrets that aren't in the files, and a Role.
async fn permit_secrets(site: &Site<'_>) -> Result<()> {
    let names =
        ["proxy-users", "parent", "parent-ca"].map(|name| format!("--resource-name={name}"));
    let [users, parent, parent_ca] = &names;
    let account = format!("--serviceaccount={SYSTEM}:{OPERATOR}");
    let ca = rcgen::generate_simple_self_signed(["proxy.corp.example".to_owned()])?;
    let ca = format!("--from-literal=ca.crt={}", ca.cert.pem());
    let commands: [&[&str]; 4] = [
        &["secret", "generic", "proxy-users", USERS_OF_PROXY],
        &["secret", "generic", "parent-ca", &ca],
        &[
            "role",
            "read-secrets",
            "--verb=list,watch",
            "--resource=secrets",
            users,
            parent,
            parent_ca,
        ],
        &[
            "rolebinding",
            "read-secrets",
            "--role=read-secrets",
            &account,
        ],
    ];
    for command in commands {
        let command = [&["create", "-n", NAMESPACE][..], command].concat();
        site.kubectl(&command).await?;
    }
    Ok(())
}

fn paths() -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(workspace_root().join("examples"))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

async fn batch(site: &Site<'_>, client: &Client<'_>, paths: &[PathBuf]) -> Result<()> {
    let mut apply = vec!["apply", "-n", NAMESPACE, "-o", "json"];
    for path in paths {
        apply.extend(["-f", path.to_str().context("a path that is text")?]);
    }
    let applied: Value = serde_json::from_str(&site.kubectl(&apply).await?)?;
    let objects = applied.get("items").and_then(Value::as_array);
    let objects = objects.context("a list")?;
    let of_kind = |kind: &'static str| {
        objects
            .iter()
            .filter(move |object| text(object, "/kind") == kind)
    };
    let backends: Vec<_> = of_kind("Service").map(backend).collect();
    for backend in &backends {
        site.apply(NAMESPACE, &backend.to_string()).await?;
    }
    for backend in &backends {
        site.rolled_out(NAMESPACE, text(backend, "/metadata/name"))
            .await?;
    }
    for forward in of_kind("TcpForward") {
        let name = text(forward, "/metadata/name");
        used(site, client, forward).await.context(name.to_owned())?;
    }
    Ok(())
}

/// Pods behind a Service, on its target ports.
fn backend(service: &Value) -> Value {
    let name = text(service, "/metadata/name");
    let ports = list(service, "/spec/ports").filter_map(|port| {
        let target = port.get("targetPort").filter(|target| target.is_u64());
        target.or_else(|| port.get("port")).and_then(Value::as_u64)
    });
    let more = MORE_PORTS.iter().filter(|(service, _)| *service == name);
    let ports: Vec<_> = ports
        .chain(more.map(|(_, port)| u64::from(*port)))
        .collect();
    let mut args = vec!["page".to_owned()];
    args.extend(ports.iter().map(|port| format!(":{port}")));
    let labels = service.pointer("/spec/selector").cloned();
    let probed = ports.first().copied().unwrap_or_default();
    deployment(name, &labels.unwrap_or_default(), 1, &json!(args), probed)
}

async fn used(site: &Site<'_>, client: &Client<'_>, forward: &Value) -> Result<()> {
    let name = text(forward, "/metadata/name");
    if UNUSED.contains(&name) {
        return site.condition(NAMESPACE, name, "Programmed").await;
    }
    site.condition(NAMESPACE, name, "Ready").await?;
    if forward.pointer("/spec/httpConnect").is_some() {
        return tunnel(site, client, name).await;
    }
    let number = |field: &str| forward.pointer(field).and_then(Value::as_u64);
    let port = number("/spec/listener/port").context("a port")?;
    let offset = number("/spec/listener/endPort").map_or(0, |_| 7);
    let port = u16::try_from(port)? + offset;
    let service = format!("{}.{SYSTEM}.svc:{port}", service_of(NAMESPACE, name));
    let listeners = listeners(site, NAMESPACE, name, offset).await?;
    let listeners = listeners.into_iter().map(|(_, address)| address);
    for address in listeners.chain([service]) {
        eventually("answers", SOON, async || {
            client.fetch(&address, 4).await?.flawless(4)
        })
        .await?;
    }
    Ok(())
}

/// A user's way through connect.yaml, and a stranger's.
async fn tunnel(site: &Site<'_>, client: &Client<'_>, name: &str) -> Result<()> {
    for (_, proxy) in listeners(site, NAMESPACE, name, 0).await? {
        let database = format!("orders-db.{NAMESPACE}.svc:5432");
        eventually("a tunnel", SOON, async || {
            let report = client.fetch_via(&proxy, "ci:change-me", &database).await?;
            report.flawless(1)
        })
        .await?;
        for (user, to, answer) in [
            ("ci:wrong", &*database, "407"),
            ("ci:change-me", "tracker.example.com:443", "403"),
        ] {
            let report = client.fetch_via(&proxy, user, to).await?;
            let refused = report.failures.keys().any(|kind| kind.contains(answer));
            ensure!(refused, "{user} to {to}: {report}");
        }
    }
    Ok(())
}
