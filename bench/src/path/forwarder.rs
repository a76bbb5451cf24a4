//! Edge. A forwarder on one end of a path.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tcpforward_tests::client;
use tcpforward_tests::eventually::eventually;
use tcpforward_tests::forwarder::Forwarder;
use tcpforward_tests::lab::Lab;
use tcpforward_tests::ports;
use tcpforward_tests::process::Program;

use crate::path::place::End;
use crate::path::plan::Controls;
use crate::path::route;
use crate::user::{USER, let_in};

const SOON: Duration = Duration::from_secs(10);

/// Starts it in the namespace of the calling thread, as an ordinary user, and waits until it serves.
///
/// # Errors
/// It doesn't, such as where the kernel refuses the congestion control; the message says that.
pub async fn start(lab: &Lab, ours: &Path, end: End, controls: &Controls) -> Result<Forwarder> {
    let_in(lab)?;
    let admin = ports::free()?;
    let bind = match end {
        End::Near => "127.0.0.1".to_owned(),
        End::Far => end.address().to_string(),
    };
    let program = Program::new(ours)
        .args(["run", "--bind", &bind, "--admin"])
        .arg(admin.to_string());
    let yaml = route::manifest(end, controls);
    let as_user = |manifest| program.arg(manifest).as_user(USER);
    let forwarder = Forwarder::start_as(lab, admin, &yaml, as_user).await?;
    eventually("the forward to be served", SOON, async || {
        let forward = forward(&forwarder).await?;
        let listens = forward.pointer("/listeners/0").is_some();
        let refusal = forward.get("refusal").and_then(Value::as_str);
        ensure!(listens, "{}", refusal.unwrap_or("no listener"));
        Ok(())
    })
    .await?;
    Ok(forwarder)
}

/// What it says of its socket options.
///
/// # Errors
/// It doesn't answer.
pub async fn notes(forwarder: &Forwarder) -> Result<Vec<String>> {
    let forward = forward(forwarder).await?;
    let notes = forward.get("notes").and_then(Value::as_array);
    let notes = notes.into_iter().flatten().filter_map(Value::as_str);
    Ok(notes.map(str::to_owned).collect())
}

/// Ends it.
///
/// # Errors
/// It had ended by itself.
pub fn end(mut forwarder: Forwarder) -> Result<()> {
    let ended = forwarder.process.ended()?;
    ensure!(ended.is_none(), "the forwarder has ended: {ended:?}");
    Ok(())
}

async fn forward(forwarder: &Forwarder) -> Result<Value> {
    let page = client::get(forwarder.admin, "/debug/forwards").await?;
    let page: Value = serde_json::from_str(&page.body)?;
    Ok(page
        .pointer("/forwards/0/dataPlane")
        .cloned()
        .unwrap_or_default())
}
