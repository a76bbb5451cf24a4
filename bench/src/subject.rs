//! Edge. A peer that runs: as an ordinary user, on a core of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tcpforward_tests::eventually::{eventually, pass};
use tcpforward_tests::lab::Lab;
use tcpforward_tests::process::{Process, Program};
use tcpforward_tests::{measure, ports, programs};
use tokio::time::timeout;

use crate::backend::Backend;
use crate::cores::Cores;
use crate::load;
use crate::outcome::float;
use crate::peer::{Peer, Place};
use crate::user::{self, USER};

/// Where the programs of all peers are.
#[derive(Clone, Debug)]
pub struct Programs {
    ours: PathBuf,
    relay: PathBuf,
    envoy: Option<PathBuf>,
    /// Whether peers are run as [`USER`].
    as_user: bool,
}

/// Where Debian has nginx's stream module.
const NGINX_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// How names of threads begin that serve sessions.
const WORKER: &str = "worker";

const START: Duration = Duration::from_secs(20);

/// Sessions of a bench have ended by then.
const END: Duration = Duration::from_secs(10);

/// A peer with its servers.
#[derive(Debug)]
pub struct Subject {
    /// How its clients go.
    pub path: load::Path,
    process: Option<Process>,
    _backends: Vec<Backend>,
}

impl Programs {
    /// Puts those that we build into the lab, where any user may run them.
    ///
    /// # Errors
    /// One is not built, or can't be.
    pub fn gather(lab: &Lab, envoy: Option<PathBuf>) -> Result<Self> {
        let ours = user::ours(lab)?;
        let relay = programs::built_by_go(lab, "bench/relay", &["build"], ".")?;
        Ok(Self {
            ours,
            relay: relay.path().to_owned(),
            envoy,
            as_user: rustix::process::geteuid().is_root(),
        })
    }

    /// Whether that peer can be started here.
    #[must_use]
    pub fn has(&self, peer: Peer) -> bool {
        peer != Peer::Envoy || self.envoy.is_some()
    }

    /// The command by which a peer says what it is; absent: another peer is the same program, or it is none.
    #[must_use]
    pub fn version(&self, peer: Peer) -> Option<Command> {
        let (program, argument) = match peer {
            Peer::Ours => (self.ours.as_path(), "--version"),
            Peer::Haproxy => (Path::new("haproxy"), "-v"),
            Peer::Nginx => (Path::new("nginx"), "-v"),
            Peer::Envoy => (self.envoy.as_deref()?, "--version"),
            Peer::Go => (Path::new("go"), "version"),
            Peer::Tinyproxy => (Path::new("tinyproxy"), "-v"),
            _ => return None,
        };
        let mut command = Command::new(program);
        command.arg(argument);
        Some(command)
    }

    /// The command of that peer with its configuration in `file`.
    #[must_use]
    pub fn program(
        &self,
        peer: Peer,
        file: &Path,
        place: &Place<'_>,
        pages: SocketAddr,
    ) -> Program {
        let listener = place.listeners.first().map(ToString::to_string);
        let listener = listener.unwrap_or_default();
        let backend = place.backends.first().map(ToString::to_string);
        match peer {
            Peer::Ours | Peer::OursConnect | Peer::OursMany => Program::new(&self.ours)
                .args(["run", "--admin", &pages.to_string()])
                .arg(file),
            Peer::Haproxy | Peer::HaproxySplice => {
                Program::new("haproxy").args(["-db", "-f"]).arg(file)
            }
            Peer::Nginx => Program::new("nginx")
                .arg("-e")
                .arg(place.folder.join("nginx.log"))
                .arg("-c")
                .arg(file),
            Peer::Envoy => Program::new(self.envoy.clone().unwrap_or_default())
                .arg("-c")
                .arg(file)
                .args(["--concurrency", "1", "-l", "off", "--disable-hot-restart"]),
            Peer::Go => Program::new(&self.relay).args([
                "-listen",
                &listener,
                "-target",
                &backend.unwrap_or_default(),
            ]),
            Peer::GoConnect | Peer::Direct => {
                Program::new(&self.relay).args(["-listen", &listener])
            }
            Peer::Tinyproxy => Program::new("tinyproxy").args(["-d", "-c"]).arg(file),
        }
    }
}

