//! Edge. Many new clients at once, and what becomes of those that are there.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::client;
use crate::eventually::pass;
use crate::measure;
use crate::torture::Place;
use crate::torture::figure::{Figure, count};
use crate::torture::flow::ping;
use crate::torture::load::{Outcome, open_loop, ping_all};
use crate::torture::relay::Setup;
use crate::torture::resources::{Echo, beside};

/// Connections of a flood by one address.
const PORTS: u32 = 50_000;

/// A client that says hello and stays for 2 s. Its port is given, so that the kernel's search for one, which is long
/// when they are few, is the side's alone.
async fn guest(number: u32, listener: SocketAddr) -> Result<String> {
    let host = 60 + u8::try_from(number / PORTS)?;
    let port = 10_000 + u16::try_from(number % PORTS)?;
    let source = SocketAddr::from(([10, 77, 0, host], port));
    let mut stream = client::dial_from(source, listener).await?;
    ping(&mut stream).await?;
    pass(Duration::from_secs(2)).await;
    Ok(String::new())
}

/// So many guests a second, on a thread of their own: what they wait for holds nobody else up.
async fn flood(rate: u32, time: Duration, listener: SocketAddr) -> Result<Outcome> {
    let (mut done, outcome) = oneshot::channel();
    std::thread::spawn(move || {
        let flooding = async {
            let number = Cell::new(0);
            let client = |listener| guest(number.replace(number.get() + 1), listener);
            open_loop(rate, time, listener, client).await
        };
        let runtime = Builder::new_current_thread().enable_all().build();
        let outcome = runtime.map_err(Into::into).and_then(|runtime| {
            runtime.block_on(async {
                tokio::select! {
                    outcome = flooding => outcome,
                    () = done.closed() => bail!("nobody waits for the flood"),
                }
            })
        });
        let _ = done.send(outcome);
    });
    outcome.await?
}

/// R31. A flood, with 128 MiB of memory and descriptors for 2,000 sessions.
///
/// # Errors
/// The side doesn't start, or memory can't be limited.
pub async fn overload(place: &Place<'_>) -> Result<Vec<Figure>> {
    let time = Duration::from_secs(place.scaled(2, 50, |_| 50));
    let setup = Setup {
        descriptors: Some(4096),
        ..Setup::default()
    };
    // The limit stands first, so that it is dropped last: its group goes once nobody is in it.
    let (limit, mut echo) = {
        let echo = Echo::start(place, setup).await?;
        (measure::MemoryLimit::set(echo.pid(), 128 << 20)?, echo)
    };
    let mut served = Vec::new();
    for _ in 0..20 {
        served.push(echo.session().await?);
    }
    let (calm, _) = ping_all(&mut served, Duration::from_secs(1)).await;
    let flooded = flood(1000, time, echo.relay.listener);
    let (flooded, (disturbed, broken)) = tokio::join!(flooded, ping_all(&mut served, time));
    let flooded = flooded?;
    let serves = echo.session().await.is_ok();
    ensure!(echo.relay.process.ended()?.is_none(), "it has ended");
    let resident = f64::from(measure::resident(echo.pid())?) / 1024.0;
    ensure!(echo.server.accepted() > 0);
    Ok(vec![
        Figure::new("killed for memory", count(limit.kills()?), "times").at_most(0.0),
        Figure::new("open sessions that broke", count(broken), "sessions").at_most(0.0),
        place.timing(beside(
            "their p99, at most twice the calm one",
            &disturbed,
            &calm,
        )),
        Figure::new(
            "clients of the flood that failed",
            count(flooded.failed()),
            "clients",
        ),
        Figure::new("memory after it", resident, "MiB"),
        Figure::yes("serves afterwards", serves),
    ])
}
