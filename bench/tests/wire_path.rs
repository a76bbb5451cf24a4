//! The long path of the bench: the link is what it was asked to be, and a small run over it goes to its end. How fast
//! anything is says nothing here.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tcpforward_bench::load::Way;
use tcpforward_bench::path::direction::{Counts, Shape};
use tcpforward_bench::path::link::Link;
use tcpforward_bench::path::place::End;
use tcpforward_bench::path::plan::{Cell, Controls, Plan};
use tcpforward_bench::path::results::Results;
use tcpforward_bench::path::route::{self, Route};
use tcpforward_bench::path::{lanes, page};
use tcpforward_bench::user;
use tcpforward_tests::eventually::eventually;
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::programs::workspace_root;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tun_rs::SyncDevice;

const DELAY: Duration = Duration::from_millis(10);

const SOON: Duration = Duration::from_secs(5);

/// What a machine that has no time now may add.
const BUSY: Duration = Duration::from_millis(100);

/// Where datagrams are sent back.
const ECHO: u16 = 7;

const DATAGRAM: usize = 100;

/// With its headers.
const PACKET: u64 = 128;

/// Few enough that no socket lacks room for them.
const BATCH: u64 = 100;

#[test]
fn a_link_has_the_delay_the_loss_and_the_rate_that_it_is_asked_for() -> Result<()> {
    over_a_link(async |link, socket| {
        let mut times = Vec::new();
        for _ in 0..20 {
            let start = Instant::now();
            socket.send(&[0; DATAGRAM]).await?;
            let mut echo = [0; DATAGRAM];
            let echoed = timeout(SOON, socket.recv(&mut echo)).await;
            echoed.context("an echo got lost where nothing is lost")??;
            times.push(start.elapsed());
        }
        times.sort();
        let (least, middle) = (times[0], times[times.len() / 2]);
        ensure!(least >= 2 * DELAY, "{times:?}");
        ensure!(middle < 2 * DELAY + BUSY, "{times:?}");

        let loss = |loss| Shape { loss, ..shape() };
        let before = link.counts().map(|counts| counts.offered);
        ensure!(before == [20, 20], "something else is on the path");
        link.becomes(loss(0.05), 3);
        let mut arrived = 20;
        for batch in 1..=20 {
            for _ in 0..BATCH {
                socket.send(&[0; DATAGRAM]).await?;
            }
            arrived += answers(link, socket, arrived, 20 + batch * BATCH).await?;
        }
        let counts = link.counts();
        ensure!(
            counts.iter().all(|counts| counts.dropped == 0),
            "{counts:?}"
        );
        // Five standard deviations on either side of 5 %.
        for Counts { offered, lost, .. } in counts {
            ensure!(offered > 1800 && (50..=150).contains(&lost), "{counts:?}");
        }
        Ok(())
    })
}

#[test]
fn a_link_sends_at_its_rate_and_drops_what_finds_no_room() -> Result<()> {
    over_a_link(async |link, socket| {
        let slow = Shape {
            rate: 8 * 1000 * PACKET,
            room: 50 * PACKET,
            ..shape()
        };
        link.becomes(slow, 1);
        let start = Instant::now();
        for _ in 0..BATCH {
            socket.send(&[0; DATAGRAM]).await?;
        }
        let arrived = answers(link, socket, 0, BATCH).await?;
        // A millisecond each, there; those that are back waited no more.
        let [there, back] = link.counts();
        // Who echoes may be held up and send many at once.
        let echoed = arrived + back.dropped;
        let least = Duration::from_millis(echoed) + 2 * DELAY;
        ensure!(start.elapsed() >= least, "{:?}", start.elapsed());
        // While they were sent a few have left.
        ensure!((50..=BATCH).contains(&echoed), "{there:?} {back:?}");
        ensure!(there.dropped == BATCH - echoed, "{there:?} {back:?}");
        Ok(())
    })
}

#[test]
fn a_small_run_has_a_time_for_every_route_of_every_line() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let plan = plan(Controls {
            slow: "reno".to_owned(),
            fast: allowed()?,
        });
        let ours = user::ours(lab)?;
        let results = lanes::run(&ours, &plan, &|_| {})?;
        for line in results.lines() {
            for route in Route::ALL {
                let seconds = line.seconds(route).with_context(|| format!("{line:?}"))?;
                // A handshake, and what it leads to.
                ensure!(seconds > 0.04, "{line:?}");
            }
        }
        let path = results.path;
        ensure!(
            path.rtt >= 20.0 && path.rtt < 20.0 + BUSY.as_secs_f64() * 1e3,
            "{path:?}"
        );
        ensure!(path.counts.lost > 0, "{path:?}");
        let page = page::page(&results);
        for way in ["down", "up"] {
            let rows = page.matches(&format!("| 2 % | {way} | 200 KB |")).count();
            ensure!(rows == 2, "{page}");
        }
        ensure!(!page.contains('–'), "{page}");
        Ok(())
    })
}

