//! Edge. Sessions that come and go for a long time, with every ending there is.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use crate::client;
use crate::echo::{Behaviour, Server};
use crate::eventually::pass;
use crate::measure;
use crate::torture::Place;
use crate::torture::figure::{Figure, count};
use crate::torture::flow::{SOON, ping, read_to_end};
use crate::torture::load::open_loop;
use crate::torture::relay::{Relay, Setup};

/// What a relay takes for good it has taken by then.
const WARM: Duration = Duration::from_secs(300);

/// R30. Churn: a slope of memory, or descriptors that stay, is a leak.
///
/// # Errors
/// The side doesn't start.
pub async fn leak(place: &Place<'_>) -> Result<Vec<Figure>> {
    let window = place.scaled(
        Duration::from_secs(10),
        Duration::from_secs(60),
        |lengths| Duration::from_secs(60) * lengths.minutes,
    );
    let rate = place.scaled(200, 1000, |_| 1000);
    // A port to a server rests for a minute after its session: one server would use up all of them.
    let mut servers = Vec::new();
    for host in 11..19 {
        servers.push(Server::start(&format!("10.77.0.{host}:8000"), Behaviour::Echo).await?);
    }
    let addresses: Vec<_> = servers.iter().map(Server::address).collect();
    let relay = Relay::start(place, &Setup::over(&addresses)).await?;
    let pid = relay.process.pid();
    let idle = relay.pipes.other_descriptors()?;
    let warm = WARM.min(window / 4);
    let first = open_loop(rate, warm, relay.listener, mixed).await?;
    let resident = measure::resident(pid)?;
    let start = Instant::now();
    let rest = open_loop(rate, window - warm, relay.listener, mixed).await?;
    let grown = f64::from(measure::resident(pid)?) - f64::from(resident);
    let ten_minutes = start.elapsed().as_secs_f64() / 600.0;
    pass(Duration::from_secs(5)).await;
    let left = relay.pipes.other_descriptors()?.saturating_sub(idle);
    let slope = Figure::new("memory in ten minutes", grown / 1024.0 / ten_minutes, "MiB");
    // A few seconds don't show a slope.
    let slope = place.scaled(slope.clone().told(), slope.clone().told(), |_| {
        slope.clone().at_most(1.0).noise(1.0)
    });
    Ok(vec![
        slope,
        Figure::new("descriptors left behind", count(left), "files").at_most(0.0),
        relay.pipes.kept()?,
        Figure::new("sessions", count(first.total() + rest.total()), "sessions"),
        Figure::new(
            "sessions that failed",
            count(first.failed() + rest.failed()),
            "sessions",
        )
        .at_most(0.0),
    ])
}

/// A session that ends in one of five ways, in turn.
async fn mixed(listener: SocketAddr) -> Result<String> {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let mut stream = client::dial(listener).await?;
    ping(&mut stream).await?;
    match TURN.fetch_add(1, Ordering::Relaxed) % 20 {
        0..5 => client::reset(stream)?,
        5..10 => {
            stream.shutdown().await?;
            read_to_end(&mut stream, SOON).await?;
        }
        10..15 => {
            // It goes while an answer is on its way to it.
            stream.write_all(&[b'x'; 4096]).await?;
        }
        15 => {
            // So much that ours takes pipes for it, and they have bytes in them when it ends.
            let much = stream.write_all(&[b'x'; 256 << 10]);
            // The server may be held back by what nobody reads.
            let _ = timeout(Duration::from_millis(50), much).await;
            client::reset(stream)?;
        }
        _ => drop(stream),
    }
    Ok(String::new())
}
