//! Edge. Pods that connect to others, and what came of it: `tests/pod`, asked by the API server's proxy.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::nodes::POD_IMAGE;
use crate::e2e::site::{Site, USERS};
use crate::eventually::eventually;

/// A hundred connections that all wait until they give up would take longer.
const DEADLINE: Duration = Duration::from_secs(120);

/// What came of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// How many had which answer.
    pub(super) answers: BTreeMap<String, u64>,
    /// How many failed, by when and how.
    pub(super) failures: BTreeMap<String, u64>,
    /// The longest time until an answer.
    pub(super) slowest: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered: u64 = self.answers.values().sum();
        write!(
            f,
            "{answered} answers of {}, the slowest after {:?}; failures: {:?}",
            self.answers.len(),
            self.slowest,
            self.failures
        )
    }
}

impl Report {
    fn read(text: &str) -> Result<Self> {
        let report: Value = serde_json::from_str(text).with_context(|| text.to_owned())?;
        let counts = |key: &str| {
            let counts = report.get(key).and_then(Value::as_object);
            let counts = counts.with_context(|| format!("no {key}: {text}"))?;
            let pair = |(name, count): (&String, &Value)| Some((name.clone(), count.as_u64()?));
            Ok::<_, anyhow::Error>(counts.iter().filter_map(pair).collect())
        };
        let slowest = report.get("slowestMs").and_then(Value::as_u64);
        Ok(Self {
            answers: counts("answers")?,
            failures: counts("failures")?,
            slowest: Duration::from_millis(slowest.context("no slowestMs")?),
        })
    }

    /// Fails unless each connection was answered, at least so many of them.
    pub(super) fn flawless(&self, at_least: u64) -> Result<()> {
        let answered: u64 = self.answers.values().sum();
        ensure!(self.failures.is_empty() && answered >= at_least, "{self}");
        Ok(())
    }
}

/// A client pod.
#[derive(Clone)]
pub(super) struct Client<'a> {
    site: &'a Site<'a>,
    name: String,
}

impl<'a> Client<'a> {
    /// Starts one on each node, and waits until both can be asked.
    pub(super) async fn both(site: &'a Site<'a>) -> Result<[Self; 2]> {
        let clients = site.nodes.each_ref().map(|node| Self {
            site,
            name: format!("client-{node}"),
        });
        for (client, node) in clients.iter().zip(&site.nodes) {
            let pod = json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": client.name},
                "spec": {
                    "nodeSelector": {"kubernetes.io/hostname": node},
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "client", "image": POD_IMAGE, "imagePullPolicy": "Never",
                        "args": ["client", ":8080"],
                        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
                    }],
                },
            });
            site.apply(USERS, &pod.to_string()).await?;
        }
        for client in &clients {
            client.ready().await?;
        }
        Ok(clients)
    }

    /// Waits until it can be asked.
    pub(super) async fn ready(&self) -> Result<()> {
        let pod = format!("pod/{}", self.name);
        let wait = [
            "wait",
            "-n",
            USERS,
            "--for=condition=Ready",
            "--timeout=60s",
            &pod,
        ];
        self.site.kubectl(&wait).await.map(drop)
    }

    /// Fetches `n` pages one after another.
    pub(super) async fn fetch(&self, to: &str, n: u32) -> Result<Report> {
        Report::read(&self.ask(&format!("fetch?to={to}&n={n}")).await?)
    }

    /// The same through a CONNECT proxy.
    pub(super) async fn fetch_via(&self, proxy: &str, user: &str, to: &str) -> Result<Report> {
        let path = format!("fetch?to={to}&n=1&via={proxy}&user={user}");
        Report::read(&self.ask(&path).await?)
    }

    /// Waits until `n` fetches in a row are all answered by as many backends.
    pub(super) async fn answered_by(&self, to: &str, backends: usize, n: u32) -> Result<Report> {
        let what = format!("answers from {backends} backends at {to}");
        eventually(&what, crate::e2e::site::SOON, async || {
            let report = self.fetch(to, n).await?;
            report.flawless(n.into())?;
            ensure!(report.answers.len() == backends, "{report}");
            Ok::<_, anyhow::Error>(report)
        })
        .await
    }

    /// Fetches pages with two workers without pause, until [`Self::end`].
    pub(super) async fn start_load(&self, name: &str, to: &str) -> Result<()> {
        let path = format!("load?to={to}&name={name}&n=2");
        self.ask(&path).await.map(drop)
    }

    /// Opens sessions with an echo, which go on until [`Self::end`].
    pub(super) async fn open_sessions(&self, name: &str, to: &str, n: u32) -> Result<()> {
        let path = format!("sessions?to={to}&name={name}&n={n}");
        self.ask(&path).await.map(drop)
    }

    /// Ends a load or sessions, and reports.
    pub(super) async fn end(&self, name: &str) -> Result<Report> {
        Report::read(&self.ask(&format!("end?name={name}")).await?)
    }

    async fn ask(&self, what: &str) -> Result<String> {
        let pod = format!("/api/v1/namespaces/{USERS}/pods/{}:8080/proxy", self.name);
        let request = http::Request::get(format!("{pod}/{what}")).body(Vec::new())?;
        tokio::time::timeout(DEADLINE, self.site.api.request_text(request))
            .await
            .with_context(|| format!("{}: no answer to {what} in {DEADLINE:?}", self.name))?
            .with_context(|| format!("{}: {what}", self.name))
    }
}
