//! README.md works as it is written: every command that needs a cluster, but no nodes, is run in one.

use std::fs;

use anyhow::Result;
use tcpforward_tests::cluster::{Cluster, Controllers};
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::programs::workspace_root;
use tcpforward_tests::repository::commands;
use tcpforward_tests::walkthrough::Walkthrough;

#[test]
fn the_commands_with_a_cluster_work() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let cluster = Cluster::start(lab, Controllers::Run).await?;
        let readme = fs::read_to_string(workspace_root().join("README.md"))?;
        let mut walkthrough = Walkthrough::new(lab, Some(&cluster));
        for block in commands(&readme) {
            if block.needs_cluster() && !block.needs_nodes() {
                for line in &block.lines {
                    walkthrough.run(line).await?;
                }
            }
        }
        Ok(())
    })
}
