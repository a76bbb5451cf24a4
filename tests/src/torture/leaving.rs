//! Edge. Ends that were asked for: a server taken out, the relay itself told to end.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::client;
use crate::echo::listen;
use crate::eventually::{eventually, pass};
use crate::measure::{State, tcp_sockets};
use crate::netns;
use crate::torture::figure::{Figure, count};
use crate::torture::flow::{End, Flow, Link, SOON, read_to_end};
use crate::torture::relay::{Relay, Setup};
use crate::torture::{Place, Side};

/// What a session that ends by itself still sends.
const LAST: usize = 256 << 10;

/// The rest of a session: its server sends the last bytes and ends; whether they came whole.
async fn finish(flow: Flow) -> bool {
    let Flow { mut down, mut up } = flow;
    let last = vec![b'l'; LAST];
    let send = async {
        up.write_all(&last).await?;
        up.shutdown().await?;
        Ok(())
    };
    let both = async { tokio::try_join!(send, read_to_end(&mut down, SOON)) };
    matches!(both.await, Ok(((), (bytes, End::Clean, _))) if bytes == LAST as u64)
}

/// R28. The relay is told to end; half of its sessions end by themselves in time.
///
/// # Errors
/// The side doesn't start.
pub async fn drain(place: &Place<'_>) -> Result<Vec<Figure>> {
    netns::bound_buffers()?;
    let n = place.scaled(60, 500, |_| 500);
    let (seconds, options) = place.scaled(
        (3, ["--drain-timeout", "3s"]),
        (10, ["--drain-timeout", "10s"]),
        |_| (10, ["--drain-timeout", "10s"]),
    );
    let setup = Setup {
        options: options.to_vec(),
        global: vec![format!("hard-stop-after {seconds}s")],
        ..Setup::default()
    };
    let mut link = Link::start(place, setup).await?;
    let mut finishing = link.flows(n).await?;
    let staying = finishing.split_off(n / 2);
    // HAProxy's TERM ends it at once; its soft stop is USR1.
    link.relay
        .process
        .signal(place.by_side(Signal::TERM, Signal::USR1))?;
    let start = Instant::now();
    let told = eventually("it to say that it isn't ready", SOON, async || {
        ensure!(link.relay.ready().await.is_err(), "still ready");
        Ok(())
    });
    told.await?;
    let told = start.elapsed().as_secs_f64() * 1e3;
    let whole = join_all(finishing.into_iter().map(finish)).await;
    let n_whole = whole.iter().filter(|whole| **whole).count();
    let ends = staying.into_iter().map(|flow| async move {
        let Flow { mut down, up } = flow;
        let end = read_to_end(&mut down, Duration::from_secs(60)).await;
        drop(up);
        (
            end.map_or(End::None, |(_, end, _)| end),
            start.elapsed().as_secs_f64(),
        )
    });
    let ends = join_all(ends).await;
    let n_reset = ends.iter().filter(|(end, _)| *end == End::Reset).count();
    let last = ends.iter().map(|(_, after)| *after).fold(0.0, f64::max);
    let status = link.relay.process.end(Duration::from_secs(30)).await?;
    let deadline = f64::from(seconds);
    Ok(vec![
        Figure::new("not ready after", told, "ms")
            .at_most(1000.0)
            .noise(500.0),
        Figure::share("sessions that end in time, whole", n_whole, whole.len()).all(),
        Figure::share("the others, seen as a reset", n_reset, ends.len()).all(),
        Figure::new("the last of them after", last, "s").between(deadline - 1.0, deadline + 1.0),
        Figure::yes("exit code 0", status.success()),
    ])
}

