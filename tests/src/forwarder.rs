//! Edge. `tcpforward run` over manifests of the test, and the text of such manifests.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::client;
use crate::eventually::eventually;
use crate::lab::Lab;
use crate::ports;
use crate::process::{Process, Program};
use crate::programs;

/// A program needs a moment to start on a busy machine.
const START: Duration = Duration::from_secs(20);

/// A running `tcpforward run` with one manifest.
#[derive(Debug)]
pub struct Forwarder {
    /// The program.
    pub process: Process,
    /// Where its pages are.
    pub admin: SocketAddr,
    manifest: PathBuf,
}

impl Forwarder {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It ends, or isn't ready in time.
    pub async fn start(lab: &Lab, manifest: &str, options: &[&str]) -> Result<Self> {
        let admin = ports::free()?;
        Self::start_at(lab, admin, manifest, options).await
    }

    /// The same with the address of its pages given.
    ///
    /// # Errors
    /// It ends, or isn't ready in time.
    pub async fn start_at(
        lab: &Lab,
        admin: SocketAddr,
        manifest: &str,
        options: &[&str],
    ) -> Result<Self> {
        let program = programs::tcpforward()?.args(["run", "--admin", &admin.to_string()]);
        Self::start_as(lab, admin, manifest, |path| program.args(options).arg(path)).await
    }

    /// The same with few descriptors.
    ///
    /// # Errors
    /// It ends, or isn't ready in time.
    pub async fn start_with_descriptors(lab: &Lab, limit: u32, manifest: &str) -> Result<Self> {
        let admin = ports::free()?;
        let program = programs::tcpforward()?.args(["run", "--admin", &admin.to_string()]);
        let limited = |path| program.arg(path).with_descriptors(limit);
        Self::start_as(lab, admin, manifest, limited).await
    }

    /// The same by a program that is made of the manifest's path.
    ///
    /// # Errors
    /// It ends, or isn't ready in time.
    pub async fn start_as(
        lab: &Lab,
        admin: SocketAddr,
        manifest: &str,
        program: impl FnOnce(PathBuf) -> Program,
    ) -> Result<Self> {
        // A folder for each forwarder of a test: a shared file would be an edit of the other's.
        let path = lab.file(&format!("{}/forwards.yaml", admin.port()), manifest)?;
        let name = format!("tcpforward-{}", admin.port());
        let process = lab.start(&name, &program(path.clone()))?;
        let forwarder = Self {
            process,
            admin,
            manifest: path,
        };
        eventually("the forwarder to be ready", START, async || {
            let ready = client::get(admin, "/readyz").await?;
            ensure!(ready.status == 200, "{}", ready.body);
            Ok(())
        })
        .await?;
        Ok(forwarder)
    }

    /// Saves another manifest, as an editor does: beside, then renamed.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn edit(&self, manifest: &str) -> Result<()> {
        let fresh = self.manifest.with_extension("new");
        fs::write(&fresh, manifest)?;
        Ok(fs::rename(fresh, &self.manifest)?)
    }

    /// The file that it reads.
    #[must_use]
    pub fn manifest(&self) -> &Path {
        &self.manifest
    }

    /// Waits until `/debug/forwards` satisfies `text`.
    ///
    /// # Errors
    /// It doesn't in time.
    pub async fn shows(&self, text: &str, deadline: Duration) -> Result<()> {
        let what = format!("/debug/forwards to show {text:?}");
        eventually(&what, deadline, async || {
            let page = client::get(self.admin, "/debug/forwards").await?.body;
            ensure!(page.contains(text), "{page}");
            Ok(())
        })
        .await
    }
}

/// The text of a TcpForward that listens on `port` of 127.0.0.1; `targets` are lines of YAML from
/// [`target`], `more` further fields of its spec.
#[must_use]
pub fn manifest(name: &str, port: u16, targets: &[String], more: &str) -> String {
    let targets = targets.concat();
    format!(
        "apiVersion: tcpforward.dev/v1alpha1\nkind: TcpForward\nmetadata: {{name: {name}}}\nspec:\n  \
         listener: {{port: {port}}}\n{more}  relay:\n    dial: {{timeout: 300ms, deadline: 3s}}\n    \
         targets:\n{targets}---\n"
    )
}

/// One target, an address; `more` further fields, each with a comma in front.
#[must_use]
pub fn target(name: &str, address: SocketAddr, more: &str) -> String {
    let (host, port) = (address.ip(), address.port());
    format!("    - {{name: {name}, address: {{host: \"{host}\", port: {port}}}{more}}}\n")
}
