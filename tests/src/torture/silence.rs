//! Edge. What silence does: sessions that nobody ends, peers that are gone.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::eventually::{eventually, pass};
use crate::measure;
use crate::netns;
use crate::torture::figure::Figure;
use crate::torture::flow::{End, Flow, Link, SOON, end_of};
use crate::torture::nft;
use crate::torture::relay::Setup;
use crate::torture::{Place, Side};

/// Where the clients of a row are that takes them off the net.
const CLIENTS: [u8; 4] = [10, 77, 0, 50];

/// R4. A thousand half-closed sessions whose both peers vanish.
///
/// # Errors
/// A session can't be opened.
pub async fn half_closed_leak(place: &Place<'_>) -> Result<Vec<Figure>> {
    let limit: u32 = place.scaled(1, 5, |_| 5);
    netns::bound_buffers()?;
    let n = place.scaled(200, 1000, |_| 1000);
    let setup = Setup {
        spec: format!("  timeouts: {{halfClosed: {limit}s}}\n"),
        listen: vec![
            format!("timeout client-fin {limit}s"),
            format!("timeout server-fin {limit}s"),
        ],
        ..Setup::default()
    };
    let link = Link::start(place, setup).await?;
    let idle = link.relay.pipes.other_descriptors()?;
    // Some rounds fill what either side keeps for good, so that the last one shows a leak.
    for _ in 0..3 {
        drop(half_closed(&link, n).await?);
        gone(&link, idle).await?;
    }
    let resident = measure::resident(link.pid())?;

    let flows = half_closed(&link, n).await?;
    let (clients, servers) = (CLIENTS.into(), link.backend.local_addr()?.ip());
    nft::unplug(clients)?;
    nft::unplug(servers)?;
    let start = Instant::now();
    gone(&link, idle).await?;
    let waited = start.elapsed().as_secs_f64();
    let grown = f64::from(measure::resident(link.pid())?) / f64::from(resident) - 1.0;
    let pipes = link.relay.pipes.kept()?;
    drop(flows);
    nft::restore()?;
    let limit = f64::from(limit);
    Ok(vec![
        Figure::new("all reclaimed after", waited, "s")
            .at_most(limit + 5.0)
            .noise(1.0),
        Figure::new("memory left behind", grown * 100.0, "%")
            .at_most(2.0)
            .noise(2.0),
        pipes,
    ])
}

async fn half_closed(link: &Link, n: usize) -> Result<Vec<Flow>> {
    let mut flows = Vec::with_capacity(n);
    for _ in 0..n {
        let Flow { mut down, mut up } = link.flow_from(CLIENTS).await?;
        // HAProxy resets a server that it dialled for a client that ended before a byte.
        down.write_all(b"q").await?;
        up.read_exact(&mut [0]).await?;
        down.shutdown().await?;
        ensure!(end_of(&mut up, Duration::from_secs(10)).await? == End::Clean);
        flows.push(Flow { down, up });
    }
    Ok(flows)
}

/// Waits until the side has no more descriptors than that.
async fn gone(link: &Link, idle: usize) -> Result<()> {
    eventually(
        "every session to be gone",
        Duration::from_secs(120),
        async || {
            let open = link.relay.pipes.other_descriptors()?;
            ensure!(open <= idle, "{open} descriptors, {idle} while idle");
            Ok(())
        },
    )
    .await
}

/// R6. Silence under the default configuration, and under a limit.
///
/// # Errors
/// A session can't be opened.
pub async fn idle(place: &Place<'_>) -> Result<Vec<Figure>> {
    let silent =
        Duration::from_secs(place.scaled(3, 90, |lengths| u64::from(lengths.minutes) * 60));
    let link = Link::start(place, Setup::default()).await?;
    let mut flow = link.flow().await?;
    flow.ping().await?;
    pass(silent).await;
    let survives = flow.ping().await.is_ok();
    drop((flow, link));
    let mut figures = vec![Figure::yes(
        "a silent session survives by default",
        survives,
    )];
    figures.extend(idle_limit(place).await?);
    Ok(figures)
}

async fn idle_limit(place: &Place<'_>) -> Result<Vec<Figure>> {
    let seconds: u32 = place.scaled(2, 60, |_| 60);
    let setup = Setup {
        spec: format!("  timeouts: {{idle: {seconds}s}}\n"),
        listen: vec![
            format!("timeout client {seconds}s"),
            format!("timeout server {seconds}s"),
        ],
        ..Setup::default()
    };
    let link = Link::start(place, setup).await?;
    let mut flow = link.flow().await?;
    flow.ping().await?;
    let start = Instant::now();
    let until = async |stream| {
        let _ = end_of(stream, Duration::from_secs(120)).await;
        start.elapsed().as_secs_f64()
    };
    let (down_after, up_after) = tokio::join!(until(&mut flow.down), until(&mut flow.up));
    let told = eventually("the reason to be told", SOON, async || {
        let told = match place.side {
            Side::Ours => {
                let labels = ["ending=\"idle_timeout\""];
                link.relay
                    .metric("sessions_finished_total", &labels)
                    .await?
                    >= 1.0
            }
            // Its log's words for a session that the client's or the server's timeout ended.
            Side::HaProxy => {
                let log = link.relay.process.log()?;
                [" cD ", " sD "].iter().any(|word| log.contains(word))
            }
        };
        ensure!(told, "not told");
        Ok(())
    });
    let told = told.await.is_ok();
    let limit = f64::from(seconds);
    Ok(vec![
        Figure::new("under a limit, cut after", down_after, "s").between(limit - 0.1, limit + 2.0),
        Figure::new(
            "one half after the other",
            (down_after - up_after).abs() * 1e3,
            "ms",
        )
        .at_most(1000.0)
        .noise(500.0),
        Figure::yes("the reason is told", told),
    ])
}
