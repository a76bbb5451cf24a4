//! A real API server and our own validation say the same of every TcpForward and DataPlane: the verdict, and the
//! field that it is about.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use kube::Client;
use serde_json::Value;
use tcpforward_operator::manifest;
use tcpforward_tests::cluster::{Cluster, Controllers};
use tcpforward_tests::fixtures::{mk_address_target, mk_forward};
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::programs::{self, workspace_root};

const CASES: &str = "operator/testdata/admit";

/// What somebody says of a manifest: accepted, or the first field that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Refused(String),
}

#[test]
fn check_and_the_api_server_agree_on_every_case() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let cluster = Cluster::start(lab, Controllers::Absent).await?;
        cluster.install_crds(lab).await?;
        let client = cluster.client().await?;
        let mut findings = Vec::new();
        let cases = cases()?;
        for (path, text) in &cases {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let expected = expected(text).with_context(|| name.clone().into_owned())?;
            let server = asked(&client, text).await?;
            let ours = ours(text);
            if server != expected || ours != expected {
                findings.push(format!(
                    "{name}: expected {expected:?}, API server {server:?}, check {ours:?}"
                ));
            }
            let check = programs::tcpforward()?.arg("check").arg(path);
            let checked = lab.output(&check).await;
            if checked.is_ok() != (expected == Verdict::Accepted) {
                findings.push(format!("{name}: `tcpforward check` says {checked:?}"));
            }
        }
        ensure!(findings.is_empty(), "\n{}", findings.join("\n"));
        ensure!(cases.len() >= 30, "only {} cases in {CASES}", cases.len());
        Ok(())
    })
}

fn cases() -> Result<Vec<(PathBuf, String)>> {
    let folder = workspace_root().join(CASES);
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        paths.push(entry?.path());
    }
    paths.sort();
    let read = |path: PathBuf| Ok((path.clone(), fs::read_to_string(path)?));
    paths.into_iter().map(read).collect()
}

/// The first line of a case: `# accepted` or `# refused: spec.listener.port`.
fn expected(text: &str) -> Result<Verdict> {
    let line = text.lines().next().unwrap_or_default();
    if line == "# accepted" {
        return Ok(Verdict::Accepted);
    }
    let field = line.strip_prefix("# refused: ");
    let field = field.context("the first line is `# accepted` or `# refused: FIELD`")?;
    Ok(Verdict::Refused(field.to_owned()))
}

fn ours(text: &str) -> Verdict {
    let parsed = manifest::parse("case.yaml", text);
    match parsed.findings.into_iter().next() {
        Some(finding) => Verdict::Refused(finding.field),
        None => Verdict::Accepted,
    }
}

/// What the API server would do with the text as it stands, unknown and doubled fields refused.
async fn asked(client: &Client, text: &str) -> Result<Verdict> {
    let objects = match text.contains("\nkind: DataPlane\n") {
        true => "dataplanes",
        false => "namespaces/default/tcpforwards",
    };
    let uri = format!("/apis/tcpforward.dev/v1alpha1/{objects}?dryRun=All&fieldValidation=Strict");
    let request = http::Request::post(uri)
        .header("Content-Type", "application/yaml")
        .body(text.as_bytes().to_vec())?;
    let status = match client.request::<Value>(request).await {
        Ok(_) => return Ok(Verdict::Accepted),
        Err(kube::Error::Api(status)) => status,
        Err(error) => bail!(error),
    };
    let causes = status.details.as_ref().map_or(&[][..], |d| &d.causes);
    if let Some(cause) = causes.first() {
        return Ok(Verdict::Refused(cause.field.clone()));
    }
    let field = decoding_error(&status.message).with_context(|| format!("{status:?}"))?;
    Ok(Verdict::Refused(field))
}

/// The field in `strict decoding error: unknown field "spec.x"`.
fn decoding_error(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("field \"")?;
    Some(rest.split_once('"')?.0.to_owned())
}

#[test]
fn the_defaults_of_this_version_are_these() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let cluster = Cluster::start(lab, Controllers::Absent).await?;
        cluster.install_crds(lab).await?;
        let target = mk_address_target("a", "172.16.100.101:80".parse()?);
        let written = mk_forward("default", "web", 8888, &[target]);
        let path = lab.file("web.json", written.to_string())?;
        let path = path.to_string_lossy();
        let stored = ["create", "-f", &path, "-o", "json"];
        let stored: Value = serde_json::from_str(&cluster.kubectl(lab, &stored).await?)?;
        let mut expected = written["spec"].clone();
        expected["dataPlaneName"] = "default".into();
        ensure!(stored["spec"] == expected, "{stored:#}");

        let columns = cluster.kubectl(lab, &["get", "tcpf"]).await?;
        for column in ["PORT", "ADDRESS", "BACKENDS", "READY", "REASON", "AGE"] {
            ensure!(columns.contains(column), "no {column} in {columns}");
        }
        let explained = ["explain", "tcpforward.spec.relay.targets"];
        let explained = cluster.kubectl(lab, &explained).await?;
        ensure!(explained.contains("weight"), "{explained}");
        ensure!(!explained.contains("<no description>"), "{explained}");
        Ok(())
    })
}

#[test]
fn relay_never_becomes_http_connect() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let cluster = Cluster::start(lab, Controllers::Absent).await?;
        cluster.install_crds(lab).await?;
        let target = mk_address_target("a", "172.16.100.101:80".parse()?);
        let relay = mk_forward("default", "web", 8888, &[target]);
        let mut proxy = relay.clone();
        proxy["spec"] = serde_json::json!({
            "listener": {"port": 8888, "sourceRanges": ["10.0.0.0/8"]},
            "httpConnect": {"rules": [{"name": "all", "action": "Allow"}]},
        });
        let apply = async |manifest: &Value| {
            let path = lab.file("web.json", manifest.to_string())?;
            let arguments = ["apply", "-f", &path.to_string_lossy()];
            cluster.kubectl(lab, &arguments).await
        };
        for (first, then) in [(&relay, &proxy), (&proxy, &relay)] {
            apply(first).await?;
            let said = match apply(then).await {
                Ok(printed) => bail!("it became another kind: {printed}"),
                Err(refused) => format!("{refused:#}"),
            };
            ensure!(said.contains("relay can't become httpConnect"), "{said}");
            cluster.kubectl(lab, &["delete", "tcpf", "web"]).await?;
        }
        Ok(())
    })
}
