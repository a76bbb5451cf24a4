//! Edge. What trips those who splice: pieces of every size, pauses, sessions that turn from much to
//! little, ends in mid-stream, and a great deal on one connection.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::client;
use crate::eventually::pass;
use crate::payload::Payload;
use crate::torture::Place;
use crate::torture::figure::{Figure, count};
use crate::torture::flow::{Flow, Link, SOON};
use crate::torture::load::percentile;
use crate::torture::relay::Setup;
use crate::torture::way::Way;

/// R24. All of it over one relay.
///
/// # Errors
/// A session can't be opened, or bytes get stuck.
pub async fn all(place: &Place<'_>) -> Result<Vec<Figure>> {
    let link = Link::start(place, Setup::default()).await?;
    let mut figures = every_size(place, &link).await?;
    figures.push(chat_behind_much(place, &link).await?);
    figures.push(ends_midway(place, &link).await?);
    figures.extend(very_long(place, &link).await?);
    Ok(figures)
}

/// Sizes of pieces, from chat to bulk.
const SIZES: [usize; 4] = [1, 1 << 10, 64 << 10, 4 << 20];

/// Sessions at a time that send pieces of every size.
const SESSIONS: u64 = 4;

async fn every_size(place: &Place<'_>, link: &Link) -> Result<Vec<Figure>> {
    let window = Duration::from_secs(place.scaled(2, 20, |_| 60));
    let flows = link.flows(4).await?.into_iter().zip(0..SESSIONS);
    let seen = try_join_all(flows.map(|(flow, seed)| pieces(flow, seed, window))).await?;
    let n_exact = seen.iter().map(|(n_exact, ..)| n_exact).sum();
    let n = seen.iter().map(|(_, n, _)| n).sum();
    let worst = seen.iter().map(|(.., worst)| *worst).max();
    let worst = worst.unwrap_or_default().as_secs_f64() * 1e3;
    let longest = Figure::new("longest way of a piece", worst, "ms");
    Ok(vec![
        Figure::share("pieces of 1 B to 4 MiB that are exact", n_exact, n).all(),
        place.timing(longest.at_most(1000.0).noise(500.0)),
    ])
}

/// Sends pieces to and fro with pauses; how many came as they were sent, of how many, and how long the
/// slowest took.
async fn pieces(flow: Flow, seed: u64, window: Duration) -> Result<(usize, usize, Duration)> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut from, mut to) = (flow.down, flow.up);
    let (mut n_exact, mut n, mut worst) = (0, 0, Duration::ZERO);
    let start = Instant::now();
    while start.elapsed() < window {
        let size = random.choice(SIZES).context("there are sizes")?;
        // Several alike in a row: a relay that tells them apart makes up its mind.
        for _ in 0..random.usize(1..8) {
            let piece: Vec<u8> = Payload {
                bytes: size as u64,
                seed: random.u64(..1 << 32),
            }
            .chunks()
            .flatten()
            .collect();
            let mut came = vec![0; size];
            let sent = Instant::now();
            let both = async { tokio::try_join!(from.write_all(&piece), to.read_exact(&mut came)) };
            timeout(SOON, both).await.context("a piece got stuck")??;
            worst = worst.max(sent.elapsed());
            n_exact += usize::from(came == piece);
            n += 1;
            pass(Duration::from_micros(random.u64(..3000))).await;
        }
        if random.bool() {
            std::mem::swap(&mut from, &mut to);
        }
    }
    Ok((n_exact, n, worst))
}

/// Round trips of a session that has moved much, beside those of one that has not.
async fn chat_behind_much(place: &Place<'_>, link: &Link) -> Result<Figure> {
    let rounds = place.scaled(3, 15, |_| 15);
    let (mut behind, mut fresh) = (link.flow().await?, link.fresh().await?);
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..1000 {
            a.push(behind.ping().await?);
            b.push(fresh.ping().await?);
        }
        a.sort_unstable();
        b.sort_unstable();
        ratios.push(percentile(&a, 99) / percentile(&b, 99));
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(rounds / 2).copied().unwrap_or(f64::INFINITY);
    let figure = Figure::new("chat behind much, p99, of a fresh one's", median, "times");
    Ok(place.timing(figure.at_most(1.1).noise(0.1)))
}

