//! What a relay must keep: every byte, and how each direction ends.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use tcpforward_tests::client;
use tcpforward_tests::echo::{Behaviour, Server};
use tcpforward_tests::forwarder::{Forwarder, manifest, target};
use tcpforward_tests::lab::{self, Lab, Network};
use tcpforward_tests::payload::{self, Payload};
use tcpforward_tests::{measure, ports};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_secs(10);
const BULK: Duration = Duration::from_secs(120);

/// A forwarder with one backend that the test plays itself.
struct Pair {
    _forwarder: Forwarder,
    backend: TcpListener,
    listener: SocketAddr,
}

async fn pair(lab: &Lab, more: &str) -> Result<Pair> {
    let backend = TcpListener::bind("127.0.0.1:0").await?;
    let listener = ports::free()?;
    let targets = [target("a", backend.local_addr()?, "")];
    let yaml = manifest("web", listener.port(), &targets, more);
    let forwarder = Forwarder::start(lab, &yaml, &[]).await?;
    Ok(Pair {
        _forwarder: forwarder,
        backend,
        listener,
    })
}

impl Pair {
    async fn session(&self) -> Result<(TcpStream, TcpStream)> {
        let downstream = client::dial(self.listener).await?;
        let (upstream, _) = timeout(SOON, self.backend.accept()).await??;
        Ok((downstream, upstream))
    }
}

async fn read_to_end(stream: &mut TcpStream) -> Result<String> {
    let mut text = String::new();
    timeout(SOON, stream.read_to_string(&mut text)).await??;
    Ok(text)
}

async fn is_reset(stream: &mut TcpStream) -> Result<()> {
    match timeout(SOON, stream.read(&mut [0; 16])).await? {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
        other => anyhow::bail!("expected a reset, got {other:?}"),
    }
}

#[test]
fn a_hundred_mebibytes_each_way_at_once_arrive_whole() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let (up, down) = (
            Payload {
                bytes: 100 << 20,
                seed: 1,
            },
            Payload {
                bytes: 100 << 20,
                seed: 2,
            },
        );
        let mut server = Server::start("127.0.0.1:0", Behaviour::Exchange(down)).await?;
        let listener = ports::free()?;
        let yaml = manifest(
            "web",
            listener.port(),
            &[target("a", server.address(), "")],
            "",
        );
        let _forwarder = Forwarder::start(lab, &yaml, &[]).await?;
        let stream = client::dial(listener).await?;
        let came = timeout(BULK, payload::exchange(stream, up)).await??;
        ensure!(came == down.digest(), "{came:?}");
        let went = server.received(BULK).await?;
        ensure!(went == up.digest(), "{went:?}");
        Ok(())
    })
}

#[test]
fn half_close_is_passed_on_in_both_orders() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let pair = pair(lab, "").await?;

        let (mut down, mut up) = pair.session().await?;
        down.write_all(b"question").await?;
        down.shutdown().await?;
        ensure!(read_to_end(&mut up).await? == "question");
        up.write_all(b"answer").await?;
        up.shutdown().await?;
        ensure!(read_to_end(&mut down).await? == "answer");

        let (mut down, mut up) = pair.session().await?;
        up.write_all(b"greeting").await?;
        up.shutdown().await?;
        ensure!(read_to_end(&mut down).await? == "greeting");
        down.write_all(b"reply").await?;
        down.shutdown().await?;
        ensure!(read_to_end(&mut up).await? == "reply");
        Ok(())
    })
}

#[test]
fn a_reset_is_a_reset_on_the_other_side_after_the_bytes() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let pair = pair(lab, "").await?;
        for _ in 0..20 {
            let (mut down, mut up) = pair.session().await?;
            up.write_all(b"part").await?;
            let mut part = [0; 4];
            timeout(SOON, down.read_exact(&mut part)).await??;
            client::reset(up)?;
            is_reset(&mut down).await?;

            let (mut down, mut up) = pair.session().await?;
            down.write_all(b"part").await?;
            timeout(SOON, up.read_exact(&mut part)).await??;
            client::reset(down)?;
            is_reset(&mut up).await?;
        }
        Ok(())
    })
}

#[test]
fn silence_ends_a_session_on_both_sides_and_bytes_do_not() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let pair = pair(lab, "  timeouts: {idle: 1s}\n").await?;
        let (mut down, mut up) = pair.session().await?;
        let started = Instant::now();
        let mut byte = [0];
        while started.elapsed() < Duration::from_secs(2) {
            up.write_all(b"x").await?;
            timeout(SOON, down.read_exact(&mut byte)).await??;
            let again = timeout(Duration::from_millis(300), up.read(&mut byte)).await;
            ensure!(again.is_err(), "it ended although bytes moved");
        }
        let silent = Instant::now();
        is_reset(&mut down).await?;
        is_reset(&mut up).await?;
        let waited = silent.elapsed();
        let expected = Duration::from_millis(300)..Duration::from_secs(3);
        ensure!(expected.contains(&waited), "{waited:?}");
        Ok(())
    })
}

#[test]
fn a_half_closed_session_ends_after_its_own_silence() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let pair = pair(lab, "  timeouts: {halfClosed: 1s}\n").await?;
        let (mut open_down, mut open_up) = pair.session().await?;
        let (mut down, mut up) = pair.session().await?;
        down.shutdown().await?;
        ensure!(read_to_end(&mut up).await?.is_empty());
        let silent = Instant::now();
        is_reset(&mut down).await?;
        ensure!(silent.elapsed() < Duration::from_secs(4));
        open_down.write_all(b"still").await?;
        open_down.shutdown().await?;
        ensure!(
            read_to_end(&mut open_up).await? == "still",
            "an open session is not ended by it"
        );
        Ok(())
    })
}

#[test]
fn a_reader_that_stalls_costs_no_memory_and_loses_nothing() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let pair = pair(lab, "").await?;
        let resident = |pair: &Pair| measure::resident(pair._forwarder.process.pid());
        let before = resident(&pair)?;
        let payload = Payload {
            bytes: 64 << 20,
            seed: 3,
        };
        let mut readers = Vec::new();
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (down, mut up) = pair.session().await?;
            writers.spawn(async move {
                payload.send(&mut up).await?;
                up.shutdown().await
            });
            readers.push(down);
        }
        let full = timeout(Duration::from_secs(1), writers.join_next()).await;
        ensure!(full.is_err(), "a writer is held back while nobody reads");
        let grown = resident(&pair)?.saturating_sub(before);
        ensure!(grown < 16 << 10, "{grown} KiB for 20 stalled readers");
        let first = readers.swap_remove(0);
        let came = timeout(BULK, payload::receive(first)).await??;
        ensure!(came == payload.digest(), "{came:?}");
        Ok(())
    })
}
