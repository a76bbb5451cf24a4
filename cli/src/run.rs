//! Edge. Operator and data plane in one process: manifests in, traffic out. They speak the same
//! gRPC as in a cluster, over a pipe in memory.

mod conditions;
mod pages;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use prometheus::Registry;
use tcpforward_dataplane::app::App;
use tcpforward_dataplane::config::{Config, OperatorAddress, Reserved};
use tcpforward_operator::app::Local;
use tcpforward_operator::files;
use tcpforward_operator::forward;
use tcpforward_operator::index::Object;
use tcpforward_operator::manifest::{self, Finding};
use tcpforward_operator::validate::metadata::is_label;
use tcpforward_process::{duration, signal};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// What to forward, and where the pages are.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Manifests, or folders of them; they are watched.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Address on which forwards listen that don't say one; `::` for every address.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// Address of /debug/forwards, and of the health pages unless --health says another.
    #[arg(long, default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// Address of /livez, /readyz and /metrics; absent: with the admin pages.
    #[arg(long)]
    health: Option<SocketAddr>,
    /// Worker threads; absent: one per core.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Only forwards of this pool are served.
    #[arg(long, default_value = "default", value_parser = pool)]
    pool: String,
    /// A DNS server for names of targets, as IP:PORT; repeatable. Absent: /etc/hosts and those of
    /// /etc/resolv.conf.
    #[arg(long = "dns-server")]
    dns_servers: Vec<SocketAddr>,
    /// After SIGTERM: how long connections are still accepted.
    #[arg(long, default_value = "0s", value_parser = duration::parse)]
    drain_delay: Duration,
    /// How long sessions may go on after that; a second signal ends them at once.
    #[arg(long, default_value = "30s", value_parser = duration::parse)]
    drain_timeout: Duration,
}

/// Forwards until `shutdown`, then drains.
pub(crate) async fn run(args: Args, shutdown: impl Future<Output = ()>) -> Result<ExitCode> {
    if let Some(code) = nothing_to_serve(&args)? {
        return Ok(code);
    }
    let addresses = listeners(&args).await?;
    let registry = Registry::new();
    let ports = addresses
        .iter()
        .map(|(name, address, _)| (address.port(), name.to_string()));
    let (operator, insight) = Local::new(&registry, ports.collect::<BTreeMap<_, _>>())?;
    let (pipe, incoming) = mpsc::channel(1);
    let dataplane = App::new(config(&args, pipe.clone(), &addresses), &registry)?;

    let mut tasks = JoinSet::new();
    pages::serve(
        &mut tasks,
        addresses,
        &insight,
        &dataplane.handle(),
        &registry,
    );
    tasks.spawn(conditions::print(insight.forwards()));
    let (ended, end) = oneshot::channel::<()>();
    let operator = operator.run(args.paths, incoming, tell, async {
        let _ = end.await;
    });
    let mut operator = std::pin::pin!(operator);
    let drained = drain_at(shutdown, dataplane);
    tokio::select! {
        failed = &mut operator => {
            failed?;
            bail!("the operator's part has ended by itself");
        }
        drained = drained => drained?,
    }
    drop(ended);
    operator.await?;
    // While the data plane drains nobody dials, and the operator's part must not take that for an end.
    drop(pipe);
    Ok(ExitCode::SUCCESS)
}

/// Runs the data plane; a second signal ends it although sessions are open.
async fn drain_at(shutdown: impl Future<Output = ()>, dataplane: App) -> Result<()> {
    let handle = dataplane.handle();
    let (stop, stopped) = oneshot::channel::<()>();
    let signals = async {
        shutdown.await;
        tracing::info!("ending; a second signal ends it at once");
        drop(stop);
        signal::termination()?.await;
        std::io::Result::Ok(())
    };
    tokio::select! {
        ended = dataplane.run(async { let _ = stopped.await; }) => {
            let summary = ended?;
            tracing::info!(cut = summary.cut, "sessions that were cut");
        }
        second = signals => {
            second?;
            let open: u64 = handle.forwards().iter().map(|forward| forward.open_sessions).sum();
            tracing::warn!(cut = open, "ended by a second signal");
        }
    }
    Ok(())
}

/// Where pages are served: what for, the address, and the listener. One if both are the same.
type Listeners = Vec<(&'static str, SocketAddr, TcpListener)>;

async fn listeners(args: &Args) -> Result<Listeners> {
    let mut listeners = Vec::new();
    let health = args.health.filter(|health| *health != args.admin);
    for (flag, address) in [("--admin", Some(args.admin)), ("--health", health)] {
        let Some(address) = address else { continue };
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!(
                "{flag} is {address}: can't listen there; if another program, perhaps a \
                     second tcpforward, holds it, give {flag} another port"
            )
        })?;
        listeners.push((flag, listener.local_addr()?, listener));
    }
    Ok(listeners)
}

fn config(
    args: &Args,
    pipe: tcpforward_dataplane::sync::InProcess,
    addresses: &Listeners,
) -> Config {
    let reserved = |(flag, address, _): &(&'static str, SocketAddr, TcpListener)| Reserved {
        holder: flag,
        address: *address,
    };
    Config {
        pool: args.pool.clone(),
        bind: args.bind,
        threads: args.threads,
        reserved: addresses.iter().map(reserved).collect(),
        dns_servers: args.dns_servers.clone(),
        drain_delay: args.drain_delay,
        drain_timeout: args.drain_timeout,
        ..Config::new(vec![OperatorAddress::Duplex(pipe)])
    }
}

/// Manifests that can't be read, or of which not one TcpForward is left, are told at once, and so
/// are forwards of another pool, which nobody here will serve.
fn nothing_to_serve(args: &Args) -> Result<Option<ExitCode>> {
    let texts = files::read(&args.paths)?;
    let files = texts.iter().map(|(file, text)| manifest::parse(file, text));
    let parsed = manifest::gather(files.collect());
    let mut forwards = 0;
    for located in &parsed.objects {
        let Object::TcpForward(raw) = &located.object else {
            continue;
        };
        forwards += 1;
        let pool = forward::pool(raw);
        if pool != args.pool {
            tracing::warn!(
                forward = located.object.name(),
                pool,
                "a forward of another pool is not served here: --pool says which one is"
            );
        }
    }
    if forwards == 0 && !parsed.findings.is_empty() {
        for finding in &parsed.findings {
            eprintln!("{finding}");
        }
        return Ok(Some(ExitCode::FAILURE));
    }
    if forwards == 0 {
        tracing::warn!("there is no TcpForward yet in what was given; it is watched");
    }
    Ok(None)
}

/// A pool's name is that of `spec.dataPlaneName`.
fn pool(text: &str) -> Result<String, String> {
    if is_label(text) {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends".to_owned())
}

fn tell(findings: &[Finding]) {
    for finding in findings {
        tracing::error!(%finding, "a manifest is wrong: what its file held before stays in force");
    }
}
