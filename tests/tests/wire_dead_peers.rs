//! Peers that vanish without a word, and peers that only look like it, over a network that drops
//! packets. Needs root: each test has a network namespace of its own.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{SockRef, TcpKeepalive};
use tcpforward_dataplane::relay::ending::{Ending, Side};
use tcpforward_dataplane::relay::{Limits, Meter, Relay};
use tcpforward_dataplane::socket::Stream;
use tcpforward_protocol::snapshot::{self, Timeouts};
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::torture::nft;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

/// A tenth of the product's.
const DEAD: Duration = Duration::from_secs(3);

const NONE: Timeouts = Timeouts {
    idle: None,
    half_closed: None,
    max_connection_age: None,
};

struct Uncounted;

impl Meter for Uncounted {
    fn passed(&self, _: Side, _: u64) {}
}

/// A client on one address, a server on another, and the relay's sockets to both.
struct Rig {
    client: TcpStream,
    downstream: Stream,
    upstream: Stream,
    server: TcpStream,
}

const CLIENT: &str = "10.77.0.2";
const SERVER: &str = "10.77.0.3";

async fn connected(from: &str, to: &str) -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((to, 0)).await?;
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from.parse()?, 0))?;
    let connecting = socket.connect(listener.local_addr()?);
    let (connected, accepted) = tokio::join!(connecting, listener.accept());
    Ok((connected?, accepted?.0))
}

impl Rig {
    async fn new() -> Result<Self> {
        let (client, downstream) = connected(CLIENT, "10.77.0.1").await?;
        let (upstream, server) = connected("10.77.0.1", SERVER).await?;
        Ok(Self {
            client,
            downstream: Stream::watch(downstream.into_std()?, false)?,
            upstream: Stream::watch(upstream.into_std()?, false)?,
            server,
        })
    }
}

const LIMITS: Limits = Limits {
    dead: DEAD,
    ..Limits::DEFAULT
};

fn relay<'a>(downstream: &'a Stream, upstream: &'a Stream) -> Relay<'a, Uncounted> {
    Relay::new(
        downstream,
        upstream,
        NONE,
        snapshot::TcpKeepalive::default(),
        Uncounted,
        None,
    )
    .within(&LIMITS)
}

/// From now on nothing from or to that address arrives.
fn vanish(address: &str) -> Result<()> {
    nft::unplug(address.parse()?)
}

/// Fills everything between a sender and a receiver that doesn't read.
async fn fill(relay: &mut Relay<'_, Uncounted>, mut sender: TcpStream) -> Result<TcpStream> {
    let chunk = vec![7; 64 << 10];
    let filled = async {
        while let Ok(written) = timeout(Duration::from_secs(1), sender.write(&chunk)).await {
            written?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        ended = relay.run() => anyhow::bail!("{ended:?} while it was filled"),
        filled = filled => filled?,
    }
    Ok(sender)
}

async fn ending(relay: &mut Relay<'_, Uncounted>) -> Result<Ending> {
    let ended = timeout(Duration::from_secs(60), relay.run()).await;
    Ok(ended.context("the session goes on")?.ending)
}

#[test]
fn a_peer_that_vanishes_with_bytes_in_flight_is_dead_after_the_limit() -> Result<()> {
    for (address, expected) in [
        (CLIENT, Ending::DownstreamDead),
        (SERVER, Ending::UpstreamDead),
    ] {
        lab::run(Network::Namespace, async |_| {
            let mut rig = Rig::new().await?;
            let sender = match expected {
                Ending::UpstreamDead => &mut rig.client,
                _ => &mut rig.server,
            };
            vanish(address)?;
            sender.write_all(b"is anybody there?").await?;
            let start = Instant::now();
            let mut relay = relay(&rig.downstream, &rig.upstream);
            ensure!(ending(&mut relay).await? == expected);
            let took = start.elapsed();
            ensure!(took >= DEAD && took < DEAD * 2, "{took:?}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_peer_that_vanishes_behind_a_closed_window_is_dead_after_the_limit() -> Result<()> {
    lab::run(Network::Namespace, async |_| {
        let Rig {
            client,
            downstream,
            upstream,
            server,
        } = Rig::new().await?;
        let mut relay = relay(&downstream, &upstream);
        let _client = fill(&mut relay, client).await?;
        vanish(SERVER)?;
        let start = Instant::now();
        ensure!(ending(&mut relay).await? == Ending::UpstreamDead);
        let took = start.elapsed();
        ensure!(
            took >= DEAD - Duration::from_secs(1) && took < DEAD * 3,
            "{took:?}"
        );
        drop(server);
        Ok(())
    })
}

#[test]
fn a_peer_with_a_closed_window_lives_on() -> Result<()> {
    lab::run(Network::Namespace, async |_| {
        let Rig {
            client,
            downstream,
            upstream,
            server,
        } = Rig::new().await?;
        let mut relay = relay(&downstream, &upstream);
        let _client = fill(&mut relay, client).await?;
        let ended = timeout(DEAD * 3, relay.run()).await;
        ensure!(ended.is_err(), "{ended:?}");
        drop(server);
        Ok(())
    })
}

#[test]
fn a_silent_peer_that_vanishes_is_found_by_keepalive() -> Result<()> {
    lab::run(Network::Namespace, async |_| {
        let rig = Rig::new().await?;
        // The product's are 60 s, 10 s and 3.
        let second = Duration::from_secs(1);
        let keepalive = TcpKeepalive::new()
            .with_time(second)
            .with_interval(second)
            .with_retries(3);
        SockRef::from(&rig.downstream).set_tcp_keepalive(&keepalive)?;
        vanish(CLIENT)?;
        let mut relay = relay(&rig.downstream, &rig.upstream);
        ensure!(ending(&mut relay).await? == Ending::DownstreamDead);
        Ok(())
    })
}
