//! Edge. Where the programs under test are.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};

use crate::lab::Lab;
use crate::process::Program;

/// The control plane.
///
/// # Errors
/// It isn't built.
pub fn operator() -> Result<Program> {
    ours("tcpforward-operator", "operator")
}

/// The forwarder.
///
/// # Errors
/// It isn't built.
pub fn dataplane() -> Result<Program> {
    ours("tcpforward-dataplane", "dataplane")
}

/// The command.
///
/// # Errors
/// It isn't built.
pub fn tcpforward() -> Result<Program> {
    ours("tcpforward", "tcpforward")
}

/// A program of the workspace: beside this one, which is a program too or a test in deps/.
fn ours(package: &str, name: &str) -> Result<Program> {
    let this = std::env::current_exe()?;
    let folder = this.parent().context("a program lies in a folder")?;
    let target = match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().context("deps/ lies in a folder")?,
        _ => folder,
    };
    let path = target.join(name);
    ensure!(
        path.is_file(),
        "{} is missing: build it with `cargo build -p {package} --bin {name}`, all of them with `make programs`",
        path.display()
    );
    Ok(Program::new(path))
}

/// One of the programs that `tests/cluster/build.sh` puts into one binary: `etcd`, `kubectl`,
/// `kubelet` and those whose names begin with `kube-`. etcd and kube-apiserver come from
/// `KUBEBUILDER_ASSETS` if that is set.
///
/// # Errors
/// It can't be built.
pub fn kubernetes(name: &str) -> Result<Program> {
    if let Some(path) = prebuilt(name, std::env::var_os("KUBEBUILDER_ASSETS"))? {
        return Ok(Program::new(path));
    }
    static KUBE: Built = Built::new();
    Ok(Program::new(built(&KUBE, "build.sh")?).arg(name))
}

/// One of the programs that `tests/cluster/nodes.sh` builds for nodes: `containerd`, `ctr`, `coredns`.
///
/// # Errors
/// It can't be built.
pub fn of_nodes(name: &str) -> Result<Program> {
    static FOLDER: Built = Built::new();
    let folder = built(&FOLDER, "nodes.sh")?;
    // containerd looks for its shim on the PATH.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(folder.clone()).chain(std::env::split_paths(&path));
    Ok(Program::new(folder.join(name)).env("PATH", std::env::join_paths(paths)?))
}

/// Helm.
///
/// # Errors
/// It can't be built.
pub fn helm() -> Result<Program> {
    static HELM: Built = Built::new();
    Ok(Program::new(built(&HELM, "helm.sh")?))
}

/// etcd and kube-apiserver of `KUBEBUILDER_ASSETS`; kubectl is never the machine's own.
fn prebuilt(name: &str, assets: Option<OsString>) -> Result<Option<PathBuf>> {
    let (Some(folder), "etcd" | "kube-apiserver") = (assets, name) else {
        return Ok(None);
    };
    let path = PathBuf::from(folder).join(name);
    let there = path.is_file();
    ensure!(
        there,
        "KUBEBUILDER_ASSETS is set, but {} is missing",
        path.display()
    );
    Ok(Some(path))
}

/// What a script of `tests/cluster` printed: where that is which it built.
type Built = OnceLock<Result<PathBuf, String>>;

fn built(once: &'static Built, script: &str) -> Result<PathBuf> {
    let path = once.get_or_init(|| build(script).map_err(|error| format!("{error:#}")));
    path.clone().map_err(|text| anyhow!("{text}"))
}

fn build(script: &str) -> Result<PathBuf> {
    let path = workspace_root().join("tests/cluster").join(script);
    let output = Command::new(&path)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("can't run {}", path.display()))?;
    ensure!(output.status.success(), "tests/cluster/{script} failed");
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim_end()))
}

/// The tests of `tests/nettest`, built into the folder of a lab.
///
/// # Errors
/// Go is missing, or they don't build.
pub fn nettest(lab: &Lab) -> Result<Program> {
    built_by_go(lab, "tests/nettest", &["test", "-c"], ".")
}

/// `tests/clients/fetch.go`, built into the folder of a lab.
///
/// # Errors
/// Go is missing, or it doesn't build.
pub fn fetch(lab: &Lab) -> Result<Program> {
    built_by_go(lab, "tests/clients", &["build"], "fetch.go")
}

/// `tests/pod`, built into the folder of a lab: it needs nothing else, so it runs in empty images.
///
/// # Errors
/// Go is missing, or it doesn't build.
pub fn pod(lab: &Lab) -> Result<Program> {
    built_by_go(lab, "tests/pod", &["build"], ".")
}

/// What `go COMMAND WHAT` makes in a folder of the repository, built into the folder of a lab.
///
/// # Errors
/// Go is missing, or it doesn't build.
pub fn built_by_go(lab: &Lab, folder: &str, command: &[&str], what: &str) -> Result<Program> {
    let name = folder.replace('/', "-");
    let path = lab.folder().join(format!("{name}.built"));
    // With the environment of the test: it says where Go's caches are.
    let output = Command::new("go")
        .args(command)
        .arg("-o")
        .args([path.as_os_str(), what.as_ref()])
        .current_dir(workspace_root().join(folder))
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .output()
        .context("can't run `go`: install it with `apt-get install golang-go` (1.21 or newer)")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "go {command:?}: {error}");
    Ok(Program::new(path))
}

/// The folder that holds the repository.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let crate_folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().map(Into::into).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prebuilt_servers_are_used_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let assets = || Some(folder.path().as_os_str().to_owned());
        std::fs::write(folder.path().join("etcd"), "").unwrap();
        std::fs::write(folder.path().join("kubectl"), "").unwrap();
        assert_eq!(
            prebuilt("etcd", assets()).unwrap(),
            Some(folder.path().join("etcd"))
        );
        assert_eq!(prebuilt("etcd", None).unwrap(), None);
        assert_eq!(prebuilt("kubectl", assets()).unwrap(), None);
        let missing = prebuilt("kube-apiserver", assets())
            .unwrap_err()
            .to_string();
        assert!(missing.contains("kube-apiserver is missing"), "{missing}");
    }
}
