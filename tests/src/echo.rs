//! Edge. Servers that stand behind a forward.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::payload::{self, Digest, Payload};

/// What a server does with each connection.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Sends back what it reads; ends when the other side ends.
    Echo,
    /// Sends a payload and ends, while it reads to the end; see [`Server::received`].
    Exchange(Payload),
    /// Says its name and ends, whatever it reads: one connection, one name.
    Name(String),
    /// Reads the head of an HTTP request and answers it with its name, as one line.
    Http(String),
    /// Reads to the end and answers nothing; see [`Server::received`].
    Sink,
}

/// A running server. Dropping it closes its listener and cuts its connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    counts: Arc<Counts>,
    digests: mpsc::UnboundedReceiver<Digest>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    open: AtomicUsize,
}

impl Server {
    /// Listens on `address`, such as `10.77.0.1:0`.
    ///
    /// # Errors
    /// The address is taken or not there.
    pub async fn start(address: &str, behaviour: Behaviour) -> Result<Self> {
        let listener = listen(address.parse().with_context(|| address.to_owned())?)?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let (report, digests) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, behaviour, Arc::clone(&counts), report));
        Ok(Self {
            address,
            counts,
            digests,
            _tasks: tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that it ever accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    /// Connections that it is still busy with.
    #[must_use]
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::Relaxed)
    }

    /// What the next connection of `Exchange` or `Sink` to end brought.
    ///
    /// # Errors
    /// None ends in time.
    pub async fn received(&mut self, deadline: Duration) -> Result<Digest> {
        let received = timeout(deadline, self.digests.recv()).await;
        received
            .with_context(|| format!("no connection ended within {deadline:?}"))?
            .context("the server is gone")
    }
}

/// A listening socket with a long queue, so that a burst is a matter of who is under test.
///
/// # Errors
/// The address is taken or not there.
pub fn listen(address: SocketAddr) -> Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    let bound = socket.bind(address).and_then(|()| socket.listen(4096));
    bound.with_context(|| format!("listening on {address}"))
}

async fn serve(
    listener: TcpListener,
    behaviour: Behaviour,
    counts: Arc<Counts>,
    report: mpsc::UnboundedSender<Digest>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        counts.accepted.fetch_add(1, Ordering::Relaxed);
        counts.open.fetch_add(1, Ordering::Relaxed);
        let (behaviour, counts, report) = (behaviour.clone(), Arc::clone(&counts), report.clone());
        connections.spawn(async move {
            // The client sees a failure too, and that is where tests look.
            if let Ok(Some(digest)) = answer(stream, behaviour).await {
                let _ = report.send(digest);
            }
            counts.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn answer(mut stream: TcpStream, behaviour: Behaviour) -> std::io::Result<Option<Digest>> {
    match behaviour {
        Behaviour::Echo => {
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await?;
            to.shutdown().await?;
            Ok(None)
        }
        Behaviour::Exchange(payload) => payload::exchange(stream, payload).await.map(Some),
        Behaviour::Name(name) => {
            stream.write_all(name.as_bytes()).await?;
            stream.shutdown().await?;
            // Read to the end, so that closing never resets what was just sent.
            payload::receive(stream).await?;
            Ok(None)
        }
        Behaviour::Http(name) => {
            read_head(&mut stream).await?;
            let length = name.len() + 1;
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream
                .write_all(format!("{head}{name}\n").as_bytes())
                .await?;
            stream.shutdown().await?;
            Ok(None)
        }
        Behaviour::Sink => payload::receive(stream).await.map(Some),
    }
}

async fn read_head(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(())
}

/// An address where connecting never comes to an end, as with a host that drops packets: a listener
/// that never accepts and whose queue is full.
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    _listener: Socket,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    /// Takes a port of `address`.
    ///
    /// # Errors
    /// The address is not there, or its queue never fills.
    pub async fn start(address: IpAddr) -> Result<Self> {
        let listener = Socket::new(Domain::for_address((address, 0).into()), Type::STREAM, None)?;
        listener.bind(&SocketAddr::new(address, 0).into())?;
        listener.listen(0)?;
        let address = listener.local_addr()?.as_socket().context("an IP socket")?;
        let mut queued = Vec::new();
        while queued.len() < 16 {
            match timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
                Ok(connected) => queued.push(connected?),
                Err(_) => {
                    return Ok(Self {
                        address,
                        _listener: listener,
                        _queued: queued,
                    });
                }
            }
        }
        bail!("{address} still takes connections")
    }

    /// Where connecting hangs.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
