//! Services of another namespace on a real API server: nothing gets there without a ReferenceGrant, and
//! whoever is there is cut when it goes, whatever becomes of its definition meanwhile.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tcpforward_tests::client;
use tcpforward_tests::echo::{Behaviour, Server};
use tcpforward_tests::eventually::eventually;
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::stage::{self, Operator, SOON, Stage};
use tcpforward_tests::tunnel;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// What is promised of a right that is lost.
const CUT: Duration = Duration::from_secs(5);

/// A definition of our own: the fields that matter, in the versions that are served.
fn definition(served: &[&str], storage: &str) -> String {
    let text = || json!({"type": "string"});
    let entry = |field: &str| {
        json!({"type": "array", "items": {
            "type": "object",
            "required": ["group", "kind"],
            "properties": {"group": text(), "kind": text(), field: text()},
        }})
    };
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"from": entry("namespace"), "to": entry("name")}},
    }}});
    let versions = ["v1", "v1beta1"].map(|version| {
        json!({
            "name": version, "served": served.contains(&version), "storage": version == storage,
            "schema": schema,
        })
    });
    let name = "referencegrants.gateway.networking.k8s.io";
    let approval = "unapproved, a stand-in for tests of tcpforward";
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": name,
            "annotations": {"api-approved.kubernetes.io": approval},
        },
        "spec": {
            "group": "gateway.networking.k8s.io", "scope": "Namespaced", "versions": versions,
            "names": {
                "kind": "ReferenceGrant", "listKind": "ReferenceGrantList",
                "plural": "referencegrants", "singular": "referencegrant",
            },
        },
    });
    format!("{definition}\n---\n")
}

/// What namespace data says: TcpForwards of namespace default may go to that Service.
fn grant(version: &str, service: &str) -> String {
    let grant = json!({
        "apiVersion": format!("gateway.networking.k8s.io/{version}"), "kind": "ReferenceGrant",
        "metadata": {"name": "in", "namespace": "data"},
        "spec": {
            "from": [{"group": "tcpforward.dev", "kind": "TcpForward", "namespace": "default"}],
            "to": [{"group": "", "kind": "Service", "name": service}],
        },
    });
    format!("{grant}\n---\n")
}

/// A relay to both Services, the far one first, and a proxy to the far one. Nothing but a lost right
/// would end their sessions.
fn forwards() -> String {
    let relay = json!({
        "apiVersion": "tcpforward.dev/v1alpha1", "kind": "TcpForward", "metadata": {"name": "relay"},
        "spec": {"listener": {"port": 8888}, "relay": {
            "establishedConnections": {"onRemoved": "Keep"},
            "targets": [
                {"name": "far", "service": {"namespace": "data", "name": "far", "port": "http"}},
                {"name": "near", "service": {"name": "near", "port": "http"}, "priority": 1},
            ],
        }},
    });
    let rule = json!({
        "name": "far", "action": "Allow", "ports": [80],
        "services": [{"namespace": "data", "name": "far"}],
    });
    let proxy = json!({
        "apiVersion": "tcpforward.dev/v1alpha1", "kind": "TcpForward", "metadata": {"name": "proxy"},
        "spec": {
            "listener": {"port": 3128, "sourceRanges": ["10.77.0.0/16"]},
            "httpConnect": {"rules": [rule]},
        },
    });
    format!("{relay}\n---\n{proxy}\n---\n")
}

/// The manifests of a Service as those of namespace data.
fn in_data(service: &str) -> Result<String> {
    let documents = service
        .split("---\n")
        .filter(|text| !text.trim().is_empty());
    let moved = documents.map(|document| {
        let mut object: Value = serde_json::from_str(document)?;
        let metadata = object.pointer_mut("/metadata").context("metadata")?;
        metadata
            .as_object_mut()
            .context("an object")?
            .insert("namespace".to_owned(), json!("data"));
        Ok(format!("{object}\n---\n"))
    });
    moved.collect()
}

/// An operator, a data plane, and a server on each side.
struct Case<'a> {
    stage: Stage<'a>,
    operator: Operator,
    relay: SocketAddr,
    proxy: SocketAddr,
    health: SocketAddr,
    far: Server,
    near: Server,
    _dataplane: stage::DataPlane,
}

