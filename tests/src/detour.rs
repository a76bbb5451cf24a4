//! Edge. A way to the API server that can be slow, shut, or end in the middle of what is said.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::eventually::{eventually, pass};
use crate::lab::Lab;

/// What becomes of what is said on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It goes on at once.
    Open,
    /// Each piece, in each direction, takes this long.
    Slow(Duration),
    /// Connections are cut, new ones too.
    Shut,
    /// All goes on until the clients' piece of that number, counted from 1 since the way was last
    /// changed; nothing does from then on, in no direction.
    Ends {
        /// The number.
        piece: usize,
        /// Whether that piece still goes on; no answer to it does.
        arrives: bool,
    },
}

#[derive(Clone, Copy, Debug)]
struct State {
    way: Way,
    /// Connections from before the latest one are gone.
    cuts: usize,
}

/// The running way. Dropping it cuts its connections.
#[derive(Debug)]
pub struct Detour {
    kubeconfig: PathBuf,
    state: watch::Sender<State>,
    pieces: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Detour {
    /// Leads to the API server of that kubeconfig, and has one of its own.
    ///
    /// # Errors
    /// The kubeconfig isn't one of a cluster of tests.
    pub async fn start(lab: &Lab, name: &str, kubeconfig: &Path) -> Result<Self> {
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(kubeconfig)?)?;
        let server = config.pointer_mut("/clusters/0/cluster/server");
        let server = server.context("a server")?;
        let url = server.as_str().unwrap_or_default();
        let to: SocketAddr = url.trim_start_matches("https://").parse()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        *server = json!(format!("https://{}", listener.local_addr()?));
        let kubeconfig = lab.file(&format!("{name}.kubeconfig"), config.to_string())?;
        let (state, seen) = watch::channel(State {
            way: Way::Open,
            cuts: 0,
        });
        let pieces = Arc::<AtomicUsize>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, to, seen, Arc::clone(&pieces)));
        Ok(Self {
            kubeconfig,
            state,
            pieces,
            _tasks: tasks,
        })
    }

    /// For programs that are to go this way.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Changes it, for open connections too, which are cut where it is shut or was at an end.
    pub fn becomes(&self, way: Way) {
        self.pieces.store(0, Ordering::Relaxed);
        self.state.send_modify(|state| {
            let cuts = matches!(state.way, Way::Ends { .. }) || way == Way::Shut;
            state.cuts += usize::from(cuts);
            state.way = way;
        });
    }

    /// Waits until so many pieces were said since the way was last changed.
    ///
    /// # Errors
    /// They aren't in time.
    pub async fn carried(&self, pieces: usize, deadline: Duration) -> Result<()> {
        eventually(&format!("{pieces} pieces"), deadline, async || {
            let carried = self.pieces.load(Ordering::Relaxed);
            ensure!(carried >= pieces, "{carried}");
            Ok(())
        })
        .await
    }
}

async fn accept(
    listener: TcpListener,
    to: SocketAddr,
    state: watch::Receiver<State>,
    pieces: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let now = *state.borrow();
        if now.way != Way::Shut {
            let (state, pieces) = (state.clone(), Arc::clone(&pieces));
            connections.spawn(carry(client, to, now.cuts, state, pieces));
        }
    }
}

async fn carry(
    mut client: TcpStream,
    to: SocketAddr,
    cuts: usize,
    state: watch::Receiver<State>,
    pieces: Arc<AtomicUsize>,
) {
    let mut cut = state.clone();
    let both = async {
        // A server that is down is, for the client, a connection that ends.
        let mut server = TcpStream::connect(to).await?;
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let forth = relay(from_client, to_server, Direction::Forth, &state, &pieces);
        let back = relay(from_server, to_client, Direction::Back, &state, &pieces);
        tokio::select! { ended = forth => ended, ended = back => ended }
    };
    // Whoever ends it, both sides are closed: there is nothing to tell.
    tokio::select! {
        _ = both => {}
        _ = cut.wait_for(|state| state.cuts != cuts) => {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Back,
    Forth,
}

async fn relay(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    state: &watch::Receiver<State>,
    pieces: &AtomicUsize,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = from.read(&mut buffer).await?;
        let Some(read) = buffer.get(..n).filter(|read| !read.is_empty()) else {
            return Ok(());
        };
        let number = match direction {
            Direction::Forth => pieces.fetch_add(1, Ordering::Relaxed) + 1,
            Direction::Back => pieces.load(Ordering::Relaxed),
        };
        let way = state.borrow().way;
        match way {
            Way::Open | Way::Shut => {}
            Way::Slow(time) => pass(time).await,
            Way::Ends { piece, arrives } => {
                let is_last = arrives && direction == Direction::Forth && number == piece;
                if number >= piece && !is_last {
                    std::future::pending::<()>().await;
                }
            }
        }
        to.write_all(read).await?;
    }
}