impl Subject {
    /// Starts servers and peer and waits until an exchange goes through every listener.
    ///
    /// # Errors
    /// It ends, or serves nothing in time.
    pub async fn start(lab: &Lab, programs: &Programs, peer: Peer, cores: Cores) -> Result<Self> {
        let mut backends: Vec<Backend> = Vec::new();
        for host in 1..=u8::try_from(peer.width())? {
            // One port for all, as those of a Service have.
            let port = backends.first().map_or(0, |first| first.address().port());
            let at = (Ipv4Addr::new(127, 0, 1, host), port);
            backends.push(Backend::start(at.into())?);
        }
        let addresses: Vec<SocketAddr> = backends.iter().map(Backend::address).collect();
        let mut subject = Self {
            path: load::Path {
                listeners: addresses.clone(),
                tunnel: None,
            },
            process: None,
            _backends: backends,
        };
        if peer != Peer::Direct {
            subject.launch(lab, programs, peer, cores, &addresses)?;
        }
        let serves = subject.serves().await;
        serves.with_context(|| subject.log(peer))?;
        Ok(subject)
    }

    fn launch(
        &mut self,
        lab: &Lab,
        programs: &Programs,
        peer: Peer,
        cores: Cores,
        backends: &[SocketAddr],
    ) -> Result<()> {
        let mut listeners = ports::several(peer.width() + 1)?;
        let pages = listeners.pop().context("a port")?;
        let folder = lab.folder().join("peer");
        std::fs::create_dir_all(&folder)?;
        let place = Place {
            listeners: &listeners,
            backends,
            folder: &folder,
            nginx_module: Path::new(NGINX_MODULE).is_file().then_some(NGINX_MODULE),
        };
        let file = lab.file("peer/peer.yaml", peer.configuration(&place))?;
        let mut program = programs.program(peer, &file, &place, pages).folder(&folder);
        if programs.as_user {
            std::os::unix::fs::chown(&folder, Some(USER), Some(USER))?;
            program = program.as_user(USER);
        }
        self.process = Some(lab.start(peer.name(), &program.on_core(cores.relay))?);
        self.path = load::Path {
            listeners,
            tunnel: peer
                .is_proxy()
                .then(|| backends.first().map(ToString::to_string))
                .flatten(),
        };
        Ok(())
    }

    async fn serves(&self) -> Result<()> {
        for turn in 0..self.path.listeners.len() {
            eventually("an exchange", START, async || {
                timeout(Duration::from_secs(2), self.path.exchange(turn)).await?
            })
            .await?;
        }
        Ok(())
    }

    fn log(&self, peer: Peer) -> String {
        let log = self.process.as_ref().map(Process::log);
        let log = log.and_then(Result::ok).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let (_, end) = lines.split_at(lines.len().saturating_sub(10));
        format!("{} does not serve:\n{}", peer.name(), end.join("\n"))
    }

    /// Its process id; absent: there is none.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Seconds of processor time that it has used.
    ///
    /// # Errors
    /// It is gone.
    pub fn cpu(&self) -> Result<f64> {
        self.pid().map_or(Ok(0.0), |pid| {
            Ok(measure::processor_time(pid)?.as_secs_f64())
        })
    }

    /// Bytes of memory that are its own.
    ///
    /// # Errors
    /// It is gone.
    pub fn memory(&self) -> Result<f64> {
        self.pid().map_or(Ok(0.0), |pid| {
            Ok(f64::from(measure::proportional(pid)?) * 1024.0)
        })
    }

    /// Context switches a second of its busiest worker during a while; of a process that calls no thread a worker,
    /// of its busiest thread.
    ///
    /// # Errors
    /// It is gone.
    pub async fn switches(&self, during: Duration) -> Result<Option<f64>> {
        let Some(pid) = self.pid() else {
            return Ok(None);
        };
        let before = measure::switches(pid)?;
        pass(during).await;
        let after = measure::switches(pid)?;
        let has_workers = after.values().any(|(name, _)| name.starts_with(WORKER));
        let counted = after
            .iter()
            .filter(|(_, (name, _))| !has_workers || name.starts_with(WORKER));
        let more = counted.map(|(thread, (_, n))| n - before.get(thread).map_or(0, |(_, n)| *n));
        let most = more.max().context("threads")?;
        Ok(Some(float(most) / during.as_secs_f64()))
    }

    /// Ends it.
    ///
    /// # Errors
    /// It had ended by itself.
    pub async fn end(mut self) -> Result<()> {
        if let Some(process) = &mut self.process {
            ensure!(
                process.ended()?.is_none(),
                "it has ended:\n{}",
                process.log()?
            );
            process.signal(Signal::TERM)?;
            if process.end(END).await.is_err() {
                process.kill()?;
            }
        }
        Ok(())
    }
}
