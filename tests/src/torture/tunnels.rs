//! Edge. Tunnels of a CONNECT proxy: what holds for relayed sessions holds for them, and their heads
//! and names do no harm. HAProxy passes CONNECT on to a proxy; it is none.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use crate::client;
use crate::echo::{Behaviour, Server, listen};
use crate::eventually::pass;
use crate::netns;
use crate::torture::figure::{EVERYTHING, Figure, count};
use crate::torture::flow::{self, End, Flow, Link, SOON, end_of};
use crate::torture::load::percentile;
use crate::torture::relay::{Relay, Setup};
use crate::torture::{Place, Side, endings};
use crate::tunnel;

/// Where a second forward of a row listens.
const BESIDE: &str = "127.0.0.1:7001";

fn tunnels() -> Setup {
    Setup {
        tunnels: true,
        ..Setup::default()
    }
}

/// What HAProxy has instead of figures.
fn none(place: &Place<'_>) -> Option<Vec<Figure>> {
    let figure = Figure::cannot(EVERYTHING, "it is no forward proxy");
    (place.side == Side::HaProxy).then(|| vec![figure])
}

/// R3 through tunnels.
///
/// # Errors
/// A tunnel can't be opened.
pub async fn half_close(place: &Place<'_>) -> Result<Vec<Figure>> {
    match none(place) {
        Some(none) => Ok(none),
        None => endings::half_close(place, tunnels()).await,
    }
}

/// R5 through tunnels.
///
/// # Errors
/// A tunnel can't be opened.
pub async fn resets(place: &Place<'_>) -> Result<Vec<Figure>> {
    match none(place) {
        Some(none) => Ok(none),
        None => endings::resets(place, tunnels()).await,
    }
}

/// R7 through tunnels: one of three backends of a Service is taken out. Whoever is on it has no right
/// to it any more.
///
/// # Errors
/// The side doesn't start.
pub async fn removed(place: &Place<'_>) -> Result<Vec<Figure>> {
    if let Some(none) = none(place) {
        return Ok(none);
    }
    netns::bound_buffers()?;
    let n = place.scaled(60, 500, |_| 500);
    let mut servers = Vec::new();
    for host in [11, 12, 13] {
        servers.push(listen(([10, 77, 0, host], 8000).into())?);
    }
    let addresses: Vec<_> = servers.iter().flat_map(TcpListener::local_addr).collect();
    let setup = Setup {
        service: true,
        tunnels: true,
        ..Setup::over(&addresses)
    };
    let relay = Relay::start(place, &setup).await?;
    let (mut kept, mut leaving) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let (flow, server) = open(&relay, &servers).await?;
        let flow = relay.settled(flow).await?;
        if server == 2 {
            leaving.push(flow);
        } else {
            kept.push(flow);
        }
    }
    let backends = setup.backends.iter().take(2).copied().collect();
    let fewer = Setup { backends, ..setup };
    let fresh = relay.file.with_extension("new");
    std::fs::write(&fresh, fewer.manifest())?;
    std::fs::rename(fresh, &relay.file)?;
    let start = Instant::now();
    let ends = leaving.iter_mut().map(|flow| async move {
        let end = end_of(&mut flow.down, SOON).await;
        (end.ok(), start.elapsed().as_secs_f64())
    });
    let ends = join_all(ends).await;
    let n_reset = ends
        .iter()
        .filter(|(end, _)| *end == Some(End::Reset))
        .count();
    let last = ends.iter().map(|(_, after)| *after).fold(0.0, f64::max);
    let mut late = 0;
    for _ in 0..60 {
        let (flow, server) = open(&relay, &servers).await?;
        late += usize::from(server == 2);
        kept.push(flow);
    }
    let mut alive = 0;
    for flow in &mut kept {
        alive += usize::from(flow.ping().await.is_ok());
    }
    Ok(vec![
        Figure::share("its tunnels, seen as a reset", n_reset, ends.len()).all(),
        Figure::new("the last of them after", last, "s").at_most(5.0),
        Figure::new("new tunnels to it", count(late), "tunnels").at_most(0.0),
        Figure::share("tunnels to the others alive", alive, kept.len()).all(),
    ])
}

async fn open(relay: &Relay, servers: &[TcpListener]) -> Result<(Flow, usize)> {
    let down = relay.session("all.default.svc:8000").await?;
    let accepts = servers.iter().map(|server| Box::pin(server.accept()));
    let first = futures::future::select_all(accepts);
    let (accepted, server, _) = timeout(SOON, first).await.context("no tunnel came")?;
    let up = accepted?.0;
    Ok((Flow { down, up }, server))
}

