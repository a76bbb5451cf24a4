//! `make kind-up kind-test kind-down` call what they should: there is no Docker to see it with.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};
use tcpforward_tests::lab::{self, Lab, Network};
use tcpforward_tests::process::Program;
use tcpforward_tests::programs::workspace_root;

#[test]
fn a_cluster_is_made_used_and_removed() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let calls = make(lab, &["kind-up", "kind-test", "kind-down"], "exit 0").await?;
        assert_eq!(calls, EXPECTED);
        Ok(())
    })
}

#[test]
fn docker_that_does_not_run_is_named() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let refused = make(lab, &["kind-up"], "exit 1").await.unwrap_err();
        let refused = format!("{refused:#}");
        ensure!(refused.contains("docker"), "{refused}");
        let calls = fs::read_to_string(lab.folder().join("calls"))?;
        ensure!(calls == "docker version\n", "{calls}");
        Ok(())
    })
}

/// What `make` calls of programs that only note their calls; Docker then does that.
async fn make(lab: &Lab, targets: &[&str], docker: &str) -> Result<String> {
    let calls = lab.file("calls", "")?;
    for (name, end) in [("cargo", "exit 0"), ("docker", docker), ("kind", "exit 0")] {
        let script = format!(
            "#!/bin/sh\necho \"{name} $*\" >>{}\n{end}\n",
            calls.display()
        );
        let path = lab.file(&format!("bin/{name}"), script)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    let bin = lab.folder().join("bin");
    // The image is made by a test of its own.
    let make = "PATH=\"$0:$PATH\" exec make --no-print-directory --old-file=image \"$@\"";
    let program = Program::new("sh")
        .args(["-c", make])
        .arg(bin)
        .args(targets.iter().copied())
        .folder(workspace_root());
    lab.output(&program).await?;
    Ok(fs::read_to_string(calls)?)
}

const EXPECTED: &str = "\
docker version
kind create cluster --name tcpforward --config tests/kind/cluster.yaml --kubeconfig target/kind.kubeconfig --wait 2m
cargo run --locked --quiet --package tcpforward-tests --bin e2e -- image target/pod.tar
kind load image-archive --name tcpforward target/image/tcpforward.tar target/pod.tar
cargo run --locked --quiet --package tcpforward-tests --bin e2e -- run target/kind.kubeconfig
kind delete cluster --name tcpforward --kubeconfig target/kind.kubeconfig
";
