use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tcpforward_protocol::version::Version;
use tokio::io::DuplexStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::controller::Forwards;
use crate::manifest::Finding;
use crate::push::fake::DataPlane;
use crate::push::fixtures::hello;

const PATIENCE: Duration = Duration::from_secs(10);

struct Running {
    folder: tempfile::TempDir,
    insight: Insight,
    dial: mpsc::Sender<DuplexStream>,
    findings: mpsc::UnboundedReceiver<Finding>,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), Error>>,
}

/// An operator over a folder with one forward.
fn start(manifest: &str) -> Running {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("web.yaml"), manifest).unwrap();
    let reserved = BTreeMap::from([(9901, "the admin page of this process".to_owned())]);
    let (local, insight) = Local::new(&Registry::new(), reserved).unwrap();
    let (dial, incoming) = mpsc::channel(4);
    let (hear, findings) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let shutdown = stop.clone().cancelled_owned();
    let paths = vec![folder.path().to_owned()];
    let mut tasks = JoinSet::new();
    tasks.spawn(local.run(
        paths,
        incoming,
        move |found| found.iter().for_each(|f| drop(hear.send(f.clone()))),
        shutdown,
    ));
    Running {
        folder,
        insight,
        dial,
        findings,
        stop,
        tasks,
    }
}

fn manifest(port: u16, target: &str) -> String {
    format!(
        "apiVersion: tcpforward.dev/v1alpha1\nkind: TcpForward\nmetadata:\n  name: web\nspec:\n  \
         listener:\n    port: {port}\n  relay:\n    targets:\n    - name: t\n      \
         address:\n        host: {target}\n        port: 80\n"
    )
}

/// Written as an editor does: whole, and renamed over the old one.
fn save(folder: &Path, text: &str) {
    let new = folder.join(".web.yaml.new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, folder.join("web.yaml")).unwrap();
}

fn reason(forwards: &Forwards, type_: &str) -> Option<String> {
    let view = forwards.values().next()?;
    let condition = crate::status::condition(&view.status, type_)?;
    Some(condition.reason.clone())
}

async fn until(running: &Running, type_: &str, wanted: &str) {
    let mut forwards = running.insight.forwards();
    let seen = forwards.wait_for(|f| reason(f, type_).as_deref() == Some(wanted));
    let seen = timeout(PATIENCE, seen).await.map(|view| view.is_ok());
    let last = running.insight.debug_forwards();
    assert_eq!(seen, Ok(true), "{type_} does not become {wanted}: {last:#}");
}

#[tokio::test]
async fn an_edit_of_a_file_reaches_the_data_plane() {
    let mut running = start(&manifest(8001, "127.0.0.1"));
    let mut plane = DataPlane::connect(&running.dial, &hello("u")).await;
    let update = plane.update().await;
    assert_eq!(update.upserts[0].name, "default/web");
    assert_eq!(running.insight.ready(), Ok(()));
    assert_eq!(running.insight.live(), Ok(()));
    let version = Version::try_from(update.version.as_slice()).unwrap();
    plane.ack(update.nonce, version).await;

    save(running.folder.path(), &manifest(8002, "127.0.0.1"));
    let update = plane.update().await;
    let spec = update.upserts[0].spec.clone().unwrap();
    assert_eq!(spec.listener.unwrap().port, 8002);
    assert_eq!(spec.generation, 2);

    save(running.folder.path(), "spec: [");
    let finding = timeout(PATIENCE, running.findings.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(finding.file.ends_with("web.yaml"), "{finding}");
    let page = running.insight.debug_forwards();
    assert_eq!(
        page["forwards"][0]["backends"][0]["address"],
        Value::from("127.0.0.1:80")
    );

    running.stop.cancel();
    let ended = timeout(PATIENCE, running.tasks.join_next()).await;
    ended.expect("it does not end").unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_port_of_the_process_itself_is_refused() {
    let running = start(&manifest(9901, "127.0.0.1"));
    until(&running, "Accepted", "PortUnavailable").await;
}

#[tokio::test]
async fn a_path_that_is_not_there_ends_the_start() {
    let (local, _insight) = Local::new(&Registry::new(), BTreeMap::new()).unwrap();
    let (_dial, incoming) = mpsc::channel(1);
    let paths = vec![PathBuf::from("/nowhere/at/all.yaml")];
    let ended = local.run(paths, incoming, |_| {}, std::future::pending());
    let error = timeout(PATIENCE, ended).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Files(_)), "{error}");
}
