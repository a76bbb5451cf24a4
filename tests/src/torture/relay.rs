//! Edge. The side under test: our `tcpforward run`, or HAProxy, set up for the same thing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::client;
use crate::eventually::eventually;
use crate::process::{Process, Program};
use crate::programs;
use crate::torture::flow::Flow;
use crate::torture::way::{NoPipes, Pipes, Way};
use crate::torture::{Place, Side};
use crate::tunnel;

/// Where clients connect: the namespace is the row's own.
pub const LISTENER: &str = "127.0.0.1:7000";

/// Where /readyz is, on both sides.
const PAGES: &str = "127.0.0.1:9901";

const START: Duration = Duration::from_secs(20);

/// What both sides are asked to be, each in its own words.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Servers, in order; the first is `b0`.
    pub backends: Vec<SocketAddr>,
    /// Lines under `spec`, indented by two.
    pub spec: String,
    /// Lines under `spec.relay`, indented by four.
    pub relay: String,
    /// Whether ours is a CONNECT proxy that leads to the servers, instead of a relay.
    pub tunnels: bool,
    /// Lines under `spec.httpConnect` then, indented by four.
    pub connect: String,
    /// Manifests of ours beside it.
    pub beside: String,
    /// Whether ours finds the servers by one Service instead of a target each.
    pub service: bool,
    /// Fields of every target, each with a comma in front.
    pub target: String,
    /// Fields of the last target instead.
    pub last_target: Option<String>,
    /// Options of `tcpforward run`.
    pub options: Vec<&'static str>,
    /// Lines of HAProxy's `global`.
    pub global: Vec<String>,
    /// Lines of its `listen`, after the defaults of this harness.
    pub listen: Vec<String>,
    /// Words of its `bind` line.
    pub bind: String,
    /// Words of each `server` line.
    pub server: String,
    /// Words of the last `server` line instead.
    pub last_server: Option<String>,
    /// Open files that the side may have.
    pub descriptors: Option<u32>,
}

/// A side that listens.
#[derive(Debug)]
pub struct Relay {
    /// The program.
    pub process: Process,
    /// Where clients connect.
    pub listener: SocketAddr,
    /// Where /readyz and /metrics are.
    pub pages: SocketAddr,
    /// The file that it reads.
    pub file: PathBuf,
    /// The pipes that it has made since it was ready.
    pub pipes: Pipes,
    side: Side,
    way: Way,
    tunnels: bool,
    control: PathBuf,
    /// Last, as long as it is there.
    _no_pipes: Option<NoPipes>,
}

impl Setup {
    /// A setup over these servers.
    #[must_use]
    pub fn over(backends: &[SocketAddr]) -> Self {
        Self {
            backends: backends.to_vec(),
            ..Self::default()
        }
    }

    /// HAProxy's configuration. It has to name its timeouts; where a row says none, they are as long
    /// as ours by default.
    fn configuration(&self, way: Way, control: &std::path::Path) -> String {
        let control = control.display();
        let mut lines = vec![
            "global".to_owned(),
            format!("stats socket {control} mode 600 level admin"),
            "log stdout format raw local0".to_owned(),
            "nbthread 2".to_owned(),
        ];
        lines.extend(self.global.iter().cloned());
        let defaults = [
            "defaults",
            "mode tcp",
            "log global",
            "option tcplog",
            "timeout connect 1s",
            "timeout client 24h",
            "timeout server 24h",
            "timeout client-fin 1h",
            "timeout server-fin 1h",
            "retries 2",
            "option redispatch 1",
            "backlog 4096",
            "frontend pages",
            "mode http",
            "option httplog",
        ];
        lines.extend(defaults.map(ToOwned::to_owned));
        lines.push(format!("bind {PAGES}"));
        lines.push("monitor-uri /readyz".to_owned());
        lines.push("listen torture".to_owned());
        lines.push(format!("bind {LISTENER} {}", self.bind));
        lines.push("balance roundrobin".to_owned());
        if way == Way::Spliced {
            // Left to itself (`splice-auto`) it copied here.
            lines.extend(["request", "response"].map(|part| format!("option splice-{part}")));
        }
        lines.extend(self.listen.iter().cloned());
        let last = self.backends.len().saturating_sub(1);
        for (i, address) in self.backends.iter().enumerate() {
            let words = match &self.last_server {
                Some(words) if i == last => words,
                _ => &self.server,
            };
            lines.push(format!("server b{i} {address} {words}"));
        }
        lines.join("\n") + "\n"
    }
}

