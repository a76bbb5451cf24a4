//! Edge. The suite of level 5: what users are promised, in a cluster with our image and our chart.
//!
//! It takes any cluster by its kubeconfig, with two nodes and the images in place. What only a lab can
//! do, such as ending a node, is left out where there is none.

mod backends;
mod balance;
mod client;
mod examples;
mod faults;
mod forwards;
mod grants;
mod install;
mod leave;
mod planes;
mod rights;
mod site;
mod upgrade;

use anyhow::{Result, ensure};
use tokio::time::Instant;

use crate::cluster::nodes::Nodes;
use crate::e2e::client::Client;
pub use crate::e2e::site::Site;

/// The operator's user.
pub const OPERATOR: &str = "system:serviceaccount:tcpforward-system:tcpforward-operator";

/// Does all of it; with `nodes`, what only a lab can do as well.
///
/// # Errors
/// Names the steps that failed; each has said why.
pub async fn run(site: &Site<'_>, mut nodes: Option<&mut Nodes>) -> Result<()> {
    let before = leave::inventory(site).await?;
    install::by_readme(site).await?;
    install::prepare(site).await?;
    let clients = Client::both(site).await?;
    let mut steps = Steps::default();
    traffic(&mut steps, site, &clients).await;
    if let Some(nodes) = nodes.as_deref_mut() {
        deaths(&mut steps, site, &clients, nodes).await;
    }
    changes(&mut steps, site, &clients).await;
    if let Some(nodes) = nodes {
        let exact = rights::are_exact(site, &nodes.cluster, OPERATOR);
        steps.step("rights are exact", exact).await;
    }
    let gone = leave::product(site, &before);
    steps.step("nothing is left", gone).await;
    steps.end()
}

async fn traffic(steps: &mut Steps, site: &Site<'_>, clients: &[Client<'_>; 2]) {
    let [client, _] = clients;
    let equal = balance::shares(site, client);
    steps.step("backends get equal shares", equal).await;
    let near = balance::zones(site, client);
    steps.step("the own zone is preferred", near).await;
    let scaled = balance::scale(site, client);
    steps.step("backends are scaled under load", scaled).await;
    let replaced = balance::rollout(site, client);
    steps
        .step("backends are replaced under load", replaced)
        .await;
    let replaced = planes::rollout(site, clients);
    steps
        .step("data planes are replaced under sessions", replaced)
        .await;
    let gone = leave::namespace(site, client);
    steps.step("a namespace is deleted", gone).await;
    let granted = grants::another_namespace(site, client);
    steps.step("another namespace grants", granted).await;
    let examples = examples::all(site, client);
    steps.step("every example works", examples).await;
}

async fn deaths(steps: &mut Steps, site: &Site<'_>, clients: &[Client<'_>; 2], nodes: &mut Nodes) {
    let [client, _] = clients;
    let dead = faults::backend(site, client, nodes);
    steps.step("kill -9 of a backend", dead).await;
    let dead = faults::data_plane(site, client, nodes);
    steps.step("kill -9 of a data plane", dead).await;
    let dead = faults::holder(site, client, nodes);
    steps.step("kill -9 of the lease holder", dead).await;
    let dead = faults::node(site, clients, nodes);
    steps.step("a node loses its power", dead).await;
}

async fn changes(steps: &mut Steps, site: &Site<'_>, clients: &[Client<'_>; 2]) {
    // Not the first one: its node tracks connections to a data plane that died with the other node, for
    // two minutes, and sends a new one from the same port after them.
    let [_, client] = clients;
    let tested = install::helm_test(site);
    steps.step("helm test", tested).await;
    let upgraded = upgrade::by_page(site, client);
    steps.step("an upgrade by the page", upgraded).await;
    let anew = upgrade::certificates(site, client);
    steps.step("certificates are made anew", anew).await;
}

/// Steps that are tried one after another, whatever became of those before.
#[derive(Debug, Default)]
struct Steps {
    failed: Vec<String>,
}

impl Steps {
    async fn step(&mut self, name: &str, step: impl Future<Output = Result<()>>) {
        let start = Instant::now();
        let result = step.await;
        let took = start.elapsed().as_secs();
        match result {
            Ok(()) => println!("e2e: {name}: ok ({took} s)"),
            Err(error) => {
                println!("e2e: {name}: FAILED ({took} s): {error:#}");
                self.failed.push(name.to_owned());
            }
        }
    }

    fn end(self) -> Result<()> {
        ensure!(self.failed.is_empty(), "failed: {}", self.failed.join(", "));
        Ok(())
    }
}
