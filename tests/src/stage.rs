//! Edge. Operators and data planes as processes around one API server, in a namespace of the test.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::client;
use crate::cluster::{Audience, Cluster, Controllers, Options};
use crate::eventually::eventually;
use crate::fixtures::mk_pool;
use crate::lab::Lab;
use crate::process::Process;
use crate::programs;

mod manifests;

pub use manifests::{forward, service};

/// What a busy machine may need for a condition, an election included.
pub const SOON: Duration = Duration::from_secs(60);

/// A cluster with the CRD, and what is started in it.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The API server.
    pub cluster: Cluster,
    lab: &'a Lab,
}

/// A data plane process.
#[derive(Debug)]
pub struct DataPlane {
    /// The program.
    pub process: Process,
    /// Where forwards listen: each data plane of a test has an address of its own.
    pub ip: IpAddr,
    /// Where /readyz and /metrics are.
    pub health: SocketAddr,
    /// Where /debug/forwards is.
    pub admin: SocketAddr,
}

/// An operator process.
#[derive(Debug)]
pub struct Operator {
    /// The program.
    pub process: Process,
    /// Where data planes dial.
    pub push: SocketAddr,
    /// Where /readyz and /metrics are.
    pub health: SocketAddr,
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

impl<'a> Stage<'a> {
    /// Starts an API server without controllers, and installs the CRDs and the pool `default`, whose pods
    /// are those of the ServiceAccount default/proxy.
    ///
    /// # Errors
    /// It doesn't start, or refuses the CRD.
    pub async fn new(lab: &'a Lab) -> Result<Self> {
        Self::on(lab, Cluster::start(lab, Controllers::Absent).await?).await
    }

    /// The same with an audit log of these users.
    ///
    /// # Errors
    /// It doesn't start, or refuses the CRD.
    pub async fn audited(lab: &'a Lab, users: &[&str]) -> Result<Self> {
        let options = Options {
            controllers: Controllers::Absent,
            audience: Audience::Machine,
            audited: Some(users.iter().map(|user| (*user).to_owned()).collect()),
        };
        Self::on(lab, Cluster::start_with(lab, &options).await?).await
    }

    async fn on(lab: &'a Lab, cluster: Cluster) -> Result<Self> {
        cluster.install_crds(lab).await?;
        let stage = Self { cluster, lab };
        stage
            .apply(&mk_pool("default", json!({})).to_string())
            .await?;
        Ok(stage)
    }

    /// Runs kubectl from the root of the repository.
    ///
    /// # Errors
    /// It fails.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl(self.lab, arguments).await
    }

