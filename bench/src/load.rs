//! Edge. The load driver: streams, round trips, exchanges and idle connections over one path, each bounded in
//! time and count, and ending by itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use tcpforward_tests::{client, tunnel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::backend::{CHUNK, MESSAGE, Service};
use crate::lane::{self, Lane};
use crate::outcome::Outcome;

/// Whatever still runs that long after a load's end hangs.
const GRACE: Duration = Duration::from_secs(5);

/// Where clients connect, and how they get from there to a server.
#[derive(Clone, Debug)]
pub struct Path {
    /// Listeners, used in turn.
    pub listeners: Vec<SocketAddr>,
    /// What to ask the proxy for that listens there; absent: it is none.
    pub tunnel: Option<String>,
}

/// How long a load goes on: until the first of these.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Time.
    pub time: Duration,
    /// Operations, or bytes, altogether.
    pub count: u64,
}

/// When clients do the next thing.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// As soon as the one before is done: as fast as it goes.
    Closed,
    /// So many a second, whatever becomes of those before. One that had to wait for its lane is measured from when
    /// it was due.
    Open(u32),
}

/// Which way a stream goes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// From backend to client.
    Down,
    /// From client to backend.
    Up,
}

impl Path {
    /// A connection to a server, by one of the listeners.
    ///
    /// # Errors
    /// Refused, or no answer in time.
    pub async fn dial(&self, turn: usize) -> Result<TcpStream> {
        let listener = self.listeners.get(turn % self.listeners.len().max(1));
        let mut stream = client::dial(*listener.context("no listener")?).await?;
        stream.set_nodelay(true)?;
        if let Some(target) = &self.tunnel {
            timeout(GRACE, ask(&mut stream, target))
                .await
                .context("the proxy is silent")??;
        }
        Ok(stream)
    }

    /// Connects, sends a message, reads another one and the end.
    ///
    /// # Errors
    /// Any of that fails.
    pub async fn exchange(&self, turn: usize) -> Result<()> {
        let mut stream = self.dial(turn).await?;
        let mut message = [0; MESSAGE];
        message[0] = Service::Answer as u8;
        stream.write_all(&message).await?;
        stream.read_exact(&mut message).await?;
        // The server closes first, so that ports rest on its side.
        ensure!(stream.read(&mut message).await? == 0, "more than an answer");
        Ok(())
    }

    /// A connection that is echoed.
    ///
    /// # Errors
    /// Refused, or no echo.
    pub async fn echoed(&self, turn: usize) -> Result<TcpStream> {
        let mut stream = self.dial(turn).await?;
        stream.write_all(&[Service::Echo as u8, 0]).await?;
        let echo = timeout(GRACE, stream.read_u8()).await;
        echo.context("no echo")??;
        Ok(stream)
    }
}

/// Asks for a tunnel. The servers of the bench never speak first, so nothing of theirs comes with the answer.
async fn ask(stream: &mut TcpStream, target: &str) -> Result<()> {
    stream
        .write_all(tunnel::head(target, "").as_bytes())
        .await?;
    let mut answer = Vec::with_capacity(512);
    while !answer.ends_with(b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut answer).await? > 0, "no answer");
    }
    let is_tunnel = answer.starts_with(b"HTTP/1.1 200") || answer.starts_with(b"HTTP/1.0 200");
    ensure!(is_tunnel, "{}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// Streams bytes over so many connections; the outcome counts bytes.
///
/// # Errors
/// A connection can't be opened.
pub async fn bulk(path: &Path, way: Way, streams: usize, bounds: Bounds) -> Result<Outcome> {
    let mut open = Vec::new();
    for turn in 0..streams {
        open.push(path.dial(turn).await?);
    }
    let start = Instant::now();
    let total = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for stream in open {
        let stream = pour(
            stream,
            way,
            start + bounds.time,
            bounds.count,
            total.clone(),
        );
        tasks.spawn(async move { Outcome::of(stream.await) });
    }
    let mut outcome = gather(tasks, bounds).await?;
    outcome.units = total.load(Ordering::Relaxed);
    outcome.time = start.elapsed();
    Ok(outcome)
}

async fn pour(
    mut stream: TcpStream,
    way: Way,
    end: Instant,
    limit: u64,
    total: Arc<AtomicU64>,
) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    let service = match way {
        Way::Up => Service::Sink,
        Way::Down => Service::Source,
    };
    stream.write_all(&[service as u8]).await?;
    while total.load(Ordering::Relaxed) < limit {
        let moved = match way {
            Way::Up => timeout_at(end, stream.write(&chunk)).await,
            Way::Down => timeout_at(end, stream.read(&mut chunk)).await,
        };
        let Ok(moved) = moved else { break };
        let moved = moved?;
        ensure!(moved > 0, "the stream ended");
        total.fetch_add(u64::try_from(moved)?, Ordering::Relaxed);
    }
    Ok(())
}

