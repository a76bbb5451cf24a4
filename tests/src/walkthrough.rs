//! Edge. Runs the commands of a page for people as a reader of it would.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::client;
use crate::cluster::Cluster;
use crate::eventually::eventually;
use crate::lab::Lab;
use crate::process::{Process, Program};
use crate::programs::{self, workspace_root};

/// From a start to an answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// One command line, by what it takes to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `helm …` in the cluster of the walkthrough.
    Helm(Vec<String>),
    /// `kubectl …` in the cluster of the walkthrough.
    Kubectl(Vec<String>),
    /// `make run`, but with the programs under test: it goes on until the walkthrough ends.
    Quickstart,
    /// `curl` or a loop over it.
    Shell(String),
    /// `operator …` or `dataplane …`, in the background.
    Start(&'static str, Vec<String>),
    /// `target/release/tcpforward …`, to its end.
    Tcpforward(Vec<String>),
}

impl Step {
    /// Reads a command line.
    ///
    /// # Errors
    /// No test knows how to run it.
    pub fn read(line: &str) -> Result<Self> {
        let mut words = line.split_whitespace().map(ToOwned::to_owned);
        let program = words.next().context("an empty line")?;
        Ok(match program.as_str() {
            "helm" => Self::Helm(words.collect()),
            "kubectl" => Self::Kubectl(words.collect()),
            "make" if line == "make run" => Self::Quickstart,
            "for" | "curl" => Self::Shell(line.to_owned()),
            "operator" => Self::Start("operator", words.collect()),
            "dataplane" => Self::Start("dataplane", words.collect()),
            "target/release/tcpforward" => Self::Tcpforward(words.collect()),
            _ => bail!("no test runs {line:?}"),
        })
    }
}

/// What the commands so far have started.
#[derive(Debug)]
pub struct Walkthrough<'a> {
    lab: &'a Lab,
    cluster: Option<&'a Cluster>,
    started: Vec<Process>,
}

impl<'a> Walkthrough<'a> {
    /// Nothing was run yet. Without a cluster, `kubectl` and what needs it fail.
    #[must_use]
    pub fn new(lab: &'a Lab, cluster: Option<&'a Cluster>) -> Self {
        Self {
            lab,
            cluster,
            started: Vec::new(),
        }
    }

    /// Runs one command line and returns what it printed.
    ///
    /// # Errors
    /// It fails, or a program that was started before has ended.
    pub async fn run(&mut self, line: &str) -> Result<String> {
        let ran = self.step(Step::read(line)?).await;
        let printed = ran.with_context(|| line.to_owned())?;
        for process in &mut self.started {
            let ended = process.ended()?;
            ensure!(ended.is_none(), "ended too soon: {process:?}");
        }
        Ok(printed)
    }

    async fn step(&mut self, step: Step) -> Result<String> {
        match step {
            Step::Helm(arguments) => {
                let helm = programs::helm()?
                    .folder(workspace_root())
                    .env("KUBECONFIG", self.cluster()?.kubeconfig())
                    .env("HOME", self.lab.folder())
                    .args(arguments);
                self.lab.output(&helm).await
            }
            Step::Kubectl(arguments) => {
                let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
                self.cluster()?.kubectl(self.lab, &arguments).await
            }
            Step::Quickstart => {
                self.started.push(quickstart(self.lab).await?);
                Ok(String::new())
            }
            Step::Shell(line) => {
                let bash = Program::new("bash").args(["-euo", "pipefail", "-c", &line]);
                self.lab.output(&bash.folder(workspace_root())).await
            }
            Step::Start(name, arguments) => {
                let program = match name {
                    "operator" => programs::operator()?,
                    _ => programs::dataplane()?,
                };
                let program = program
                    .args(arguments)
                    .env("KUBECONFIG", self.cluster()?.kubeconfig());
                self.started.push(self.lab.start(name, &program)?);
                Ok(String::new())
            }
            Step::Tcpforward(arguments) => {
                let program = programs::tcpforward()?.args(arguments);
                self.lab.output(&program.folder(workspace_root())).await
            }
        }
    }

    fn cluster(&self) -> Result<&'a Cluster> {
        self.cluster.context("this walkthrough has no cluster")
    }
}

/// Starts what `make run` starts, with the program under test, and waits until all of it answers.
/// It takes fixed ports: only for a namespace of the test's own.
///
/// # Errors
/// It doesn't answer in time.
pub async fn quickstart(lab: &Lab) -> Result<Process> {
    let dry_run = Program::new("make").args(["--dry-run", "run"]);
    let recipe = lab.output(&dry_run.folder(workspace_root())).await?;
    let script = recipe.lines().last().unwrap_or_default();
    ensure!(
        Path::new(script) == Path::new("./examples/quickstart.sh"),
        "`make run` ends with {script:?}"
    );
    let program = Program::new(workspace_root().join(script))
        .env("TCPFORWARD", programs::tcpforward()?.path())
        .contained();
    let mut process = lab.start("quickstart", &program)?;
    // A proxy says that a GET is none of its business.
    for (port, status) in [
        (9001, 200),
        (9002, 200),
        (9003, 200),
        (8888, 200),
        (8080, 405),
    ] {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        eventually("the quickstart to answer", DEADLINE, async || {
            if let Some(status) = process.ended()? {
                bail!("the quickstart ended: {status}");
            }
            let answer = client::get(address, "/").await?;
            ensure!(answer.status == status, "{answer:?}");
            Ok(())
        })
        .await?;
    }
    Ok(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_run_is_read() {
        let arguments = vec!["get".to_owned(), "tcpf".to_owned()];
        let step = Step::read("kubectl get tcpf").unwrap();
        assert_eq!(step, Step::Kubectl(arguments));
        assert_eq!(Step::read("make run").unwrap(), Step::Quickstart);
        assert!(Step::read("make coffee").is_err());
        assert!(Step::read("rm -rf x").is_err());
    }
}