    /// Applies manifests given as text.
    ///
    /// # Errors
    /// The API server refuses one.
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        let path = self.lab.file("applied.yaml", manifests)?;
        let path = path.to_str().context("a path that is text")?;
        self.kubectl(&["apply", "-f", path]).await.map(drop)
    }

    /// Starts operator number `n` and waits until it is ready.
    ///
    /// # Errors
    /// It ends, or isn't ready in time.
    pub async fn operator(&self, n: u16) -> Result<Operator> {
        self.operator_with(n, &["--insecure-transport"]).await
    }

    /// The same with other options.
    ///
    /// # Errors
    /// It ends, or isn't ready in time.
    pub async fn operator_with(&self, n: u16, options: &[&str]) -> Result<Operator> {
        let operator = self.operator_through(n, self.cluster.kubeconfig(), options)?;
        let started = ready(operator.health).await;
        started.with_context(|| format!("operator-{n}"))?;
        Ok(operator)
    }

    /// Starts operator number `n`, which reaches the API server by this kubeconfig.
    ///
    /// # Errors
    /// It isn't built.
    pub fn operator_through(
        &self,
        n: u16,
        kubeconfig: &Path,
        options: &[&str],
    ) -> Result<Operator> {
        let name = format!("operator-{n}");
        let at = |flag, port| (format!("{flag}={}", loopback(port)), loopback(port));
        let (push_flag, push) = at("--push", 9000 + n * 10);
        let (health_flag, health) = at("--health", 9002 + n * 10);
        let (admin_flag, _) = at("--admin", 9003 + n * 10);
        let program = programs::operator()?
            .env("KUBECONFIG", kubeconfig)
            .args(options.iter().copied())
            .args([push_flag, health_flag, admin_flag])
            .args(["--identity", &name]);
        Ok(Operator {
            process: self.lab.start(&name, &program)?,
            push,
            health,
        })
    }

    /// Starts data plane number `n` with these operators and waits until it has a set.
    ///
    /// # Errors
    /// It ends, or isn't ready in time.
    pub async fn dataplane(&self, n: u16, operators: &[SocketAddr]) -> Result<DataPlane> {
        let dataplane = self.dataplane_without_waiting(n, operators)?;
        ready(dataplane.health)
            .await
            .with_context(|| format!("dataplane-{n}"))?;
        Ok(dataplane)
    }

    /// Starts data plane number `n`.
    ///
    /// # Errors
    /// It isn't built.
    pub fn dataplane_without_waiting(&self, n: u16, operators: &[SocketAddr]) -> Result<DataPlane> {
        let pod = format!("--pod=dataplane-{n}");
        let mut transport = vec!["--insecure-transport".to_owned(), pod];
        for operator in operators {
            transport.extend(["--operator".to_owned(), operator.to_string()]);
        }
        self.dataplane_with(n, &transport)
    }

    /// Starts data plane number `n` with these options about operators and itself.
    ///
    /// # Errors
    /// It isn't built.
    pub fn dataplane_with(&self, n: u16, transport: &[String]) -> Result<DataPlane> {
        let ip = IpAddr::from([10, 77, 0, 100 + u8::try_from(n)?]);
        let (health, admin) = (loopback(9504 + n * 10), loopback(9505 + n * 10));
        let state = format!("state-{n}");
        let program = programs::dataplane()?
            .args(transport.iter().cloned())
            .args(["--bind", &ip.to_string()])
            .args([
                "--health",
                &health.to_string(),
                "--admin",
                &admin.to_string(),
            ])
            .args([
                "--state-dir",
                &state,
                "--threads",
                "2",
                "--drain-delay",
                "0s",
            ]);
        let process = self.lab.start(&format!("dataplane-{n}"), &program)?;
        Ok(DataPlane {
            process,
            ip,
            health,
            admin,
        })
    }

    /// The TcpForward of that name in the namespace `default`.
    ///
    /// # Errors
    /// It isn't there.
    pub async fn forward(&self, name: &str) -> Result<Value> {
        let text = self.kubectl(&["get", "tcpf", name, "-o", "json"]).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Waits until a condition of a TcpForward has this status and reason for its present
    /// generation, and returns its message.
    ///
    /// # Errors
    /// It doesn't in time; the message holds the status as it is.
    pub async fn condition(
        &self,
        name: &str,
        kind: &str,
        status: &str,
        reason: &str,
    ) -> Result<String> {
        let what = format!("{name} to have {kind}={status} {reason}");
        eventually(&what, SOON, async || {
            let forward = self.forward(name).await?;
            let generation = forward.pointer("/metadata/generation");
            let conditions = forward
                .pointer("/status/conditions")
                .and_then(Value::as_array);
            let says = |condition: &Value, field: &str, text: &str| {
                condition.get(field).and_then(Value::as_str) == Some(text)
            };
            let found = conditions.into_iter().flatten().find(|condition| {
                says(condition, "type", kind)
                    && says(condition, "status", status)
                    && says(condition, "reason", reason)
                    && condition.get("observedGeneration") == generation
            });
            let found = found.with_context(|| format!("{:#}", json!(forward.get("status"))))?;
            let message = found
                .get("message")
                .and_then(Value::as_str)
                .unwrap_or_default();
            Ok::<_, anyhow::Error>(message.to_owned())
        })
        .await
    }
}

/// Waits until a program says that it is ready.
///
/// # Errors
/// It doesn't in time.
pub async fn ready(health: SocketAddr) -> Result<()> {
    eventually("ready", SOON, async || {
        let ready = client::get(health, "/readyz").await?;
        ensure!(ready.status == 200, "{}", ready.body);
        Ok(())
    })
    .await
}
