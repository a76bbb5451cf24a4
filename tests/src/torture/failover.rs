//! Edge. Servers that fail while clients keep coming.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};

use crate::client;
use crate::echo::{Behaviour, Server};
use crate::eventually::pass;
use crate::programs;
use crate::torture::Place;
use crate::torture::figure::{Figure, count};
use crate::torture::flow::{SOON, ping};
use crate::torture::load::{Outcome, open_loop};
use crate::torture::nft;
use crate::torture::relay::{Relay, Setup};

/// The server that fails.
const FAILING: [u8; 4] = [10, 77, 0, 13];

const PORT: u16 = 8000;

/// Clients a second.
fn rate(place: &Place<'_>) -> u32 {
    place.scaled(100, 1000, |_| 1000)
}

/// Connects and reads a name.
async fn name(listener: SocketAddr) -> Result<String> {
    let mut stream = client::dial(listener).await?;
    let mut name = String::new();
    timeout(SOON, stream.read_to_string(&mut name)).await??;
    ensure!(!name.is_empty(), "an empty answer");
    Ok(name)
}

async fn three_servers() -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    for host in [11, 12, 13] {
        let address = format!("10.77.0.{host}:{PORT}");
        servers.push(Server::start(&address, Behaviour::Name(host.to_string())).await?);
    }
    Ok(servers)
}

fn addresses(servers: &[Server]) -> Vec<SocketAddr> {
    servers.iter().map(Server::address).collect()
}

/// R11. The packets to one of three servers get lost, then arrive again; HAProxy has checks for it.
///
/// # Errors
/// The side doesn't start.
pub async fn black_hole(place: &Place<'_>) -> Result<Vec<Figure>> {
    let servers = three_servers().await?;
    let setup = Setup {
        relay: "    loadBalancer: {slowStart: {window: 3s}}\n    healthCheck: {passive: \
                {consecutiveDialFailures: 5, baseEjectionTime: 3s}}\n"
            .to_owned(),
        server: "observe layer4 error-limit 5 on-error mark-down check inter 3s slowstart 3s"
            .to_owned(),
        ..Setup::over(&addresses(&servers))
    };
    let relay = Relay::start(place, &setup).await?;
    let seconds = place.scaled(2, 5, |_| 5);
    let window = Duration::from_secs(seconds);
    let calm = open_loop(rate(place), window, relay.listener, name).await?;
    nft::black_hole(FAILING.into(), PORT)?;
    let fault = open_loop(rate(place), window, relay.listener, name).await?;
    let after = open_loop(rate(place), window, relay.listener, name).await?;
    nft::restore()?;
    let restored = back_again(place, &relay).await?;
    let limit = (calm.percentile(99) * 1.1).max(calm.percentile(99) + 10.0);
    Ok(vec![
        Figure::new("sessions lost", count(lost(&[&fault, &after])), "sessions").at_most(0.0),
        Figure::new("p99 in the first seconds", fault.percentile(99), "ms")
            .at_most(1200.0)
            .noise(100.0),
        place.timing(
            Figure::new(
                "p99 afterwards, 1.1 of the calm one",
                after.percentile(99),
                "ms",
            )
            .at_most(limit)
            .noise(50.0),
        ),
        Figure::yes(
            "used again once it answers",
            restored.answers.contains_key("13"),
        ),
        Figure::new(
            "lost while it comes back",
            count(restored.failed()),
            "sessions",
        )
        .at_most(0.0),
    ])
}

/// Load until the server that failed is used again, at most for its ejection and a bit.
async fn back_again(place: &Place<'_>, relay: &Relay) -> Result<Outcome> {
    let start = Instant::now();
    let mut all = Outcome::default();
    while start.elapsed() < Duration::from_secs(30) && !all.answers.contains_key("13") {
        let some = open_loop(
            rate(place) / 4,
            Duration::from_secs(1),
            relay.listener,
            name,
        )
        .await?;
        all.add(some);
    }
    Ok(all)
}

fn lost(outcomes: &[&Outcome]) -> usize {
    outcomes.iter().map(|outcome| outcome.failed()).sum()
}

/// R11 with `hedge`: another server is raced after 250 ms. Races are a tenth of the dials of late,
/// so there have to be some before the fault.
///
/// # Errors
/// The side doesn't start.
pub async fn hedged(place: &Place<'_>) -> Result<Vec<Figure>> {
    const P99: &str = "p99 with a hedge of 250 ms";
    const LOST: &str = "sessions lost with a hedge";
    const WON: &str = "a raced server was first";
    const NO: &str = "it has no hedged dials";
    let calls_for = place.by_side(true, false);
    if !calls_for {
        return Ok([P99, LOST, WON].map(|name| Figure::cannot(name, NO)).into());
    }
    // The short form runs on machines that are busy: without a race p99 would be far above its limit.
    let (timeout, limit) = place.scaled(("5s", 4000.0), ("1s", 300.0), |_| ("1s", 300.0));
    let servers = three_servers().await?;
    let setup = Setup {
        relay: format!(
            "    dial: {{timeout: {timeout}, deadline: 15s, hedge: {{after: 250ms}}}}\n"
        ),
        ..Setup::over(&addresses(&servers))
    };
    let relay = Relay::start(place, &setup).await?;
    let window = Duration::from_secs(place.scaled(3, 10, |_| 10));
    let calm = open_loop(rate(place), window, relay.listener, name).await?;
    nft::black_hole(FAILING.into(), PORT)?;
    let fault = open_loop(rate(place), window, relay.listener, name).await?;
    let won = relay.metric("hedges_won_total", &[]).await?;
    Ok(vec![
        Figure::new(P99, fault.percentile(99), "ms").at_most(limit),
        Figure::new(LOST, count(lost(&[&calm, &fault])), "sessions").at_most(0.0),
        Figure::yes(WON, won >= 1.0),
    ])
}