#[test]
fn what_the_kernel_lacks_ends_a_run_and_is_told() -> Result<()> {
    lab::run(Network::Loopback, async |lab| {
        let plan = plan(Controls {
            slow: "reno".to_owned(),
            fast: "nosuch".to_owned(),
        });
        let ours = user::ours(lab)?;
        let error = lanes::run(&ours, &plan, &|_| {})
            .err()
            .context("no error")?;
        let text = format!("{error:#}");
        ensure!(text.contains("congestion control nosuch"), "{text}");
        Ok(())
    })
}

#[test]
fn the_page_is_what_the_numbers_say_and_the_example_what_was_measured() -> Result<()> {
    let read = |name: &str| {
        let path = workspace_root().join(name);
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let results: Results = serde_json::from_str(&read("bench/path.json")?)?;
    ensure!(
        read("bench/PATH.md")? == page::page(&results),
        "run `make bench-path`"
    );
    let options = format!("tcp: {}\n", route::options(&results.plan.controls));
    for name in ["examples/accelerate.yaml", "docs/tasks/accelerate.md"] {
        ensure!(read(name)?.contains(&options), "{name} without {options}");
    }
    Ok(())
}

fn shape() -> Shape {
    Shape {
        delay: DELAY,
        rate: 100_000_000,
        room: 1_000_000,
        loss: 0.0,
    }
}

fn plan(controls: Controls) -> Plan {
    let cells = [Way::Down, Way::Up].map(|way| Cell {
        loss: 2.0,
        way,
        bytes: 200_000,
        rounds: 1,
    });
    Plan {
        shape: shape(),
        controls,
        cells: cells.to_vec(),
        lanes: 2,
    }
}

/// A congestion control that forwarders may use here.
fn allowed() -> Result<String> {
    let path = Path::new("/proc/sys/net/ipv4/tcp_allowed_congestion_control");
    let names = std::fs::read_to_string(path)?;
    let last = names.split_whitespace().last();
    Ok(last.context("no congestion control")?.to_owned())
}

/// Runs the test with a link, and a socket whose datagrams come back over it.
fn over_a_link(test: impl AsyncFnOnce(&Link, &UdpSocket) -> Result<()> + Send) -> Result<()> {
    let (ready, is_ready) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let far = thread::spawn(|| lab::run(Network::Namespace, async |_| echo(ready, stopped).await));
    let ended = lab::run(Network::Namespace, async |_| {
        let devices = [End::Near.device()?, is_ready.await.context("no far end")?];
        let link = Link::start(devices, shape())?;
        let socket = UdpSocket::bind(End::Near.port(0)).await?;
        socket.connect(End::Far.port(ECHO)).await?;
        test(&link, &socket).await
    });
    drop(stop);
    far.join().map_err(|_| anyhow!("the far end"))??;
    ended
}

async fn echo(ready: oneshot::Sender<SyncDevice>, stopped: oneshot::Receiver<()>) -> Result<()> {
    let device = End::Far.device()?;
    let socket = UdpSocket::bind(End::Far.port(ECHO)).await?;
    ready.send(device).map_err(|_| anyhow!("nobody waits"))?;
    let send_back = async {
        let mut datagram = [0; DATAGRAM];
        loop {
            let (n, from) = socket.recv_from(&mut datagram).await?;
            let datagram = datagram.get(..n).unwrap_or_default();
            socket.send_to(datagram, from).await?;
        }
    };
    tokio::select! {
        ended = send_back => ended,
        _ = stopped => Ok(()),
    }
}

/// Waits until each of the datagrams that were `sent` is back or counted as gone, and says how many are back beside
/// those that had `arrived` before.
async fn answers(link: &Link, socket: &UdpSocket, arrived: u64, sent: u64) -> Result<u64> {
    let mut more = 0;
    eventually("every datagram to be back or gone", SOON, async || {
        while socket.try_recv(&mut [0; DATAGRAM]).is_ok() {
            more += 1;
        }
        let [there, back] = link.counts();
        let gone = [there, back].map(|counts| counts.lost + counts.dropped);
        let gone: u64 = gone.iter().sum();
        let found = format!("{there:?} {back:?}, {arrived} + {more}");
        ensure!(
            there.offered == sent && arrived + more + gone == sent,
            "{found}"
        );
        Ok(())
    })
    .await?;
    Ok(more)
}