/// R32. A thousand ask for names that DNS doesn't answer for, beside a relay at work.
///
/// # Errors
/// The side doesn't start.
pub async fn silent_dns(place: &Place<'_>) -> Result<Vec<Figure>> {
    if let Some(none) = none(place) {
        return Ok(none);
    }
    let n: u16 = place.scaled(100, 1000, |_| 1000);
    let _silent = UdpSocket::bind("10.77.0.53:53").await?;
    let server = Server::start("10.77.0.11:8000", Behaviour::Echo).await?;
    let port = BESIDE.rsplit(':').next().unwrap_or_default();
    let proxy = format!(
        "---\napiVersion: tcpforward.dev/v1alpha1\nkind: TcpForward\nmetadata: {{name: proxy}}\nspec:\n  \
         listener: {{port: {port}, address: 127.0.0.1}}\n  httpConnect:\n    rules:\n    \
         - {{name: all, action: Allow, hosts: [\"*.example\"]}}\n"
    );
    let setup = Setup {
        options: vec!["--dns-server", "10.77.0.53:53"],
        beside: proxy,
        ..Setup::over(&[server.address()])
    };
    let relay = Relay::start(place, &setup).await?;
    let quiet = pings(&relay).await?;
    let start = Instant::now();
    let asks = (0..n).map(|i| async move {
        let source = [10, 77, 0, u8::try_from(100 + i % 10)?];
        let stream = client::dial_from((source, 0).into(), BESIDE.parse()?).await?;
        let asked = tunnel::ask_over(stream, &format!("n{i}.example:443"), "").await?;
        Ok::<_, anyhow::Error>((asked, start.elapsed().as_secs_f64()))
    });
    let (answers, busy) = tokio::join!(join_all(asks), pings(&relay));
    let busy = busy?;
    let threads = std::fs::read_dir(format!("/proc/{}/task", relay.process.pid()))?.count();
    let (mut n_answered, mut last) = (0, 0.0_f64);
    for answer in answers {
        let (asked, after) = answer?;
        last = last.max(after);
        n_answered += usize::from(asked.refused(504).is_ok());
    }
    let more = Figure::new("a relay's ping, p99, more by", busy - quiet, "ms").at_most(20.0);
    Ok(vec![
        Figure::share("answered with 504", n_answered, n.into()).all(),
        Figure::new("the last answer after", last, "s").at_most(7.0),
        place.timing(more),
        Figure::new("threads of the process", count(threads), "threads").at_most(40.0),
    ])
}

/// The 99th percentile of a ping over new sessions, in milliseconds.
async fn pings(relay: &Relay) -> Result<f64> {
    let mut waits = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        let mut stream = client::dial(relay.listener).await?;
        flow::ping(&mut stream).await?;
        waits.push(start.elapsed());
    }
    waits.sort_unstable();
    Ok(percentile(&waits, 99))
}

/// R33. Heads that mean no good.
///
/// # Errors
/// The side doesn't start.
pub async fn heads(place: &Place<'_>) -> Result<Vec<Figure>> {
    if let Some(none) = none(place) {
        return Ok(none);
    }
    let limit: u16 = place.scaled(2, 10, |_| 10);
    let setup = Setup {
        connect: format!("    limits: {{headerTimeout: {limit}s, maxHeaderSize: 8Ki}}\n"),
        ..tunnels()
    };
    let link = Link::start(place, setup).await?;
    let target = link.backend.local_addr()?.to_string();
    let plain = tunnel::head(&target, "");
    let start = Instant::now();
    let slow = dripped(link.relay.listener).await?;
    let after = start.elapsed().as_secs_f64();
    let fields = |fields: &str| tunnel::head(&target, fields);
    let refused = [
        ("431", fields(&format!("X: {}\r\n", "x".repeat(64 << 10)))),
        ("400", plain.replace("\r\n", "\n")),
        ("400", fields("Content-Length: 5\r\n") + "hello"),
        (
            "400",
            fields("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n",
        ),
        (
            "405",
            format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n").repeat(10),
        ),
    ];
    let (mut n_right, n_all) = (0, refused.len());
    for (status, request) in refused {
        let answer = answer_to(link.relay.listener, request.as_bytes()).await?;
        let line = format!("HTTP/1.1 {status} ");
        n_right +=
            usize::from(answer.starts_with(&line) && answer.matches("Proxy-Status:").count() == 1);
    }
    let reached = timeout(Duration::from_millis(200), link.backend.accept()).await;
    let once = early(&link, &plain).await?;
    let limit = f64::from(limit);
    Ok(vec![
        Figure::yes(
            "a head that drips gets 408",
            slow.starts_with("HTTP/1.1 408 "),
        ),
        Figure::new("after", after, "s").between(limit - 0.5, limit + 1.5),
        Figure::share("the others, one answer and the end", n_right, n_all).all(),
        Figure::yes("none of them reaches the target", reached.is_err()),
        Figure::yes("early bytes reach it once", once),
    ])
}

/// Sends a head byte by byte and returns what comes back.
async fn dripped(listener: SocketAddr) -> Result<String> {
    let (mut reader, mut writer) = client::dial(listener).await?.into_split();
    let drip = async {
        writer.write_all(b"CONNECT ").await?;
        while writer.write_all(b"a").await.is_ok() {
            pass(Duration::from_millis(100)).await;
        }
        std::future::pending::<Result<String>>().await
    };
    let read = async {
        let mut answer = String::new();
        timeout(SOON, reader.read_to_string(&mut answer)).await??;
        Ok(answer)
    };
    tokio::select! {
        answer = read => answer,
        never = drip => never,
    }
}

async fn answer_to(listener: SocketAddr, request: &[u8]) -> Result<String> {
    let mut stream = client::dial(listener).await?;
    stream.write_all(request).await?;
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await??;
    Ok(answer)
}

/// Whether bytes in the head's segment reach the target once.
async fn early(link: &Link, head: &str) -> Result<bool> {
    let mut down: TcpStream = client::dial(link.relay.listener).await?;
    down.write_all(format!("{head}early").as_bytes()).await?;
    down.shutdown().await?;
    let (mut up, _) = timeout(SOON, link.backend.accept()).await??;
    let mut came = String::new();
    timeout(SOON, up.read_to_string(&mut came)).await??;
    Ok(came == "early")
}
