//! Edge. Ports of the relay's own: too few of them, and those that rest in TIME_WAIT.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::client;
use crate::echo::{Behaviour, Server, listen};
use crate::eventually::eventually;
use crate::measure::{State, TcpSocket, tcp_sockets};
use crate::netns;
use crate::torture::figure::{Figure, count};
use crate::torture::flow::SOON;
use crate::torture::relay::{Relay, Setup};
use crate::torture::{Place, Side};

/// Sessions that a thousand ports and three servers carry.
const SESSIONS: usize = 2950;

/// Both ends of all sessions of a row.
#[derive(Default)]
struct Ends {
    down: Vec<TcpStream>,
    /// By server.
    up: [Vec<TcpStream>; 3],
    /// Clients so far: each has a port that the relay can't want.
    n_clients: u16,
}

impl Ends {
    /// Opens one session, if it opens.
    async fn open(&mut self, listener: SocketAddr, servers: &[TcpListener; 3]) -> Result<usize> {
        let port = 10_000 + self.n_clients;
        self.n_clients += 1;
        let mut down = client::dial_from(([10, 77, 0, 50], port).into(), listener).await?;
        let [a, b, c] = servers;
        let came = async {
            tokio::select! {
                accepted = a.accept() => (0, accepted),
                accepted = b.accept() => (1, accepted),
                accepted = c.accept() => (2, accepted),
            }
        };
        let mut byte = [0];
        let (server, accepted) = tokio::select! {
            came = came => came,
            ended = down.read(&mut byte) => anyhow::bail!("refused: {ended:?}"),
        };
        self.up
            .get_mut(server)
            .context("a server")?
            .push(accepted?.0);
        self.down.push(down);
        Ok(server)
    }
}

/// R14. A thousand ports for the relay's own connections.
///
/// # Errors
/// The side doesn't start.
pub async fn exhausted(place: &Place<'_>) -> Result<Vec<Figure>> {
    netns::set("ipv4/ip_local_port_range", "32768 33767")?;
    let servers = [11, 12, 13].map(|n| listen(([10, 77, 0, n], 8000).into()));
    let [Ok(a), Ok(b), Ok(c)] = servers else {
        anyhow::bail!("the servers' addresses are taken");
    };
    let servers = [a, b, c];
    let addresses: Vec<_> = servers.iter().flat_map(TcpListener::local_addr).collect();
    let relay = Relay::start(place, &Setup::over(&addresses)).await?;
    let mut ends = Ends::default();
    for _ in 0..SESSIONS {
        timeout(SOON, ends.open(relay.listener, &servers)).await??;
    }
    let n_live = ends.down.len();
    let mut n_refused = 0;
    for _ in 0..100 {
        let more = timeout(SOON, ends.open(relay.listener, &servers)).await;
        n_refused += usize::from(!matches!(more, Ok(Ok(_))));
    }
    let told = trouble_of_this_host(&relay).await?;

    // Servers close first, so that no port of the relay rests.
    for up in &mut ends.up {
        up.truncate(up.len().saturating_sub(100));
    }
    let start = Instant::now();
    ends.down.clear();
    let mut used = [false; 3];
    let again = eventually("every server to be used again", SOON, async || {
        let server = ends.open(relay.listener, &servers).await?;
        *used.get_mut(server).context("a server")? = true;
        ensure!(used == [true; 3], "{used:?}");
        Ok(())
    });
    let served_again = again.await.is_ok();
    let waited = start.elapsed().as_secs_f64() * 1e3;
    Ok(vec![
        Figure::share("of 2,950 sessions open", n_live, SESSIONS).all(),
        Figure::new("of 100 more, refused", count(n_refused), "clients")
            .at_least(40.0)
            .noise(20.0),
        Figure::yes("told as trouble of this host", told),
        Figure::yes("no server is left out afterwards", served_again),
        Figure::new("all used again after", waited, "ms")
            .at_most(1000.0)
            .noise(500.0),
    ])
}

