//! Edge. Checks of servers: when they come, and what follows when all of them fail.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::client;
use crate::echo::{Behaviour, Server, listen};
use crate::eventually::pass;
use crate::torture::Place;
use crate::torture::figure::{Figure, count};
use crate::torture::flow::{SOON, ping};
use crate::torture::relay::{Relay, Setup};

/// Servers that are checked.
const SERVERS: u8 = 200;

/// What the servers see.
type Seen = Arc<Mutex<Arrivals>>;

#[derive(Debug, Default)]
struct Arrivals {
    /// When connections came.
    times: Vec<Instant>,
    /// Servers that sessions reached: these send a `p`.
    served: BTreeSet<u8>,
}

/// R9. Many servers, a relay that starts again and again, and one that gets no processor.
///
/// # Errors
/// The side doesn't start.
pub async fn storm(place: &Place<'_>) -> Result<Vec<Figure>> {
    let restarts = place.scaled(1, 10, |_| 10);
    let seen = Seen::default();
    let mut servers = JoinSet::new();
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for n in 0..SERVERS {
        let listener = listen(([10, 77, 0, 2 + n], 8000).into())?;
        addresses.push(listener.local_addr()?);
        servers.spawn(serve(listener, n, Arc::clone(&seen)));
    }
    let setup = Setup {
        relay: "    healthCheck: {active: {type: TCP, interval: 2s, timeout: 1s}}\n".to_owned(),
        server: "check inter 2s".to_owned(),
        // HAProxy's plain check resets before the server sees a connection: it has to say something.
        listen: ["timeout check 1s", "option tcp-check", "tcp-check send c"]
            .map(ToOwned::to_owned)
            .to_vec(),
        global: vec!["spread-checks 10".to_owned()],
        service: true,
        ..Setup::over(&addresses)
    };
    let mut most = 0.0_f64;
    for _ in 0..restarts {
        seen.lock().map_err(|_| broken())?.times.clear();
        let relay = Relay::start(place, &setup).await?;
        pass(Duration::from_secs(6)).await;
        drop(relay);
        let times = std::mem::take(&mut seen.lock().map_err(|_| broken())?.times);
        most = most.max(fullest(times)?);
    }
    let mut relay = Relay::start(place, &setup).await?;
    pass(Duration::from_secs(3)).await;
    // No processor at all for longer than a check may take.
    relay.process.signal(Signal::STOP)?;
    pass(Duration::from_secs(5)).await;
    relay.process.signal(Signal::CONT)?;
    pass(Duration::from_secs(1)).await;
    for _ in 0..2 * usize::from(SERVERS) {
        let mut stream = client::dial(relay.listener).await?;
        ping(&mut stream).await?;
    }
    let used = seen.lock().map_err(|_| broken())?.served.len();
    Ok(vec![
        Figure::new("fullest 100 ms of checks, of the mean", most, "times")
            .at_most(3.0)
            .noise(1.0),
        Figure::share("servers in use after a standstill", used, SERVERS.into()).all(),
    ])
}

fn broken() -> anyhow::Error {
    anyhow!("a server broke")
}

async fn serve(listener: TcpListener, server: u8, seen: Seen) {
    let mut open = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        while open.try_join_next().is_some() {}
        if let Ok(mut seen) = seen.lock() {
            seen.times.push(Instant::now());
        }
        let seen = Arc::clone(&seen);
        open.spawn(async move {
            let mut byte = [0];
            if stream.read_exact(&mut byte).await.is_ok() && &byte == b"p" {
                if let Ok(mut seen) = seen.lock() {
                    seen.served.insert(server);
                }
                let _ = stream.write_all(&byte).await;
            }
        });
    }
}

/// The most checks within 100 ms, as a multiple of the mean.
fn fullest(times: Vec<Instant>) -> Result<f64> {
    let first = *times.iter().min().context("no check came")?;
    // The relay lived for six seconds; the last half of one is left out, since it may not be whole.
    let mut buckets = vec![0_usize; 55];
    for time in times {
        let at = usize::try_from((time - first).as_millis() / 100)?;
        if let Some(bucket) = buckets.get_mut(at) {
            *bucket += 1;
        }
    }
    let total: usize = buckets.iter().sum();
    let mean = count(total) / count(buckets.len());
    let most = buckets.iter().max().copied().unwrap_or_default();
    Ok(count(most) / mean)
}

/// R10. Servers accept and fail every check.
///
/// # Errors
/// The side doesn't start.
pub async fn none_healthy(place: &Place<'_>) -> Result<Vec<Figure>> {
    const TRIED: &str = "TryAll: clients served";
    const REFUSED: &str = "Refuse: clients refused";
    const SHOWN: &str = "the state is shown";
    let check = "active: {type: TCP, interval: 1s, timeout: 500ms, unhealthyThreshold: 1, tcp: {send: \
                 {type: Text, text: ping}, receive: {type: Text, text: pong}}}";
    let n = place.scaled(20, 100, |_| 100);
    let mut figures = Vec::new();
    for (policy, figure) in [("TryAll", TRIED), ("Refuse", REFUSED)] {
        if policy == "TryAll" && place.by_side(false, true) {
            figures.push(Figure::cannot(figure, "without a usable server it refuses"));
            continue;
        }
        let mut servers = Vec::new();
        for host in [11, 12, 13] {
            let address = format!(
                "10.77.0.{host}:{}",
                if policy == "TryAll" { 8000 } else { 8001 }
            );
            servers.push(Server::start(&address, Behaviour::Echo).await?);
        }
        let addresses: Vec<_> = servers.iter().map(Server::address).collect();
        let setup = Setup {
            relay: format!("    healthCheck: {{whenNoneHealthy: {policy}, {check}}}\n"),
            listen: [
                "option tcp-check",
                "tcp-check send ping",
                "tcp-check expect string pong",
            ]
            .map(ToOwned::to_owned)
            .to_vec(),
            server: "check inter 1s fall 1".to_owned(),
            ..Setup::over(&addresses)
        };
        let relay = Relay::start(place, &setup).await?;
        pass(Duration::from_secs(4)).await;
        let mut served = 0;
        for _ in 0..n {
            // One that is refused may see it as soon as it connects.
            let session = async { ping(&mut client::dial(relay.listener).await?).await };
            let answer = timeout(SOON, session).await;
            served += usize::from(answer.is_ok_and(|answer| answer.is_ok()));
        }
        let right = if policy == "TryAll" {
            served
        } else {
            n - served
        };
        figures.push(Figure::share(figure, right, n).all());
        if policy == "Refuse" {
            figures.push(Figure::yes(SHOWN, shown(place, &relay).await?));
        }
    }
    Ok(figures)
}

/// Whether the side says that no server is usable.
async fn shown(place: &Place<'_>, relay: &Relay) -> Result<bool> {
    if place.by_side(false, true) {
        let state = relay.command("show servers state torture").await?;
        // The sixth word is the state: 0 is down.
        let down = |line: &&str| line.split(' ').nth(5) == Some("0");
        return Ok(state.lines().filter(down).count() == 3);
    }
    // The condition that `run` prints, as a cluster shows it in the status.
    Ok(relay.process.log()?.contains("NoHealthyBackend"))
}
