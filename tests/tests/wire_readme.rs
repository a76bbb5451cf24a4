//! README.md works as it is written: every command that needs no cluster is run.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Result, ensure};
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::programs::workspace_root;
use tcpforward_tests::repository::commands;
use tcpforward_tests::walkthrough::{Step, Walkthrough};

#[test]
fn the_commands_without_a_cluster_work() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let readme = fs::read_to_string(workspace_root().join("README.md"))?;
        let mut walkthrough = Walkthrough::new(lab, None);
        for block in commands(&readme) {
            if block.needs_cluster() {
                continue;
            }
            for line in &block.lines {
                let printed = walkthrough.run(line).await?;
                if line.contains("127.0.0.1:9002") {
                    ensure!(printed == "server-2\n", "{line}: {printed}");
                }
                if let Step::Shell(line) = Step::read(line)?
                    && line.starts_with("for ")
                {
                    let names: BTreeSet<_> = printed.lines().collect();
                    ensure!(names.len() == 3, "three names in turn: {printed}");
                }
            }
        }
        Ok(())
    })
}