impl<'a> Case<'a> {
    async fn new(lab: &'a lab::Lab) -> Result<Self> {
        let stage = Stage::new(lab).await?;
        let far = Server::start("10.77.0.11:8080", Behaviour::Echo).await?;
        let near = Server::start("10.77.0.12:8080", Behaviour::Echo).await?;
        stage.kubectl(&["create", "namespace", "data"]).await?;
        let services = in_data(&stage::service("far", &[far.address()]))?
            + &stage::service("near", &[near.address()]);
        stage.apply(&(services + &forwards())).await?;
        let operator = stage.operator(1).await?;
        let dataplane = stage.dataplane(1, &[operator.push]).await?;
        let at = |port| SocketAddr::new(dataplane.ip, port);
        Ok(Self {
            relay: at(8888),
            proxy: at(3128),
            health: dataplane.health,
            stage,
            operator,
            far,
            near,
            _dataplane: dataplane,
        })
    }

    /// Waits until the conditions say so; the message.
    async fn says(&self, status: &str, reason: &str, text: &str) -> Result<()> {
        for name in ["relay", "proxy"] {
            eventually(&format!("{name} to say {text:?}"), SOON, async || {
                let message = self
                    .stage
                    .condition(name, "ResolvedRefs", status, reason)
                    .await?;
                ensure!(message.contains(text), "{message}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// A session by the relay, and whether it has come to the far side.
    async fn session(&self) -> Result<(TcpStream, bool)> {
        let (far, near) = (self.far.accepted(), self.near.accepted());
        let mut stream = client::dial(self.relay).await?;
        client::echo(&mut stream).await?;
        let came = (self.far.accepted() - far, self.near.accepted() - near);
        ensure!(came.0 + came.1 == 1, "{came:?}");
        Ok((stream, came.0 == 1))
    }

    /// Sessions come to that side.
    async fn leads(&self, is_far: bool) -> Result<TcpStream> {
        eventually(
            &format!("sessions to get far: {is_far}"),
            SOON,
            async || {
                let (stream, got_far) = self.session().await?;
                ensure!(got_far == is_far);
                Ok(stream)
            },
        )
        .await
    }

    /// Sessions on the far side: one by the relay, one by the proxy.
    async fn far_sessions(&self) -> Result<[TcpStream; 2]> {
        let relayed = self.leads(true).await?;
        let tunnel = eventually("a tunnel", SOON, async || {
            let asked = tunnel::ask(self.proxy, "far.data.svc:80", "").await?;
            asked.tunnel()
        })
        .await?;
        let mut sessions = [relayed, tunnel];
        all_echo(&mut sessions).await?;
        Ok(sessions)
    }

    async fn lost(&self, forward: &str) -> Result<f64> {
        let name = "tcpforward_dataplane_sessions_finished_total";
        let forward = format!("forward=\"default/{forward}\"");
        client::metric(self.health, name, &[&forward, "ending=\"grant_lost\""]).await
    }

    /// Takes a right away by that and sees the sessions cut in time, and only them.
    async fn loses(
        &self,
        what: &str,
        take: impl AsyncFnOnce(&Stage<'a>) -> Result<()>,
        within: Duration,
        near: &mut TcpStream,
    ) -> Result<()> {
        let mut sessions = self.far_sessions().await.context(what.to_owned())?;
        let before = [self.lost("relay").await?, self.lost("proxy").await?];
        take(&self.stage).await?;
        // kubectl has the API server's word for it now.
        let start = Instant::now();
        for stream in &mut sessions {
            let cut = timeout(within.saturating_sub(start.elapsed()), ends(stream)).await;
            cut.with_context(|| format!("{what}: a session lives on after {within:?}"))?;
        }
        println!("{what}: cut after {:?}", start.elapsed());
        client::echo(near)
            .await
            .context("another target's session")?;
        self.leads(false).await?;
        let asked = tunnel::ask(self.proxy, "far.data.svc:80", "").await?;
        ensure!(asked.tunnel().is_err(), "{what}: a tunnel gets there");
        let after = [self.lost("relay").await?, self.lost("proxy").await?];
        let is_more = after
            .iter()
            .zip(before)
            .all(|(after, before)| *after > before);
        ensure!(is_more, "the metric does not say why: {before:?} {after:?}");
        Ok(())
    }
}

async fn all_echo(streams: &mut [TcpStream]) -> Result<()> {
    for stream in streams {
        client::echo(stream).await?;
    }
    Ok(())
}

/// Waits for its end, which is no clean one.
async fn ends(stream: &mut TcpStream) {
    let mut byte = [0; 1];
    while stream.read(&mut byte).await.is_ok_and(|bytes| bytes > 0) {}
}

async fn delete(stage: &Stage<'_>, object: &[&str]) -> Result<()> {
    let arguments = [&["delete", "--wait=false"], object].concat();
    stage.kubectl(&arguments).await.map(drop)
}

const IN_DATA: [&str; 4] = ["referencegrant", "in", "-n", "data"];
const DEFINITION: [&str; 2] = ["crd", "referencegrants.gateway.networking.k8s.io"];

#[test]
fn a_grant_lets_in_and_cuts_whatever_becomes_of_its_definition() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        // The operator is ready though there is no definition.
        let case = Case::new(lab).await?;
        case.says(
            "False",
            "RefNotPermitted",
            "this cluster has no ReferenceGrants",
        )
        .await?;
        let mut near = case.leads(false).await?;
        ensure!(
            case.far.accepted() == 0,
            "something got there without a grant"
        );

        case.stage
            .apply(&definition(&["v1beta1"], "v1beta1"))
            .await?;
        case.says("False", "RefNotPermitted", "apply there a ReferenceGrant")
            .await?;
        ensure!(
            case.far.accepted() == 0,
            "something got there without a grant"
        );
        case.stage.apply(&grant("v1beta1", "far")).await?;
        case.says("True", "ResolvedRefs", "").await?;
        let gone = async |stage: &Stage<'_>| delete(stage, &IN_DATA).await;
        case.loses("a grant that is gone", gone, CUT, &mut near)
            .await?;
        case.says("False", "RefNotPermitted", "apply there a ReferenceGrant")
            .await?;

        // The definition moves on to v1, and nobody notices.
        case.stage.apply(&grant("v1beta1", "far")).await?;
        let mut sessions = case.far_sessions().await?;
        case.stage.apply(&definition(&["v1"], "v1")).await?;
        let narrowed = async |stage: &Stage<'_>| {
            eventually("v1 to be served", SOON, async || {
                stage.apply(&grant("v1", "far")).await
            })
            .await?;
            all_echo(&mut sessions).await?;
            stage.apply(&grant("v1", "another")).await
        };
        // Until the API server has ended the watch of the version that it no longer serves.
        case.loses("a grant that is narrowed", narrowed, SOON, &mut near)
            .await?;

        case.stage.apply(&grant("v1", "far")).await?;
        let gone = async |stage: &Stage<'_>| delete(stage, &DEFINITION).await;
        case.loses("a definition that is gone", gone, CUT, &mut near)
            .await?;
        case.says(
            "False",
            "RefNotPermitted",
            "this cluster has no ReferenceGrants",
        )
        .await
    })
}

#[test]
fn who_can_not_see_takes_nothing_back() -> Result<()> {
    lab::run(Network::Namespace, async |lab| {
        let mut case = Case::new(lab).await?;
        case.stage.apply(&definition(&["v1"], "v1")).await?;
        eventually("v1 to be served", SOON, async || {
            case.stage.apply(&grant("v1", "far")).await
        })
        .await?;
        let mut sessions = case.far_sessions().await?;

        // An operator that starts waits for what it has to know.
        case.operator.process.signal(Signal::KILL)?;
        case.operator.process.end(SOON).await?;
        case.operator.process.restart()?;
        stage::ready(case.operator.health).await?;
        case.stage
            .condition("relay", "Programmed", "True", "Programmed")
            .await?;
        all_echo(&mut sessions).await?;

        // An API server that is gone, and one that has just begun.
        case.stage.cluster.api_server.signal(Signal::KILL)?;
        case.stage.cluster.api_server.end(SOON).await?;
        let start = Instant::now();
        eventually("the outage to be over", SOON, async || {
            client::echo(&mut case.leads(true).await?).await?;
            ensure!(start.elapsed() > CUT);
            Ok(())
        })
        .await?;
        case.stage.cluster.api_server.restart()?;
        case.stage.cluster.ready().await?;
        let add =
            stage::service("more", &[case.near.address()]) + &stage::forward("more", 8889, "more");
        eventually("the API server to take more", SOON, async || {
            case.stage.apply(&add).await
        })
        .await?;
        case.stage
            .condition("more", "Programmed", "True", "Programmed")
            .await?;
        all_echo(&mut sessions).await?;
        ensure!(case.lost("relay").await? == 0.0);

        // The watch of Services may be back after that of TcpForwards.
        let more = SocketAddr::new(case.relay.ip(), 8889);
        let mut near = eventually("the new forward to serve", SOON, async || {
            let mut stream = client::dial(more).await?;
            client::echo(&mut stream).await?;
            Ok::<_, anyhow::Error>(stream)
        })
        .await?;
        let gone = async |stage: &Stage<'_>| delete(stage, &IN_DATA).await;
        // A watch comes back when its back-off ends.
        case.loses("a grant after an outage", gone, SOON, &mut near)
            .await?;
        for stream in &mut sessions {
            timeout(CUT, ends(stream))
                .await
                .context("an older session lives on")?;
        }
        Ok(())
    })
}