/// R7. One of three servers is taken out while sessions are open on it.
///
/// # Errors
/// The side doesn't start.
pub async fn removed(place: &Place<'_>) -> Result<Vec<Figure>> {
    netns::bound_buffers()?;
    let n = place.scaled(60, 500, |_| 500);
    let seconds: u16 = place.scaled(2, 20, |_| 20);
    let mut servers = Vec::new();
    for host in [11, 12, 13] {
        servers.push(listen(([10, 77, 0, host], 8000).into())?);
    }
    let addresses: Vec<_> = servers.iter().flat_map(TcpListener::local_addr).collect();
    let closes = format!(
        "    establishedConnections: {{onRemoved: Drain, drainTimeout: {seconds}s, closesPerSecond: 500}}\n"
    );
    let setup = Setup {
        relay: closes,
        ..Setup::over(&addresses)
    };
    let relay = Relay::start(place, &setup).await?;
    let (mut kept, mut leaving) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let (flow, server) = open(&relay, &servers).await?;
        let flow = relay.settled(flow).await?;
        if server == 2 {
            leaving.push(flow)
        } else {
            kept.push(flow)
        }
    }
    let staying = leaving.split_off(leaving.len() / 2);
    let gone = *addresses.get(2).context("a third server")?;
    take_out(&relay, &setup).await?;
    let start = Instant::now();
    pass(Duration::from_secs(1)).await;
    let mut late = 0;
    for _ in 0..60 {
        let (flow, server) = open(&relay, &servers).await?;
        late += usize::from(server == 2);
        kept.push(flow);
    }
    let whole = join_all(leaving.into_iter().map(finish)).await;
    let n_whole = whole.iter().filter(|whole| **whole).count();
    let after = none_to(&relay, gone, start, seconds).await?;
    drop(staying);
    let mut alive = 0;
    for flow in &mut kept {
        alive += usize::from(flow.ping().await.is_ok());
    }
    let limit = f64::from(seconds);
    Ok(vec![
        Figure::new("new sessions to it after a second", count(late), "sessions").at_most(0.0),
        Figure::share("its sessions that end in time, whole", n_whole, whole.len()).all(),
        Figure::new("no connection to it after", after, "s").between(limit - 0.5, limit + 1.0),
        Figure::share("sessions of the others alive", alive, kept.len()).all(),
    ])
}

async fn open(relay: &Relay, servers: &[TcpListener]) -> Result<(Flow, usize)> {
    let down = client::dial(relay.listener).await?;
    let accepts = servers.iter().map(|server| Box::pin(server.accept()));
    let first = futures::future::select_all(accepts);
    let (accepted, server, _) = timeout(SOON, first).await.context("no session came")?;
    let up: TcpStream = accepted?.0;
    Ok((Flow { down, up }, server))
}

/// Takes the last server out, as an operator of that side does.
async fn take_out(relay: &Relay, setup: &Setup) -> Result<()> {
    match relay.side() {
        Side::Ours => {
            let backends = setup.backends.iter().take(2).copied().collect();
            let manifest = Setup {
                backends,
                ..setup.clone()
            }
            .manifest();
            let fresh = relay.file.with_extension("new");
            std::fs::write(&fresh, manifest)?;
            Ok(std::fs::rename(fresh, &relay.file)?)
        }
        Side::HaProxy => relay
            .command("set server torture/b2 state maint")
            .await
            .map(drop),
    }
}

/// When the last connection to a server was gone, in seconds from `start`.
async fn none_to(relay: &Relay, server: SocketAddr, start: Instant, drain: u16) -> Result<f64> {
    if relay.side() == Side::HaProxy {
        pass(Duration::from_secs(drain.into()).saturating_sub(start.elapsed())).await;
        relay.command("shutdown sessions server torture/b2").await?;
    }
    eventually(
        "its connections to be gone",
        Duration::from_secs(60),
        async || {
            let sockets = tcp_sockets()?.into_iter();
            let open = sockets.filter(|socket| {
                socket.state == State::Established && SocketAddr::V4(socket.remote) == server
            });
            let n_open = open.count();
            ensure!(n_open == 0, "{n_open} open");
            Ok(())
        },
    )
    .await?;
    Ok(start.elapsed().as_secs_f64())
}
