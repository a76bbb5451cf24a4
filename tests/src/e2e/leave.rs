//! Edge. What is left of a namespace that is deleted, and of the product.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::e2e::backends::Backends;
use crate::e2e::client::Client;
use crate::e2e::forwards::forward;
use crate::e2e::install::{commands, listeners, service_of};
use crate::e2e::site::{SOON, SYSTEM, Site, USERS};
use crate::eventually::eventually;

/// A namespace whose forward and backends go all at once.
const GOING: &str = "e2e-going";

const INSTALL: &str = "docs/tasks/install.md";

/// Of its forward.
const PORT: u16 = 18090;

/// Kinds whose objects come and go without anybody's doing: the last ones follow definitions.
const FLEETING: [&str; 3] = [
    "events",
    "events.events.k8s.io",
    "apiservices.apiregistration.k8s.io",
];

const DEFINITION: &str = "CustomResourceDefinition//";

/// `kubectl delete ns`: it ends, and so do the listeners of its forwards.
pub(super) async fn namespace(site: &Site<'_>, client: &Client<'_>) -> Result<()> {
    site.kubectl(&["create", "namespace", GOING]).await?;
    let gone = Backends {
        name: "gone",
        replicas: 2,
        does: "page",
        service: None,
    };
    site.apply(GOING, &gone.manifests()).await?;
    site.apply(GOING, &forward("gone", PORT, "gone", &json!({})))
        .await?;
    site.rolled_out(GOING, "gone").await?;
    site.condition(GOING, "gone", "Ready").await?;
    let listeners = listeners(site, GOING, "gone", 0).await?;
    for (_, address) in &listeners {
        client.answered_by(address, 2, 4).await?;
    }
    let delete = ["delete", "namespace", GOING, "--timeout=120s"];
    site.kubectl(&delete).await?;
    eventually("no listener", SOON, async || {
        for (_, address) in &listeners {
            let report = client.fetch(address, 1).await?;
            let refused = report.failures.keys().all(|kind| kind.contains("refused"));
            ensure!(report.answers.is_empty() && refused, "{report}");
        }
        Ok(())
    })
    .await?;
    eventually("no Service", SOON, async || {
        let names = ["get", "services", "-n", SYSTEM, "-o", "name"];
        let left = site.kubectl(&names).await?;
        ensure!(!left.contains(&service_of(GOING, "gone")), "{left}");
        Ok(())
    })
    .await
}

/// The page's way out: only CustomResourceDefinitions stay, until they are deleted by its last command.
pub(super) async fn product(site: &Site<'_>, before: &BTreeSet<String>) -> Result<()> {
    // The suite's own.
    site.kubectl(&["delete", "namespace", USERS, "--timeout=120s"])
        .await?;
    commands(site, INSTALL, "helm uninstall ").await?;
    eventually("nothing but definitions to be left", SOON, async || {
        let left = left(site, before).await?;
        let definitions = left.iter().filter(|object| object.starts_with(DEFINITION));
        ensure!(definitions.count() == 2 && left.len() == 2, "{left:?}");
        Ok(())
    })
    .await?;
    commands(site, INSTALL, "kubectl delete crd ").await?;
    let left = left(site, before).await?;
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

/// What wasn't there before, but for the namespace that the commands made, with what Kubernetes puts
/// into each, and Helm's note of the chart that has the definitions.
async fn left(site: &Site<'_>, before: &BTreeSet<String>) -> Result<Vec<String>> {
    let of_namespace = [
        format!("Namespace//{SYSTEM}"),
        format!("ServiceAccount/{SYSTEM}/default"),
        format!("ConfigMap/{SYSTEM}/kube-root-ca.crt"),
    ];
    let note = format!("Secret/{SYSTEM}/sh.helm.release.v1.tcpforward-crds.");
    let mut left = inventory(site).await?;
    left.retain(|object| {
        !before.contains(object) && !of_namespace.contains(object) && !object.starts_with(&note)
    });
    Ok(left.into_iter().collect())
}

/// Every object of the cluster, as KIND/NAMESPACE/NAME.
pub(super) async fn inventory(site: &Site<'_>) -> Result<BTreeSet<String>> {
    let kinds = ["api-resources", "--verbs=list", "-o", "name"];
    let kinds = site.kubectl(&kinds).await?;
    let lasting = kinds.lines().filter(|kind| !FLEETING.contains(kind));
    let kinds = lasting.collect::<Vec<_>>().join(",");
    let each = "{.kind}/{.metadata.namespace}/{.metadata.name}";
    let template = format!("-o=jsonpath={{range .items[*]}}{each}{{\"\\n\"}}{{end}}");
    let all = site.kubectl(&["get", "-A", &kinds, &template]).await?;
    Ok(all.lines().map(str::to_owned).collect())
}
