//! Edge. How sessions end: half-closed ones and resets.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::client;
use crate::eventually::{eventually, pass};
use crate::measure;
use crate::payload::{self, Payload};
use crate::torture::Place;
use crate::torture::figure::Figure;
use crate::torture::flow::{End, Flow, Link};
use crate::torture::relay::Setup;

/// A whole payload may take that long on a busy machine.
const BULK: Duration = Duration::from_secs(120);

/// What one half-closed session showed.
struct HalfClosed {
    passed_on: Duration,
    digest: payload::Digest,
    end_after: Duration,
}

/// R3. Ends one direction, waits in silence, and sends the answer the other way.
///
/// # Errors
/// A session can't be opened.
pub async fn half_close(place: &Place<'_>, setup: Setup) -> Result<Vec<Figure>> {
    let link = Link::start(place, setup).await?;
    let wait = Duration::from_secs(place.scaled(1, 5, |_| 5));
    let silence = Duration::from_secs(place.scaled(2, 60, |_| 60));
    let bulk = place.scaled(8 << 20, 100 << 20, |_| 100 << 20);
    let (mut passed_on, mut end_after) = (0.0_f64, 0.0_f64);
    let (mut whole, mut n) = (0, 0);
    for (bytes, wait) in [(bulk, wait), (1 << 10, silence)] {
        let flows = [link.flow().await?, link.flow().await?];
        let payload = Payload { bytes, seed: 31 };
        let [client_first, server_first] = flows;
        let (a, b) = tokio::join!(
            half_closed(client_first.down, client_first.up, payload, wait),
            half_closed(server_first.up, server_first.down, payload, wait),
        );
        for shown in [a, b].into_iter().flatten() {
            whole += usize::from(shown.digest == payload.digest());
            passed_on = passed_on.max(shown.passed_on.as_secs_f64() * 1e3);
            end_after = end_after.max(shown.end_after.as_secs_f64() * 1e3);
        }
        n += 2;
    }
    Ok(vec![
        Figure::share("sessions whose answer arrives whole", whole, n).all(),
        Figure::new("FIN passed on after", passed_on, "ms")
            .at_most(50.0)
            .noise(10.0),
        Figure::new("FIN after the answer's last byte", end_after, "ms")
            .at_most(50.0)
            .noise(10.0),
    ])
}

/// `first` ends its direction; after `wait` the other one sends and ends too.
async fn half_closed(
    mut first: TcpStream,
    mut other: TcpStream,
    payload: Payload,
    wait: Duration,
) -> Result<HalfClosed> {
    first.write_all(b"question").await?;
    let ended = Instant::now();
    first.shutdown().await?;
    timeout(BULK, payload::receive(&mut other)).await??;
    let passed_on = ended.elapsed();
    pass(wait).await;
    let send = async {
        payload.send(&mut other).await?;
        other.shutdown().await
    };
    let both = async { tokio::try_join!(send, payload::receive_timed(first)) };
    let ((), (digest, end_after)) = timeout(BULK, both).await??;
    Ok(HalfClosed {
        passed_on,
        digest,
        end_after,
    })
}

/// How a server ends what it has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Fin,
    Reset,
    /// It closes although the client had sent something that it never read.
    Unread,
}

/// How a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Fast,
    /// A mebibyte a second.
    Slow,
}

/// Of each combination: the name of the figure for its end, and of the one for its bytes.
const CASES: [(Ending, Reader, &str, &str); 6] = [
    (
        Ending::Fin,
        Reader::Fast,
        "FIN, fast reader: clean end",
        "FIN, fast reader: whole",
    ),
    (
        Ending::Fin,
        Reader::Slow,
        "FIN, slow reader: clean end",
        "FIN, slow reader: whole",
    ),
    (
        Ending::Reset,
        Reader::Fast,
        "RST, fast reader: seen as a reset",
        "RST, fast reader: whole",
    ),
    (
        Ending::Reset,
        Reader::Slow,
        "RST, slow reader: seen as a reset",
        "RST, slow reader: whole",
    ),
    (
        Ending::Unread,
        Reader::Fast,
        "close with unread input, fast: a reset",
        "close with unread input, fast: whole",
    ),
    (
        Ending::Unread,
        Reader::Slow,
        "close with unread input, slow: a reset",
        "close with unread input, slow: whole",
    ),
];