/// Sessions that break while the relay holds bytes of them, and what the next ones get.
async fn ends_midway(place: &Place<'_>, link: &Link) -> Result<Figure> {
    let n: u64 = place.scaled(10, 100, |_| 100);
    let mut n_exact = 0;
    for i in 0..n {
        let Flow { mut down, mut up } = link.flow().await?;
        match place.way {
            Way::Spliced => drop(link.relay.pipes.hold_up(&mut up, &mut down).await?),
            _ => drop(timeout(Duration::from_millis(20), flood(&mut up)).await),
        }
        // One of them by its reader, the next one by its writer.
        let kept = if i % 2 == 0 {
            client::reset(down)?;
            up
        } else {
            client::reset(up)?;
            let _ = timeout(SOON, down.read(&mut [0])).await;
            down
        };
        let Flow { mut down, mut up } = link.flow().await?;
        let payload = Payload {
            bytes: 1 << 20,
            seed: i,
        };
        let send = async {
            payload.send(&mut up).await?;
            up.shutdown().await
        };
        let both = async { tokio::try_join!(send, crate::payload::receive(&mut down)) };
        let came = timeout(SOON, both).await.context("the next one hangs")?;
        n_exact += usize::from(came.is_ok_and(|((), digest)| digest == payload.digest()));
        drop(kept);
    }
    let name = "exact behind one that broke in mid-stream";
    Ok(Figure::share(name, n_exact, usize::try_from(n)?).all())
}

/// Sends without an end.
async fn flood(to: &mut TcpStream) -> std::io::Result<()> {
    loop {
        to.write_all(&[b'f'; 64 << 10]).await?;
    }
}

/// Bytes of a block that is sent again and again: a prime, so that no place looks like another one.
const BLOCK: usize = 1_048_573;

/// A soak moves so many times what it does in small pieces.
const LONG: u64 = 20;

/// A great deal on one connection, half of it each way.
async fn very_long(place: &Place<'_>, link: &Link) -> Result<Vec<Figure>> {
    let bytes = place.scaled(256 << 20, 8 << 30, |lengths| {
        (LONG * u64::from(lengths.gibibytes)) << 30
    });
    let Flow { mut down, mut up } = link.flow().await?;
    let start = Instant::now();
    let (to_server, first) = one_way(&mut down, &mut up, bytes / 2).await?;
    let (to_client, second) = one_way(&mut up, &mut down, bytes / 2).await?;
    let rate = count(usize::try_from(bytes >> 20)?) / start.elapsed().as_secs_f64();
    let whole = [to_server, to_client].iter().filter(|all| **all).count();
    let stall = first.max(second).as_secs_f64() * 1e3;
    let longest = Figure::new("its longest stall", stall, "ms");
    Ok(vec![
        Figure::share("a very long one, both ways exact", whole, 2).all(),
        place.timing(longest.at_most(1000.0).noise(500.0)),
        Figure::new("its rate", rate, "MiB/s"),
    ])
}

/// Whether all bytes came as they were sent, and how long nothing came at most.
async fn one_way(from: &mut TcpStream, to: &mut TcpStream, n: u64) -> Result<(bool, Duration)> {
    let whole = Payload {
        bytes: BLOCK as u64,
        seed: 24,
    };
    let block: Vec<u8> = whole.chunks().flatten().collect();
    let n_blocks = n.div_ceil(BLOCK as u64);
    let send = async {
        for _ in 0..n_blocks {
            from.write_all(&block).await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let receive = async {
        let mut buffer = vec![0; 256 << 10];
        let (mut left, mut at, mut exact) = (n_blocks * BLOCK as u64, 0, true);
        let (mut last, mut worst) = (Instant::now(), Duration::ZERO);
        while left > 0 {
            let room = buffer.len().min(BLOCK - at);
            let room = buffer.get_mut(..room).unwrap_or_default();
            let n = timeout(SOON, to.read(room)).await.context("it stands")??;
            ensure!(n > 0, "it ended with {left} bytes to go");
            exact &= block.get(at..at + n) == buffer.get(..n);
            worst = worst.max(last.elapsed());
            (last, at, left) = (Instant::now(), (at + n) % BLOCK, left - n as u64);
        }
        Ok((exact, worst))
    };
    let ((), seen) = tokio::try_join!(send, receive)?;
    Ok(seen)
}
