//! Edge. Peers that don't take what they are sent, and buffers that cut it into pieces.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::join_all;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::eventually::pass;
use crate::measure;
use crate::netns;
use crate::payload::{self, Digest, Payload};
use crate::torture::Place;
use crate::torture::figure::{Figure, count};
use crate::torture::flow::{Flow, Link};
use crate::torture::relay::Setup;
use crate::torture::way::{Pipes, Way};

/// A whole payload may take that long on a busy machine.
const BULK: Duration = Duration::from_secs(300);

/// R12. Servers send without pause to clients that don't read for a while.
///
/// # Errors
/// A session can't be opened.
pub async fn slow_readers(place: &Place<'_>) -> Result<Vec<Figure>> {
    netns::bound_buffers()?;
    let n = place.scaled(50, 200, |_| 200);
    let stall = Duration::from_secs(place.scaled(2, 60, |_| 60));
    let payload = Payload {
        bytes: 4 << 20,
        seed: 12,
    };
    // Buffers as large as ours: what a stalled reader costs beside its buffer is compared.
    let setup = Setup {
        global: vec!["tune.bufsize 65536".to_owned()],
        ..Setup::default()
    };
    let link = Link::start(place, setup).await?;
    drop(link.flow().await?);
    let resident = measure::resident(link.pid())?;
    let kernel = measure::socket_memory()?;
    let flows = link.flows(n).await?;
    let start = Instant::now();
    let (mut senders, mut readers) = (JoinSet::new(), Vec::new());
    let sent = Arc::new(AtomicU64::new(0));
    for flow in flows {
        readers.push(flow.down);
        senders.spawn(send_counted(flow.up, payload, Arc::clone(&sent)));
    }
    let blocked = still(&sent, start).await;
    let mut grown = 0;
    while start.elapsed() < stall {
        grown = grown.max(measure::resident(link.pid())?.saturating_sub(resident));
        pass(Duration::from_millis(200)).await;
    }
    let kernel = measure::socket_memory()?.saturating_sub(kernel);
    let digests = timeout(BULK, join_all(readers.into_iter().map(payload::receive))).await?;
    let wanted = payload.digest();
    let n_whole = digests
        .iter()
        .filter(|came| came.as_ref().is_ok_and(|d| *d == wanted))
        .count();
    Ok(vec![
        Figure::new(
            "memory grown by stalled readers",
            f64::from(grown) / 1024.0,
            "MiB",
        )
        .at_most(64.0)
        .noise(2.0),
        Figure::new("senders held back after", blocked.as_secs_f64(), "s")
            .at_most(2.0)
            .noise(1.0),
        Figure::share("streams whole once they are read", n_whole, n).all(),
        Figure::new("kernel memory, all ends", f64::from(kernel) / 1024.0, "MiB"),
    ])
}

async fn send_counted(mut to: TcpStream, payload: Payload, sent: Arc<AtomicU64>) -> Result<()> {
    for chunk in payload.chunks() {
        let mut rest: &[u8] = &chunk;
        while !rest.is_empty() {
            let n = to.write(rest).await?;
            sent.fetch_add(n as u64, Ordering::Relaxed);
            rest = rest.get(n..).unwrap_or_default();
        }
    }
    Ok(to.shutdown().await?)
}

/// When a count last moved, once it has not moved for half a second; from `start`.
async fn still(sent: &AtomicU64, start: Instant) -> Duration {
    let (mut last, mut moved) = (0, start);
    while moved.elapsed() < Duration::from_millis(500) {
        let now = sent.load(Ordering::Relaxed);
        if now != last {
            (last, moved) = (now, Instant::now());
        }
        pass(Duration::from_millis(20)).await;
    }
    moved.saturating_duration_since(start)
}

/// R29. Both directions full, and an end that waits behind the bytes of one.
///
/// # Errors
/// A session can't be opened.
pub async fn wedged(place: &Place<'_>) -> Result<Vec<Figure>> {
    netns::bound_buffers()?;
    let n = place.scaled(20, 100, |_| 100);
    let window = Duration::from_secs(10);
    let link = Link::start(place, Setup::default()).await?;
    let mut flows = link.flows(n).await?;
    fill(flows.iter_mut().flat_map(|flow| [&flow.down, &flow.up])).await?;
    for flow in &mut flows {
        flow.up.shutdown().await?;
    }
    let before = measure::processor_time(link.pid())?;
    pass(window).await;
    let used = measure::processor_time(link.pid())? - before;
    let figure = Figure::new(
        "processor with wedged sessions",
        measure::percent(used, window),
        "%",
    );
    Ok(vec![figure.at_most(1.0).noise(1.0)])
}