async fn trouble_of_this_host(relay: &Relay) -> Result<bool> {
    match relay.side() {
        Side::Ours => Ok(relay.metric("dials_total", &["result=\"local\""]).await? > 0.0),
        Side::HaProxy => {
            let log = relay.process.log()?;
            Ok(["no free ports", "already in use"]
                .iter()
                .any(|words| log.contains(words)))
        }
    }
}

/// R15. Short connections one after the other, ended by either side.
///
/// # Errors
/// The side doesn't start.
pub async fn time_wait(place: &Place<'_>) -> Result<Vec<Figure>> {
    // With the kernel's 28,000 ports, of which it tries half first, the search for a free one takes a
    // millisecond in the end, whoever connects: that would be measured instead of the side.
    netns::set("ipv4/ip_local_port_range", "10000 65535")?;
    // 20,000 in all: with more in TIME_WAIT the search counts again.
    let n = place.scaled(400, 10_000, |_| 10_000);
    let echo = Server::start("10.77.0.11:8000", Behaviour::Echo).await?;
    let name = Server::start("10.77.0.12:8000", Behaviour::Name("n".to_owned())).await?;
    let mut figures = Vec::new();
    let cases = [
        (
            &echo,
            "rate at the end, client closes first",
            "TIME_WAIT of the relay, clients close first",
        ),
        (
            &name,
            "rate at the end, server closes first",
            "TIME_WAIT of the relay, servers close first",
        ),
    ];
    for (server, rate, rests) in cases {
        let server_address = server.address();
        let relay = Relay::start(place, &Setup::over(&[server_address])).await?;
        let listener = relay.listener;
        figures.push(place.timing(short_connections(listener, n, rate).await?.at_least(95.0)));
        // A side that closes second never rests: the leg of the one that closed first does.
        let resting = |socket: &&TcpSocket| {
            let is_clients_leg = SocketAddr::V4(socket.local) == listener;
            let is_servers_leg = SocketAddr::V4(socket.remote) == server_address;
            let clients_first = server_address == echo.address();
            socket.state == State::TimeWait
                && if clients_first {
                    is_clients_leg
                } else {
                    is_servers_leg
                }
        };
        let resting = tcp_sockets()?.iter().filter(resting).count();
        figures.push(Figure::new(rests, count(resting), "sockets").at_most(0.0));
    }
    Ok(figures)
}

/// Connections of 16 clients without pause: the rate of the last third beside that of the first.
async fn short_connections(listener: SocketAddr, n: usize, name: &'static str) -> Result<Figure> {
    const CLIENTS: usize = 16;
    let start = Instant::now();
    let clients = (0..CLIENTS).map(|_| async {
        let mut ends = Vec::new();
        for _ in 0..n / CLIENTS {
            timeout(SOON, short_connection(listener)).await??;
            ends.push(start.elapsed());
        }
        Ok::<_, anyhow::Error>(ends)
    });
    let mut ends: Vec<Duration> = Vec::new();
    for client in join_all(clients).await {
        ends.extend(client?);
    }
    ends.sort();
    let third = ends.len() / 3;
    let at = |i: usize| {
        ends.get(i)
            .map(Duration::as_secs_f64)
            .context("enough connections")
    };
    let first = at(third)?;
    let last = at(ends.len() - 1)? - at(ends.len() - 1 - third)?;
    // To have begun slowly is no merit.
    let kept = (100.0 * first / last).min(100.0);
    Ok(Figure::new(name, kept, "%").noise(10.0))
}

async fn short_connection(listener: SocketAddr) -> Result<()> {
    let mut stream = client::dial(listener).await?;
    stream.write_all(b"n").await?;
    let mut byte = [0];
    stream.read_exact(&mut byte).await?;
    stream.shutdown().await?;
    ensure!(stream.read(&mut byte).await? == 0, "more than was sent");
    Ok(())
}
