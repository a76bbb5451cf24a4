//! Edge. A cluster as any user of a kubeconfig reaches it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::lab::Lab;
use crate::process::Program;
use crate::programs;

/// Of one command.
const COMMAND_DEADLINE: Duration = Duration::from_secs(180);

/// A kubeconfig, and programs that use it.
#[derive(Debug)]
pub struct Access {
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Access {
    /// By that file.
    #[must_use]
    pub fn new(lab: &Lab, kubeconfig: &Path) -> Self {
        Self {
            kubeconfig: kubeconfig.to_owned(),
            // Where programs keep what the API server offers.
            home: lab.folder().to_owned(),
        }
    }

    /// The file.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A new client with its rights.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn client(&self) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        Ok(Client::try_from(config)?)
    }

    /// Runs kubectl in the repository's folder and returns what it prints.
    ///
    /// # Errors
    /// It fails; the message is what it wrote to standard error.
    pub async fn kubectl(&self, lab: &Lab, arguments: &[&str]) -> Result<String> {
        let kubectl = programs::kubernetes("kubectl")?.args(arguments.iter().copied());
        let what = format!("kubectl {}", arguments.join(" "));
        self.output(lab, kubectl).await.context(what)
    }

    /// Runs any program that takes `KUBECONFIG`, in the repository's folder, and returns what it prints.
    ///
    /// # Errors
    /// It fails; the message is what it wrote to standard error.
    pub async fn output(&self, lab: &Lab, program: Program) -> Result<String> {
        let program = program
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .folder(programs::workspace_root());
        tokio::time::timeout(COMMAND_DEADLINE, lab.output(&program))
            .await
            .with_context(|| format!("no end within {COMMAND_DEADLINE:?}"))
            .flatten()
    }
}
