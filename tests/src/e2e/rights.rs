//! Edge. What the operator may do, by the roles that are bound to it, and what it did, by the API
//! server's audit log of all of the suite.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::audit::{self, Asked};
use crate::chart::list;
use crate::cluster::Cluster;
use crate::e2e::site::{SYSTEM, Site};

/// A verb, a group and a resource.
type Right = (String, String, String);

/// Fails unless the operator used each of its rights and was refused nothing.
pub(super) async fn are_exact(site: &Site<'_>, cluster: &Cluster, account: &str) -> Result<()> {
    let granted = granted(site, account).await?;
    let asked = audit::asked(&cluster.audit()?, account)?;
    // What TcpForwards name is granted by their own namespaces, for as long as these like.
    let ours = |asked: &&Asked| asked.resource != "secrets" || asked.namespace == SYSTEM;
    let asked = asked.iter().filter(ours);
    let (refused, used): (Vec<_>, Vec<_>) = asked.partition(|asked| asked.is_forbidden);
    let used: BTreeSet<Right> = used.into_iter().map(right).collect();
    let without: Vec<_> = used.difference(&granted).collect();
    let idle = granted.difference(&used);
    let idle: Vec<_> = idle.filter(|right| !is_for_a_loss(right)).collect();
    ensure!(
        without.is_empty() && idle.is_empty() && refused.is_empty(),
        "used but not granted: {without:?}; granted but not used: {idle:?}; refused: {refused:?}"
    );
    Ok(())
}

/// The chart makes the Lease and the ConfigMap; the operator makes them anew when they are lost, as
/// `chart_rights` sees it do.
fn is_for_a_loss((verb, _, resource): &Right) -> bool {
    verb == "create" && ["configmaps", "leases"].contains(&resource.as_str())
}

fn right(asked: &Asked) -> Right {
    let Asked {
        verb,
        group,
        resource,
        ..
    } = asked.clone();
    (verb, group, resource)
}

async fn granted(site: &Site<'_>, account: &str) -> Result<BTreeSet<Right>> {
    let mut granted = BTreeSet::new();
    for (bindings, roles) in [
        ("clusterrolebindings", "clusterroles"),
        ("rolebindings", "roles"),
    ] {
        let bindings = all(site, bindings).await?;
        let defined = [all(site, roles).await?, all(site, "clusterroles").await?].concat();
        for binding in bindings.iter().filter(|binding| is_of(binding, account)) {
            for role in defined.iter().filter(|role| is_bound(binding, role)) {
                add_rules(role, &mut granted);
            }
        }
    }
    Ok(granted)
}

async fn all(site: &Site<'_>, kind: &str) -> Result<Vec<Value>> {
    let found = site.kubectl(&["get", kind, "-A", "-o", "json"]).await?;
    let found: Value = serde_json::from_str(&found)?;
    Ok(list(&found, "/items").cloned().collect())
}

fn is_of(binding: &Value, account: &str) -> bool {
    list(binding, "/subjects").any(|subject| {
        let text = |key: &str| subject.get(key).and_then(Value::as_str).unwrap_or_default();
        let name = format!(
            "system:serviceaccount:{}:{}",
            text("namespace"),
            text("name")
        );
        text("kind") == "ServiceAccount" && name == account
    })
}

fn is_bound(binding: &Value, role: &Value) -> bool {
    let same =
        |of_binding: &str, of_role: &str| binding.pointer(of_binding) == role.pointer(of_role);
    let namespaced = binding.pointer("/roleRef/kind").and_then(Value::as_str) == Some("Role");
    same("/roleRef/kind", "/kind")
        && same("/roleRef/name", "/metadata/name")
        && (!namespaced || same("/metadata/namespace", "/metadata/namespace"))
}

fn add_rules(role: &Value, granted: &mut BTreeSet<Right>) {
    for rule in list(role, "/rules") {
        let texts = |key: &str| list(rule, key).filter_map(Value::as_str);
        for group in texts("/apiGroups") {
            for resource in texts("/resources") {
                for verb in texts("/verbs") {
                    granted.insert((verb.to_owned(), group.to_owned(), resource.to_owned()));
                }
            }
        }
    }
}