/// One of three server processes is killed as `kill -9` does.
///
/// # Errors
/// The side doesn't start.
pub async fn killed(place: &Place<'_>) -> Result<Vec<Figure>> {
    let mut servers = Vec::new();
    let mut addresses = Vec::new();
    for host in [11, 12, 13] {
        let listen = format!("10.77.0.{host}:{PORT}");
        let arguments = ["demo-server", "--name", "n", "--listen", &listen];
        let program = programs::tcpforward()?.args(arguments);
        let mut process = place.lab.start(&format!("server-{host}"), &program)?;
        process.says("listens on", Duration::from_secs(20)).await?;
        servers.push(process);
        addresses.push(listen.parse()?);
    }
    let relay = Relay::start(place, &Setup::over(&addresses)).await?;
    let half = Duration::from_secs(place.scaled(2, 5, |_| 5));
    let page = |listener| async move { Ok(client::get(listener, "/").await?.body) };
    let before = open_loop(rate(place), half, relay.listener, page).await?;
    let failing = servers.last_mut().context("a server")?;
    failing.signal(Signal::KILL)?;
    failing.end(Duration::from_secs(5)).await?;
    let after = open_loop(rate(place), half, relay.listener, page).await?;
    Ok(vec![
        Figure::new("sessions lost before", count(before.failed()), "sessions").at_most(0.0),
        Figure::new(
            "sessions opened after it, lost",
            count(after.failed()),
            "sessions",
        )
        .at_most(0.0),
        place.timing(Figure::new("their p99", after.percentile(99), "ms").noise(20.0)),
    ])
}

/// R8. Everybody is on one server; it dies, and everybody comes back at once.
///
/// # Errors
/// The side doesn't start.
pub async fn herd(place: &Place<'_>) -> Result<Vec<Figure>> {
    let n = place.scaled(200, 2000, |_| 2000);
    let limit = n + n / 4;
    let first = Server::start(&format!("10.77.0.11:{PORT}"), Behaviour::Echo).await?;
    let second = Server::start(&format!("10.77.0.12:{PORT}"), Behaviour::Echo).await?;
    let setup = Setup {
        relay: format!(
            "    backendLimits: {{connections: {limit}, queueTimeout: 5s}}\n    loadBalancer: {{slowStart: {{window: 3s}}}}\n"
        ),
        last_target: Some(", priority: 1".to_owned()),
        server: format!(
            "maxconn {limit} check inter 500ms slowstart 3s on-marked-down shutdown-sessions"
        ),
        last_server: Some(format!("maxconn {limit} backup")),
        ..Setup::over(&[first.address(), second.address()])
    };
    let relay = Relay::start(place, &setup).await?;
    let mut streams = Vec::with_capacity(n);
    for _ in 0..n {
        let mut stream = client::dial(relay.listener).await?;
        ping(&mut stream).await?;
        streams.push(stream);
    }
    let address = first.address().to_string();
    drop(first);
    let start = Instant::now();
    let mut again = Vec::with_capacity(n);
    for stream in streams {
        drop(stream);
        again.push(reconnected(relay.listener, start));
    }
    let again = futures::future::join_all(again).await;
    let back: Vec<_> = again.into_iter().flatten().collect();
    let took = start.elapsed().as_secs_f64();
    let most = second.open();
    let mut streams: Vec<_> = back;
    let n_back = streams.len();
    let _first = Server::start(&address, Behaviour::Echo).await?;
    pass(Duration::from_secs(place.scaled(2, 8, |_| 8))).await;
    let mut alive = 0;
    for stream in &mut streams {
        alive += usize::from(ping(stream).await.is_ok());
    }
    Ok(vec![
        Figure::share("clients that are back", n_back, n).all(),
        place.timing(
            Figure::new("all back after", took, "s")
                .at_most(10.0)
                .noise(2.0),
        ),
        Figure::new(
            "most sessions on the second server",
            count(most),
            "sessions",
        )
        .at_most(count(limit))
        .noise(count(n)),
        Figure::share("sessions alive once the first is back", alive, n).all(),
    ])
}

/// Connects again and again until a byte comes back; nothing after ten seconds.
async fn reconnected(listener: SocketAddr, start: Instant) -> Option<tokio::net::TcpStream> {
    while start.elapsed() < Duration::from_secs(10) {
        if let Ok(mut stream) = client::dial(listener).await
            && ping(&mut stream).await.is_ok()
        {
            return Some(stream);
        }
        pass(Duration::from_millis(100)).await;
    }
    None
}