impl Relay {
    /// Starts a side and waits until it says that it is ready.
    ///
    /// # Errors
    /// It ends, or isn't ready in time.
    pub async fn start(place: &Place<'_>, setup: &Setup) -> Result<Self> {
        let mut relay = Self::launch(place, setup)?;
        let ready = eventually("the side under test to be ready", START, async || {
            relay.serves().await
        });
        ready
            .await
            .with_context(|| relay.process.log().unwrap_or_default())?;
        relay.pipes = Pipes::of(relay.process.pid())?;
        Ok(relay)
    }

    /// Starts a side that need not come to serve anything.
    ///
    /// # Errors
    /// It can't be started.
    pub fn launch(place: &Place<'_>, setup: &Setup) -> Result<Self> {
        let Place { lab, side, way, .. } = *place;
        let mut no_pipes = None;
        let control = lab.folder().join("control");
        let (file, program) = match side {
            Side::Ours => {
                let file = lab.file("forwards/torture.yaml", setup.manifest())?;
                let mut program = Program::new(lab.lend(programs::tcpforward()?.path())?)
                    .args(["run", "--admin", PAGES])
                    .args(&setup.options)
                    .arg(&file);
                if way == Way::Copied {
                    let made = NoPipes::make()?;
                    program = program.as_user(made.user);
                    no_pipes = Some(made);
                }
                (file, program)
            }
            Side::HaProxy => {
                let file = lab.file("haproxy.cfg", setup.configuration(way, &control))?;
                // In the foreground and without a master, so that its pid is that of the relay.
                let program = Program::new("haproxy").args(["-db", "-f"]);
                (file.clone(), program.arg(file))
            }
        };
        let program = match setup.descriptors {
            Some(limit) => program.with_descriptors(limit),
            None => program,
        };
        let process = lab.start(side.name(), &program)?;
        Ok(Self {
            pipes: Pipes::of(process.pid())?,
            process,
            listener: LISTENER.parse()?,
            pages: PAGES.parse()?,
            file,
            side,
            way,
            tunnels: setup.tunnels,
            control,
            _no_pipes: no_pipes,
        })
    }

    /// Whether it says that it is ready.
    ///
    /// # Errors
    /// It doesn't.
    pub async fn ready(&self) -> Result<()> {
        let page = client::get(self.pages, "/readyz").await?;
        ensure!(page.status == 200, "{}", page.body);
        Ok(())
    }

    /// Whether it serves what it was asked to: ours says that it is ready without that, too.
    async fn serves(&self) -> Result<()> {
        self.ready().await?;
        if self.side == Side::Ours {
            let n_serving = self.metric("forwards_serving", &[]).await?;
            ensure!(n_serving >= 1.0, "it serves nothing");
        }
        Ok(())
    }

    /// A client's connection; through a proxy, a tunnel to `target`.
    ///
    /// # Errors
    /// Refused, or no answer in time.
    pub async fn session(&self, target: &str) -> Result<TcpStream> {
        if self.tunnels {
            return tunnel::ask(self.listener, target, "").await?.tunnel();
        }
        client::dial(self.listener).await
    }

    /// Which one it is.
    #[must_use]
    pub fn side(&self) -> Side {
        self.side
    }

    /// A session as the row wants it, from its two ends: bytes go that way in both directions.
    ///
    /// # Errors
    /// They don't.
    pub async fn settled(&self, mut flow: Flow) -> Result<Flow> {
        let settled = self.pipes.settle(self.way, &mut flow).await;
        settled.with_context(|| format!("{:?}", self.way))?;
        Ok(flow)
    }

    /// Sends a command to HAProxy's control socket and returns its answer.
    ///
    /// # Errors
    /// It doesn't answer.
    pub async fn command(&self, command: &str) -> Result<String> {
        let answer = async {
            let mut stream = UnixStream::connect(&self.control).await?;
            stream.write_all(format!("{command}\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        timeout(START, answer)
            .await?
            .with_context(|| command.to_owned())
    }

    /// A metric of ours.
    ///
    /// # Errors
    /// The page can't be read.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        client::metric(self.pages, &format!("tcpforward_dataplane_{name}"), labels).await
    }
}
