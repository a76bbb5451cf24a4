//! Who may depend on whom.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tcpforward_tests::programs::workspace_root;

use crate::assert_none;

/// Crates of ours that a crate of ours may use. A new arrow is a change of the design: it stands in
/// ARCHITECTURE.md in the same commit.
const ARROWS: [(&str, &[&str]); 7] = [
    ("tcpforward-protocol", &[]),
    ("tcpforward-process", &[]),
    (
        "tcpforward-operator",
        &["tcpforward-process", "tcpforward-protocol"],
    ),
    (
        "tcpforward-dataplane",
        &["tcpforward-process", "tcpforward-protocol"],
    ),
    (
        "tcpforward",
        &[
            "tcpforward-dataplane",
            "tcpforward-operator",
            "tcpforward-process",
            "tcpforward-protocol",
        ],
    ),
    (
        "tcpforward-tests",
        &[
            "tcpforward-dataplane",
            "tcpforward-operator",
            "tcpforward-process",
            "tcpforward-protocol",
        ],
    ),
    ("tcpforward-bench", &["tcpforward-tests"]),
];

#[test]
fn crates_of_ours_use_each_other_only_as_drawn() -> Result<()> {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version=1"])?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let allowed: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().context("packages")? {
        let name = package["name"].as_str().context("a name")?;
        let Some(allowed) = allowed.get(name) else {
            findings.push(format!("{name} has no row in ARROWS"));
            continue;
        };
        for dependency in package["dependencies"].as_array().context("dependencies")? {
            let used = dependency["name"].as_str().context("a name")?;
            let is_ours = used.starts_with("tcpforward") && used != name;
            if is_ours && !allowed.contains(&used) {
                findings.push(format!("{name} uses {used}"));
            }
        }
    }
    assert_none("a crate uses another one that it may not know", &findings);
    Ok(())
}

#[test]
fn the_data_plane_knows_no_kubernetes() -> Result<()> {
    let used = tree("tcpforward-dataplane")?;
    let kubernetes = |name: &&String| name.starts_with("kube") || name.starts_with("k8s");
    let findings: Vec<_> = used.iter().filter(kubernetes).cloned().collect();
    assert_none("the data plane must not depend on", &findings);
    Ok(())
}

#[test]
fn the_protocol_without_features_does_no_io() -> Result<()> {
    let used = tree("tcpforward-protocol")?;
    let io = [
        "hyper", "kube", "mio", "socket2", "tokio", "tonic", "tracing",
    ];
    let found = io.iter().filter(|&&name| used.contains(name));
    let findings: Vec<_> = found.map(|&name| name.to_owned()).collect();
    assert_none("the protocol must not depend on", &findings);
    Ok(())
}

/// Names of all crates that end up in a package.
fn tree(package: &str) -> Result<BTreeSet<String>> {
    let tree = cargo(&[
        "tree",
        "--package",
        package,
        "--edges=normal",
        "--prefix=none",
    ])?;
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    Ok(names.map(ToOwned::to_owned).collect())
}

fn cargo(arguments: &[&str]) -> Result<String> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--offline"])
        .current_dir(workspace_root())
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo {arguments:?}: {error}");
    Ok(String::from_utf8(output.stdout)?)
}
