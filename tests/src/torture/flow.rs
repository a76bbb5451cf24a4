//! Edge. Sessions whose both ends the row plays itself.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::client;
use crate::echo::listen;
use crate::eventually::eventually;
use crate::torture::relay::{Relay, Setup};
use crate::torture::{Place, Side};

/// Nothing takes that long unless it hangs.
pub const SOON: Duration = Duration::from_secs(20);

/// A side under test and one server, played by the row.
#[derive(Debug)]
pub struct Link {
    /// The side under test.
    pub relay: Relay,
    /// Where it dials.
    pub backend: TcpListener,
}

/// Both ends of a session.
#[derive(Debug)]
pub struct Flow {
    /// The end that connected.
    pub down: TcpStream,
    /// The end that was dialled.
    pub up: TcpStream,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As if everything had been said.
    Clean,
    /// By a reset.
    Reset,
    /// Not within the deadline.
    None,
}

impl Link {
    /// Starts the side over one server; `setup` says the rest.
    ///
    /// # Errors
    /// It doesn't start.
    pub async fn start(place: &Place<'_>, setup: Setup) -> Result<Self> {
        let address = SocketAddr::from(([10, 77, 0, 11], 8000));
        // A row's second link: for a moment the first one's listener may be in a process that another
        // row is starting.
        let bound = eventually("the address to be free", SOON, async || listen(address));
        let backend = bound.await?;
        let backends = vec![backend.local_addr()?];
        let setup = Setup { backends, ..setup };
        let relay = Relay::start(place, &setup).await?;
        Ok(Self { relay, backend })
    }

    /// Opens one session; bytes go the row's way in both directions.
    ///
    /// # Errors
    /// It doesn't reach the server in time, or bytes go another way.
    pub async fn flow(&self) -> Result<Flow> {
        self.relay.settled(self.fresh().await?).await
    }

    /// Opens one session that has moved nothing.
    ///
    /// # Errors
    /// It doesn't reach the server in time.
    pub async fn fresh(&self) -> Result<Flow> {
        let target = self.backend.local_addr()?.to_string();
        let down = self.relay.session(&target).await?;
        self.behind(down).await
    }

    /// Opens one session from a client at that host.
    ///
    /// # Errors
    /// As [`Self::flow`].
    pub async fn flow_from(&self, host: [u8; 4]) -> Result<Flow> {
        let down = client::dial_from((host, 0).into(), self.relay.listener).await?;
        self.relay.settled(self.behind(down).await?).await
    }

    async fn behind(&self, down: TcpStream) -> Result<Flow> {
        let accepted = timeout(SOON, self.backend.accept()).await;
        let (up, _) = accepted.context("no session came")??;
        Ok(Flow { down, up })
    }

    /// Opens that many.
    ///
    /// # Errors
    /// As [`Self::flow`].
    pub async fn flows(&self, n: usize) -> Result<Vec<Flow>> {
        let mut flows = Vec::with_capacity(n);
        for _ in 0..n {
            flows.push(self.flow().await?);
        }
        Ok(flows)
    }

    /// The side's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.relay.process.pid()
    }

    /// Which side it is.
    #[must_use]
    pub fn side(&self) -> Side {
        self.relay.side()
    }
}

impl Flow {
    /// Sends a byte to the server and back, and says how long it took.
    ///
    /// # Errors
    /// It is lost, or changed.
    pub async fn ping(&mut self) -> Result<Duration> {
        let start = Instant::now();
        let there_and_back = async {
            self.down.write_all(b"p").await?;
            let mut byte = [0];
            self.up.read_exact(&mut byte).await?;
            self.up.write_all(&byte).await?;
            self.down.read_exact(&mut byte).await?;
            Ok::<_, std::io::Error>(byte)
        };
        let byte = timeout(SOON, there_and_back)
            .await
            .context("a byte got stuck")??;
        ensure!(&byte == b"p", "{byte:?}");
        Ok(start.elapsed())
    }
}

/// Sends a byte to a server that sends it back, and says how long it took.
///
/// # Errors
/// It is lost, or changed.
pub async fn ping(stream: &mut TcpStream) -> Result<Duration> {
    let start = Instant::now();
    client::echo(stream).await?;
    Ok(start.elapsed())
}

/// Reads until a stream ends, or nothing comes for `silence`; returns how many bytes came, and how
/// long after the last of them the end was seen.
///
/// # Errors
/// Any error that is no reset.
pub async fn read_to_end(
    stream: &mut TcpStream,
    silence: Duration,
) -> Result<(u64, End, Duration)> {
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0;
    let mut last = Instant::now();
    loop {
        let end = match timeout(silence, stream.read(&mut buffer)).await {
            Ok(Ok(0)) => End::Clean,
            Ok(Ok(n)) => {
                total += n as u64;
                last = Instant::now();
                continue;
            }
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => End::Reset,
            Ok(Err(error)) => bail!("reading: {error}"),
            Err(_) => End::None,
        };
        return Ok((total, end, last.elapsed()));
    }
}

/// Waits until a stream that carries nothing more ends; [`End::None`] if it doesn't.
///
/// # Errors
/// Any error that is no reset.
pub async fn end_of(stream: &mut TcpStream, deadline: Duration) -> Result<End> {
    let (_, end, _) = read_to_end(stream, deadline).await?;
    Ok(end)
}