/// Sends messages over open connections and waits for each to come back.
///
/// # Errors
/// A connection can't be opened.
pub async fn ping_pong(path: &Path, pace: Pace, lanes: usize, bounds: Bounds) -> Result<Outcome> {
    let mut ready = Vec::new();
    for turn in 0..lanes {
        ready.push(Lane::PingPong(path.echoed(turn).await?));
    }
    in_lanes(ready, pace, bounds).await
}

/// Opens connections, exchanges a message and closes them.
///
/// # Errors
/// Never; what a client meets is part of the outcome.
pub async fn exchanges(path: &Path, pace: Pace, lanes: usize, bounds: Bounds) -> Result<Outcome> {
    let path = Arc::new(path.clone());
    let lane = |turn| Lane::Exchange(Arc::clone(&path), turn);
    in_lanes((0..lanes).map(lane).collect(), pace, bounds).await
}

async fn in_lanes(lanes: Vec<Lane>, pace: Pace, bounds: Bounds) -> Result<Outcome> {
    let start = Instant::now();
    let done = Arc::new(AtomicU64::new(0));
    let n = u32::try_from(lanes.len())?;
    let mut tasks = JoinSet::new();
    for (i, lane) in (0..).zip(lanes) {
        let schedule = lane::Schedule::new(pace, start, i, n);
        tasks.spawn(lane.run(schedule, start + bounds.time, bounds.count, done.clone()));
    }
    let mut outcome = gather(tasks, bounds).await?;
    outcome.time = start.elapsed();
    Ok(outcome)
}

/// Waits for all of them; those that hang are failures.
async fn gather(mut tasks: JoinSet<Outcome>, bounds: Bounds) -> Result<Outcome> {
    let end = Instant::now() + bounds.time + GRACE;
    let mut outcome = Outcome::default();
    while !tasks.is_empty() {
        match timeout_at(end, tasks.join_next()).await {
            Ok(Some(ended)) => outcome.add(ended?)?,
            Ok(None) => break,
            Err(_) => {
                for _ in 0..tasks.len() {
                    outcome.failed(&anyhow!("it hangs {GRACE:?} after the load's end"));
                }
                break;
            }
        }
    }
    Ok(outcome)
}

/// Connections that were echoed once and are silent now.
///
/// # Errors
/// One of them can't be opened.
pub async fn idle(path: &Path, n: usize) -> Result<Vec<TcpStream>> {
    let mut held = Vec::with_capacity(n);
    for turn in 0..n {
        held.push(path.echoed(turn).await?);
    }
    Ok(held)
}

/// Asks for endless bytes and reads a few of them at a time, until dropped.
///
/// # Errors
/// The stream breaks.
pub async fn slow_reader(path: &Path) -> Result<()> {
    let mut stream = path.dial(0).await?;
    stream.write_all(&[Service::Source as u8]).await?;
    let mut few = vec![0; 16 << 10];
    let mut turn = tokio::time::interval(Duration::from_millis(50));
    loop {
        turn.tick().await;
        ensure!(stream.read(&mut few).await? > 0, "the stream ended");
    }
}
