//! Edge. The servers behind a path. The first byte of a connection says what its server does.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tcpforward_tests::echo;
use tcpforward_tests::eventually::pass;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Service {
    /// Takes one message of [`MESSAGE`] bytes, this byte the first of them, answers with another one and closes.
    Answer = b'A',
    /// Sends back what comes after this byte.
    Echo = b'E',
    /// Reads all that comes.
    Sink = b'S',
    /// Sends until nobody reads.
    Source = b'D',
}

/// Bytes of a message.
pub const MESSAGE: usize = 64;

/// Bytes of a read or write of a stream.
pub const CHUNK: usize = 256 << 10;

/// After an accept that failed: the socket stays readable.
const PAUSE: Duration = Duration::from_millis(10);

/// A server; dropping it ends it and its connections.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Backend {
    /// Listens there.
    ///
    /// # Errors
    /// The address is taken.
    pub fn start(at: SocketAddr) -> Result<Self> {
        let listener = echo::listen(at)?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener));
        Ok(Self {
            address,
            _tasks: tasks,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                // What goes wrong counts as a failure where it is measured: at the client.
                Ok((stream, _)) => {
                    sessions.spawn(async move {
                        let _ = serve(stream).await;
                    });
                }
                Err(_) => pass(PAUSE).await,
            },
            Some(_) = sessions.join_next(), if !sessions.is_empty() => {}
        }
    }
}

async fn serve(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut message = [0; MESSAGE];
    stream.read_exact(message.split_at_mut(1).0).await?;
    match message.first() {
        Some(&first) if first == Service::Answer as u8 => {
            stream.read_exact(message.split_at_mut(1).1).await?;
            stream.write_all(&message).await?;
        }
        Some(&first) if first == Service::Echo as u8 => {
            send_back(&mut stream, &mut message).await?
        }
        Some(&first) if first == Service::Source as u8 => {
            let chunk = vec![0; CHUNK];
            loop {
                stream.write_all(&chunk).await?;
            }
        }
        _ => {
            let mut chunk = vec![0; CHUNK];
            while stream.read(&mut chunk).await? > 0 {}
        }
    }
    Ok(())
}

async fn send_back(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<()> {
    loop {
        let n = stream.read(buffer).await?;
        let read = buffer.get(..n).unwrap_or_default();
        if read.is_empty() {
            return Ok(());
        }
        stream.write_all(read).await?;
    }
}
