//! Clients with ways of their own: the API server's, and those who leave.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use tcpforward_tests::client;
use tcpforward_tests::echo::{Behaviour, BlackHole, Server};
use tcpforward_tests::eventually::{eventually, pass};
use tcpforward_tests::measure::descriptors;
use tcpforward_tests::tunnel::{ask, head};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::{Proxy, SOON, place, rule, without_users};

/// Clients that leave, from so many addresses: one address may wait for 256 answers.
const N_CLIENTS: u16 = 1000;
const N_SOURCES: u16 = 10;

#[test]
fn pitfall_15_the_api_server_says_another_host_and_takes_nothing_behind_the_answer() -> Result<()> {
    place(async |lab| {
        let server = Server::start("10.77.0.1:7000", Behaviour::Echo).await?;
        let rules = rule("a", "cidrs: [10.77.0.1/32], ports: [7000]");
        let proxy = Proxy::start(lab, &without_users(&rules), |_: &str| None).await?;
        let target = server.address();
        for _ in 0..20 {
            let mut stream = client::dial(proxy.address).await?;
            let request = format!("CONNECT {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = vec![0; 4096];
            let n = timeout(SOON, stream.read(&mut answer)).await??;
            answer.truncate(n);
            let answer = String::from_utf8(answer)?;
            let fine = "HTTP/1.1 200 Connection established\r\n\r\n";
            ensure!(answer == fine, "{answer:?}");
            stream.write_all(b"hello").await?;
            stream.shutdown().await?;
            let mut echo = String::new();
            timeout(SOON, stream.read_to_string(&mut echo)).await??;
            ensure!(echo == "hello", "{echo:?}");
        }
        Ok(())
    })
}

#[test]
fn pitfall_7_a_thousand_who_leave_a_black_hole_leave_nothing_behind() -> Result<()> {
    place(async |lab| {
        let hole = BlackHole::start([10, 77, 0, 1].into()).await?;
        let port = hole.address().port();
        let rules = rule("a", &format!("cidrs: [10.77.0.1/32], ports: [{port}]"));
        let proxy = Proxy::start(lab, &without_users(&rules), |_: &str| None).await?;
        let pid = proxy.forwarder.process.pid();
        let before = descriptors(pid)?;
        let request = head(&hole.address().to_string(), "");
        let clients = try_join_all((0..N_CLIENTS).map(async |i| {
            let source = [10, 77, 0, u8::try_from(20 + i % N_SOURCES)?];
            let mut stream = client::dial_from((source, 0).into(), proxy.address).await?;
            stream.write_all(request.as_bytes()).await?;
            Ok::<_, anyhow::Error>(stream)
        }));
        let clients = clients.await?;
        eventually("all of them to wait for an answer", SOON, async || {
            for gauge in ["connect_requests_pending", "connect_tunnels_open"] {
                let n = proxy.metric(gauge).await?;
                ensure!(n >= f64::from(N_CLIENTS), "{gauge} is {n}");
            }
            let now = descriptors(pid)?;
            let dialled = before + 2 * usize::from(N_CLIENTS);
            ensure!(now >= dialled, "{now} descriptors");
            Ok(())
        })
        .await?;
        drop(clients);
        eventually("all of it to be gone", SOON, async || {
            for gauge in [
                "connect_requests_pending",
                "connect_tunnels_open",
                "sessions_open",
            ] {
                let n = proxy.metric(gauge).await?;
                ensure!(n <= 0.0, "{gauge} is {n}");
            }
            let now = descriptors(pid)?;
            // One for the page that was just read.
            ensure!(now <= before + 1, "{now} descriptors, {before} before");
            Ok(())
        })
        .await
    })
}

/// A server that sends a byte now and then for longer than `timeouts` have it, to a client that says
/// nothing, or can't any more.
fn one_way(
    timeouts: &str,
    end: impl AsyncFnOnce(&mut TcpStream) -> Result<()> + Send,
) -> Result<()> {
    place(async |lab| {
        let server = TcpListener::bind("10.77.0.1:7000").await?;
        let rules = rule("a", "cidrs: [10.77.0.1/32], ports: [7000]");
        let manifest = without_users(&rules)
            .replace("  httpConnect:", &format!("  {timeouts}\n  httpConnect:"));
        let proxy = Proxy::start(lab, &manifest, |_: &str| None).await?;
        let (asked, accepted) = tokio::join!(
            ask(proxy.address, "10.77.0.1:7000", ""),
            timeout(SOON, server.accept()),
        );
        let (mut client, (mut stream, _)) = (asked?.tunnel()?, accepted??);
        end(&mut client).await?;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3) {
            stream.write_all(b"x").await?;
            timeout(SOON, client.read_exact(&mut [0])).await??;
            pass(Duration::from_millis(200)).await;
        }
        stream.shutdown().await?;
        let n_more = timeout(SOON, client.read(&mut [0])).await??;
        ensure!(n_more == 0, "{n_more} more");
        Ok(())
    })
}

#[test]
fn pitfall_32_silence_is_that_of_both_directions() -> Result<()> {
    one_way("timeouts: {idle: 1s}", async |_| Ok(()))
}

#[test]
fn pitfall_33_an_answer_after_a_half_close_may_take_its_time() -> Result<()> {
    one_way("timeouts: {halfClosed: 1s}", async |client| {
        Ok(client.shutdown().await?)
    })
}
