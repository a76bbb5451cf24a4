//! Edge. One transfer: a connection of its own, all bytes one way, and proof that they arrived unchanged.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::SockRef;
use tcpforward_tests::echo;
use tcpforward_tests::eventually::pass;
use tcpforward_tests::payload::{self, Payload};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::load::Way;

/// A request: the way, the number of bytes, and which.
const REQUEST: usize = 17;

const DOWN: u8 = b'D';
const UP: u8 = b'U';

/// After an accept that failed: the socket stays readable.
const PAUSE: Duration = Duration::from_millis(10);

/// A server of transfers; dropping it ends it and its connections.
#[derive(Debug)]
pub struct Server {
    _tasks: JoinSet<()>,
}

impl Server {
    /// Listens there, and sends by that congestion control.
    ///
    /// # Errors
    /// The address is taken, or the kernel has no such congestion control.
    pub fn start(at: SocketAddr, control: &str) -> Result<Self> {
        let listener = echo::listen(at)?;
        // Connections inherit it.
        choose(&SockRef::from(&listener), control)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener));
        Ok(Self { _tasks: tasks })
    }
}

/// The time of one transfer with a server that is reached at `to`, from the SYN to the last byte, or, of bytes that go
/// up, to the server's word that it has them. The client sends by that congestion control.
///
/// # Errors
/// Refused, cut, or other bytes arrive than were sent.
pub async fn run(to: SocketAddr, way: Way, control: &str, payload: Payload) -> Result<Duration> {
    let wanted = payload.digest();
    let socket = TcpSocket::new_v4()?;
    choose(&SockRef::from(&socket), control)?;
    let start = Instant::now();
    let mut stream = socket.connect(to).await.context("connecting")?;
    stream.set_nodelay(true)?;
    stream.write_all(&request(way, payload)).await?;
    match way {
        Way::Down => {
            let got = payload::receive(&mut stream).await?;
            let time = start.elapsed();
            ensure!(got == wanted, "{wanted:?} was sent, {got:?} has arrived");
            Ok(time)
        }
        Way::Up => {
            payload.send(&mut stream).await?;
            let mut hash = [0; 32];
            stream.read_exact(&mut hash).await.context("the answer")?;
            let time = start.elapsed();
            ensure!(hash == wanted.sha256, "other bytes than were sent");
            Ok(time)
        }
    }
}

/// Sets it and looks whether it is so.
fn choose(socket: &SockRef<'_>, control: &str) -> Result<()> {
    let what = || {
        format!(
            "congestion control {control}: see net.ipv4.tcp_available_congestion_control, or `modprobe tcp_{control}`"
        )
    };
    socket
        .set_tcp_congestion(control.as_bytes())
        .with_context(what)?;
    let found = socket.tcp_congestion()?;
    let found = String::from_utf8_lossy(&found);
    let found = found.trim_end_matches('\0');
    ensure!(found == control, "{}; it is {found}", what());
    Ok(())
}

fn request(way: Way, payload: Payload) -> [u8; REQUEST] {
    let way = match way {
        Way::Down => DOWN,
        Way::Up => UP,
    };
    let (bytes, seed) = (payload.bytes.to_be_bytes(), payload.seed.to_be_bytes());
    let mut request = [way; REQUEST];
    let rest = request.iter_mut().skip(1);
    for (place, byte) in rest.zip(bytes.into_iter().chain(seed)) {
        *place = byte;
    }
    request
}

async fn accept(listener: TcpListener) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                // What goes wrong is seen at the client.
                Ok((stream, _)) => drop(sessions.spawn(async move {
                    let _ = serve(stream).await;
                })),
                Err(_) => pass(PAUSE).await,
            },
            Some(_) = sessions.join_next(), if !sessions.is_empty() => {}
        }
    }
}

async fn serve(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let way = stream.read_u8().await?;
    let (bytes, seed) = (stream.read_u64().await?, stream.read_u64().await?);
    if way == DOWN {
        Payload { bytes, seed }.send(&mut stream).await?;
    } else {
        let got = payload::receive((&mut stream).take(bytes)).await?;
        stream.write_all(&got.sha256).await?;
    }
    Ok(stream.shutdown().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_is_written() {
        let payload = Payload {
            bytes: 0x0102,
            seed: 0x0304,
        };
        let request = request(Way::Up, payload);
        assert_eq!(request.first(), Some(&UP));
        let (bytes, seed) = request.get(1..).unwrap().split_at(8);
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(seed, [0, 0, 0, 0, 0, 0, 3, 4]);
    }

    #[tokio::test]
    async fn both_ways_bytes_arrive_and_an_unknown_control_is_named() {
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = echo::listen(any).unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener));
        let payload = Payload {
            bytes: 200_001,
            seed: 3,
        };
        for way in [Way::Down, Way::Up] {
            run(address, way, "reno", payload).await.unwrap();
        }
        let error = run(address, Way::Up, "nosuch", payload).await.unwrap_err();
        assert!(error.to_string().contains("nosuch"), "{error}");
    }
}