/// Sessions of slow readers at a time.
const SLOW_AT_ONCE: usize = 20;

/// R5. A server sends and ends in three ways, to a client that reads fast or slowly. Before it
/// resets, all its bytes have reached the relay's host.
///
/// # Errors
/// A session can't be opened.
pub async fn resets(place: &Place<'_>, setup: Setup) -> Result<Vec<Figure>> {
    let link = Link::start(place, setup).await?;
    let runs = place.scaled(3, 20, |lengths| lengths.runs as usize);
    let mut figures = Vec::new();
    for (ending, reader, ends, bytes) in CASES {
        let size = match reader {
            Reader::Fast => place.scaled(4 << 20, 50 << 20, |_| 50 << 20),
            Reader::Slow => place.scaled(1 << 20, 5 << 20, |_| 5 << 20),
        };
        let at_once = if reader == Reader::Slow {
            SLOW_AT_ONCE
        } else {
            1
        };
        let mut seen = Vec::new();
        while seen.len() < runs {
            let flows = link.flows(at_once.min(runs)).await?.into_iter();
            let sessions = flows.map(|flow| ended(flow, ending, reader, size));
            seen.extend(try_join_all(sessions).await?);
        }
        let right = if ending == Ending::Fin {
            End::Clean
        } else {
            End::Reset
        };
        let n_right = seen.iter().filter(|(_, end)| *end == right).count();
        let n_whole = seen.iter().filter(|(bytes, _)| *bytes == size).count();
        figures.push(Figure::share(ends, n_right, seen.len()).all());
        figures.push(Figure::share(bytes, n_whole, seen.len()).all());
    }
    Ok(figures)
}

async fn ended(flow: Flow, ending: Ending, reader: Reader, size: u64) -> Result<(u64, End)> {
    let Flow { mut down, mut up } = flow;
    if ending == Ending::Unread {
        down.write_all(&[b'u'; 1024]).await?;
        up.readable().await?;
    }
    let serve = async {
        Payload {
            bytes: size,
            seed: 5,
        }
        .send(&mut up)
        .await?;
        match ending {
            Ending::Fin => {
                up.shutdown().await?;
                let _ = up.read(&mut [0]).await;
            }
            Ending::Reset => {
                all_has_left(&up).await?;
                client::reset(up)?;
            }
            Ending::Unread => {
                all_has_left(&up).await?;
                drop(up);
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    let ((), seen) = tokio::try_join!(serve, read_at_pace(down, reader))?;
    Ok(seen)
}

/// Waits until the other host has acknowledged every byte.
async fn all_has_left(stream: &TcpStream) -> Result<()> {
    let (here, there) = (stream.local_addr()?, stream.peer_addr()?);
    eventually("every byte to be acknowledged", BULK, async || {
        let sockets = measure::tcp_sockets()?;
        let mut ours = sockets.iter().filter(|socket| {
            std::net::SocketAddr::V4(socket.local) == here
                && std::net::SocketAddr::V4(socket.remote) == there
        });
        let left = ours.next().context("the socket is gone")?.unacknowledged;
        ensure!(left == 0, "{left} bytes under way");
        Ok(())
    })
    .await
}

/// Reads to the end, at a mebibyte a second if slow.
async fn read_at_pace(mut stream: TcpStream, reader: Reader) -> Result<(u64, End)> {
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0;
    loop {
        let read = timeout(BULK, stream.read(&mut buffer)).await?;
        match read {
            Ok(0) => return Ok((total, End::Clean)),
            Ok(n) => total += n as u64,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                return Ok((total, End::Reset));
            }
            Err(error) => return Err(error.into()),
        }
        if reader == Reader::Slow {
            pass(Duration::from_millis(62)).await;
        }
    }
}