/// Writes into every stream until none takes any more for half a second.
async fn fill(streams: impl Iterator<Item = &TcpStream>) -> Result<()> {
    let streams: Vec<_> = streams.collect();
    let chunk = vec![b'w'; 64 << 10];
    let mut moved = Instant::now();
    while moved.elapsed() < Duration::from_millis(500) {
        for stream in &streams {
            while stream.try_write(&chunk).is_ok_and(|n| n > 0) {
                moved = Instant::now();
            }
        }
        pass(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// R23. Sockets that take and give a few bytes at a time, both ways at once.
///
/// # Errors
/// A session can't be opened, or stands still.
pub async fn partial_writes(place: &Place<'_>) -> Result<Vec<Figure>> {
    const FLOWS: u64 = 8;
    netns::bound_buffers()?;
    let bytes = place.scaled(32 << 20, 256 << 20, |lengths| {
        u64::from(lengths.gibibytes) << 30
    });
    let link = Link::start(place, Setup::default()).await?;
    let each = bytes / FLOWS / 4;
    let start = Instant::now();
    let mut whole = Vec::new();
    for cut in [Cut::AtSender, Cut::AtReceiver] {
        let flows = link.flows(8).await?.into_iter().zip(0..);
        let exchanges = flows.map(|(flow, seed)| crosswise(flow, each, seed, cut));
        let (all, carried) = beside(join_all(exchanges), &link.relay.pipes).await?;
        // One that breaks is not whole.
        whole.extend(all.into_iter().map(|whole| whole.unwrap_or(false)));
        // What comes in small pieces is copied by ours: only the other half has to go by pipes. A short one is
        // looked at a few times.
        let least = place.scaled(0.0, 0.5, |_| 0.5);
        ensure!(
            (place.way, cut) != (Way::Spliced, Cut::AtReceiver) || carried > least,
            "pipes held bytes at {:.0} % of the looks",
            carried * 100.0
        );
    }
    let n_whole = whole.iter().filter(|whole| **whole).count();
    let rate = count(usize::try_from(bytes >> 20)?) / start.elapsed().as_secs_f64();
    Ok(vec![
        Figure::share("streams whole, in pieces both ways", n_whole, whole.len()).all(),
        Figure::new("rate of the pieces", rate, "MiB/s"),
    ])
}

/// Where bytes are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// A relay can take a little only.
    AtSender,
    /// A relay can get rid of a little only.
    AtReceiver,
}

/// Runs something and says beside its result at which share of the looks pipes held bytes.
async fn beside<T>(work: impl Future<Output = T>, pipes: &Pipes) -> Result<(T, f64)> {
    let mut work = std::pin::pin!(work);
    let (start, mut looks, mut carried) = (Instant::now(), 0, 0);
    loop {
        if let Ok(done) = timeout(Duration::from_millis(20), &mut work).await {
            return Ok((done, count(carried) / count(looks).max(1.0)));
        }
        ensure!(start.elapsed() < BULK * 12, "bytes got stuck");
        looks += 1;
        carried += usize::from(pipes.bytes()? > 0);
    }
}

async fn crosswise(flow: Flow, bytes: u64, seed: u64, cut: Cut) -> Result<bool> {
    let (up, down) = (
        Payload { bytes, seed },
        Payload {
            bytes,
            seed: seed + 1000,
        },
    );
    for stream in [&flow.down, &flow.up] {
        let socket = SockRef::from(stream);
        match cut {
            Cut::AtSender => socket.set_send_buffer_size(4 << 10)?,
            Cut::AtReceiver => socket.set_recv_buffer_size(64 << 10)?,
        }
    }
    let (at_up, at_down): (Digest, Digest) = tokio::try_join!(
        exchange_in_pieces(flow.up, down, seed),
        exchange_in_pieces(flow.down, up, seed + 1)
    )?;
    Ok(at_up == up.digest() && at_down == down.digest())
}

async fn exchange_in_pieces(stream: TcpStream, payload: Payload, seed: u64) -> Result<Digest> {
    let (from, mut to) = stream.into_split();
    let from = Pieces {
        inner: from,
        sizes: fastrand::Rng::with_seed(seed),
    };
    let send = async {
        payload.send(&mut to).await?;
        to.shutdown().await
    };
    let ((), digest) = tokio::try_join!(send, payload::receive(from))?;
    Ok(digest)
}

/// Reads a random number of bytes at a time.
struct Pieces<R> {
    inner: R,
    sizes: fastrand::Rng,
}

impl<R: AsyncRead + Unpin> AsyncRead for Pieces<R> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let size = self.sizes.usize(1..=16 << 10).min(buffer.remaining());
        let mut piece = vec![0; size];
        let mut piece = ReadBuf::new(&mut piece);
        std::task::ready!(std::pin::Pin::new(&mut self.inner).poll_read(cx, &mut piece))?;
        buffer.put_slice(piece.filled());
        std::task::Poll::Ready(Ok(()))
    }
}
