//! Edge. Peers that are gone without a word, and one that is only slow.

use std::time::Duration;

use anyhow::Result;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::eventually::pass;
use crate::torture::figure::Figure;
use crate::torture::flow::{End, Flow, Link, SOON, read_to_end};
use crate::torture::nft;
use crate::torture::relay::Setup;
use crate::torture::{Place, Scale};

const LIVES: &str = "a live client that doesn't read is kept";

/// Longer than any of the cuts may take.
const CUT: Duration = Duration::from_secs(150);

/// R26. A client's host vanishes while bytes are under way, another one in silence, and a third one
/// lives but doesn't read.
///
/// # Errors
/// A session can't be opened.
pub async fn peers(place: &Place<'_>) -> Result<Vec<Figure>> {
    let wedged = place.scaled(
        Duration::from_secs(5),
        Duration::from_secs(110),
        |lengths| Duration::from_secs(u64::from(lengths.minutes.min(10)) * 60),
    );
    let link = Link::start(place, setup()).await?;
    let in_flight = from_host(&link, 51).await?;
    let silent = from_host(&link, 52).await?;
    let slow = from_host(&link, 53).await?;
    if place.scale == Scale::Short {
        return Ok(vec![Figure::yes(LIVES, slow_reader(slow, wedged).await?)]);
    }
    nft::unplug([10, 77, 0, 51].into())?;
    nft::unplug([10, 77, 0, 52].into())?;
    let (in_flight, silent, lives) = tokio::join!(
        gone_in_flight(in_flight),
        told_after(silent.up, silent.down),
        slow_reader(slow, wedged)
    );
    Ok(vec![
        Figure::new("gone with bytes in flight, told after", in_flight?, "s").between(25.0, 35.0),
        Figure::new("gone in silence, told after", silent?, "s").between(85.0, 95.0),
        Figure::yes(LIVES, lives?),
    ])
}

/// HAProxy's own means against dead peers, set to our defaults.
fn setup() -> Setup {
    let mut listen = Vec::new();
    for side in ["clitcpka", "srvtcpka"] {
        listen.push(format!("option {side}"));
        for value in ["idle 60s", "intvl 10s", "cnt 3"] {
            listen.push(format!("{side}-{value}"));
        }
    }
    Setup {
        listen,
        bind: "tcp-ut 30s".to_owned(),
        server: "tcp-ut 30s".to_owned(),
        ..Setup::default()
    }
}

async fn from_host(link: &Link, host: u8) -> Result<Flow> {
    let mut flow = link.flow_from([10, 77, 0, host]).await?;
    flow.ping().await?;
    Ok(flow)
}

async fn gone_in_flight(mut flow: Flow) -> Result<f64> {
    flow.up.write_all(&[b'x'; 1024]).await?;
    told_after(flow.up, flow.down).await
}

/// How long until this end is told that the other one is gone, in seconds; endless if it isn't.
async fn told_after(mut stream: TcpStream, _gone: TcpStream) -> Result<f64> {
    let start = Instant::now();
    match read_to_end(&mut stream, CUT).await? {
        (_, End::None, _) => Ok(f64::INFINITY),
        _ => Ok(start.elapsed().as_secs_f64()),
    }
}

/// Fills a session whose client doesn't read, and says whether all of it arrives in the end.
async fn slow_reader(flow: Flow, wedged: Duration) -> Result<bool> {
    let Flow { mut down, mut up } = flow;
    let chunk = vec![b'x'; 64 << 10];
    let (mut sent, mut moved) = (0, Instant::now());
    while moved.elapsed() < Duration::from_secs(1) {
        while let Ok(n) = up.try_write(&chunk) {
            sent += n as u64;
            moved = Instant::now();
        }
        pass(Duration::from_millis(50)).await;
    }
    pass(wedged).await;
    let end = async {
        // A session that was cut shows in what the client reads.
        let _ = up.shutdown().await;
        Ok::<_, anyhow::Error>(())
    };
    let ((), (came, ended, _)) = tokio::try_join!(end, read_to_end(&mut down, SOON))?;
    Ok(came == sent && ended == End::Clean)
}
