//! Edge. Bytes that are sent as urgent.

use std::time::Duration;

use anyhow::Result;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::eventually::pass;
use crate::measure;
use crate::torture::Place;
use crate::torture::figure::Figure;
use crate::torture::flow::{Flow, Link, SOON};
use crate::torture::relay::Setup;

/// R25. A byte is sent as urgent in the middle of a stream.
///
/// # Errors
/// A session can't be opened.
pub async fn urgent_byte(place: &Place<'_>) -> Result<Vec<Figure>> {
    let link = Link::start(place, Setup::default()).await?;
    let window = Duration::from_secs(place.scaled(1, 5, |_| 5));
    let (mut whole, mut worst, mut used) = (0, Duration::ZERO, Duration::ZERO);
    for to_server in [true, false] {
        let Flow { down, up } = link.flow().await?;
        let (sender, receiver) = if to_server { (down, up) } else { (up, down) };
        let before = measure::processor_time(link.pid())?;
        let (as_sent, stall) = urgent_midway(sender, receiver, window).await?;
        used += measure::processor_time(link.pid())? - before;
        whole += usize::from(as_sent);
        worst = worst.max(stall);
    }
    let used = measure::percent(used, window * 2);
    Ok(vec![
        Figure::share("streams whose other bytes arrive in order", whole, 2).all(),
        Figure::new("longest stall", worst.as_secs_f64() * 1e3, "ms")
            .at_most(1000.0)
            .noise(500.0),
        Figure::new("processor, silence behind it included", used, "%")
            .at_most(5.0)
            .noise(2.0),
    ])
}

/// Half of the bytes, an urgent one, silence, the other half. Says whether all but the urgent one
/// arrived in order, and the longest wait for a byte outside that silence.
async fn urgent_midway(
    mut sender: TcpStream,
    mut receiver: TcpStream,
    window: Duration,
) -> Result<(bool, Duration)> {
    const HALF: usize = 1 << 20;
    let half = vec![b'a'; HALF];
    let mut came = Vec::with_capacity(2 * HALF + 1);
    let send = async {
        sender.write_all(&half).await?;
        sender.writable().await?;
        SockRef::from(&sender).send_out_of_band(b"!")?;
        pass(window).await;
        let resumed = Instant::now();
        sender.write_all(&half).await?;
        sender.shutdown().await?;
        Ok::<_, std::io::Error>(resumed)
    };
    let receive = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match timeout(window + SOON, receiver.read(&mut buffer)).await {
                Ok(Ok(n)) if n > 0 => came.extend_from_slice(buffer.get(..n).unwrap_or_default()),
                _ => break,
            }
        }
        Ok(Instant::now())
    };
    let (resumed, ended) = tokio::try_join!(send, receive)?;
    came.retain(|byte| *byte != b'!');
    let whole = came.len() == 2 * HALF && came.iter().all(|byte| *byte == b'a');
    Ok((whole, ended.saturating_duration_since(resumed)))
}
