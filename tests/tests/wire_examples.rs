//! Every example for a laptop works as it says: one forwarder over all of them, and each command of
//! each one's first lines.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tcpforward_tests::client;
use tcpforward_tests::echo::{Behaviour, Server};
use tcpforward_tests::eventually::eventually;
use tcpforward_tests::lab::{self, Lab, Network};
use tcpforward_tests::process::Program;
use tcpforward_tests::programs::{self, workspace_root};

const FOLDER: &str = "examples/local";

/// All of them at once, on a busy machine.
const START: Duration = Duration::from_secs(30);

#[test]
fn every_local_example_does_what_it_says() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let mut servers = Vec::new();
        for i in 1..=3 {
            let (address, name) = (format!("127.0.0.1:900{i}"), format!("server-{i}"));
            servers.push(Server::start(&address, Behaviour::Http(name)).await?);
        }
        let by_ipv6 = Behaviour::Http("server-1".to_owned());
        servers.push(Server::start("[::1]:9001", by_ipv6).await?);
        let program = programs::tcpforward()?.args(["run", FOLDER]);
        let _forwarder = lab.start("tcpforward", &program.folder(workspace_root()))?;
        eventually("every example to be ready", START, all_ready).await?;
        let examples = examples()?;
        for (path, text) in &examples {
            let name = path.display().to_string();
            let commands = commands(text);
            ensure!(!commands.is_empty(), "{name} says no command to try");
            for command in commands {
                let printed = run(lab, command).await.context(name.clone())?;
                let mut lines = printed.lines();
                let answers = lines.all(|line| line.starts_with("server-"));
                ensure!(
                    answers && !printed.is_empty(),
                    "{name}: {command}: {printed}"
                );
            }
        }
        Ok(())
    })
}

async fn all_ready() -> Result<()> {
    let page = client::get("127.0.0.1:9901".parse()?, "/debug/forwards").await?;
    let page: Value = serde_json::from_str(&page.body)?;
    let forwards = page.pointer("/forwards").and_then(Value::as_array);
    let forwards = forwards.context("a list of forwards")?;
    ensure!(forwards.len() == examples()?.len(), "{}", forwards.len());
    for forward in forwards {
        let conditions = forward.pointer("/status/conditions");
        let conditions = conditions.and_then(Value::as_array);
        let says = |condition: &&Value, key: &str, text: &str| {
            condition.get(key).and_then(Value::as_str) == Some(text)
        };
        let mut conditions = conditions.into_iter().flatten();
        let ready = conditions.find(|condition| says(condition, "type", "Ready"));
        // One shows what is done without a healthy server, so it has to come to that first.
        let name = forward.get("name").and_then(Value::as_str);
        let is_right = ready.is_some_and(|ready| match name {
            Some("local-try-all") => says(&ready, "reason", "NoHealthyBackend"),
            _ => says(&ready, "status", "True"),
        });
        ensure!(is_right, "{name:?}: {ready:?}");
    }
    Ok(())
}

fn examples() -> Result<Vec<(PathBuf, String)>> {
    let mut examples = Vec::new();
    for entry in fs::read_dir(workspace_root().join(FOLDER))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        examples.push((path, text));
    }
    Ok(examples)
}

/// The commands of its first lines that talk to it.
fn commands(text: &str) -> Vec<&str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("#   "));
    lines
        .filter(|line| line.starts_with("curl ") || line.starts_with("for "))
        .collect()
}

async fn run(lab: &Lab, command: &str) -> Result<String> {
    let command = command.replace("curl ", "curl --silent --show-error --max-time 10 ");
    let bash = Program::new("bash").args(["-euo", "pipefail", "-c", &command]);
    lab.output(&bash).await
}
