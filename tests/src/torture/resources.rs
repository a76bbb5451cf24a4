//! Edge. What runs out: descriptors, places in the accept queue, ports, memory.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use futures::stream::{FuturesUnordered, StreamExt};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::client;
use crate::echo::{Behaviour, Server};
use crate::eventually::pass;
use crate::measure;
use crate::torture::Place;
use crate::torture::figure::{Figure, count};
use crate::torture::flow::{SOON, ping};
use crate::torture::load::{percentile, ping_all};
use crate::torture::relay::{Relay, Setup};

/// Open files of a side that runs out of them.
const DESCRIPTORS: u32 = 128;

/// A side over one server that sends back what it reads.
pub(super) struct Echo {
    pub(super) relay: Relay,
    pub(super) server: Server,
}

impl Echo {
    pub(super) async fn start(place: &Place<'_>, setup: Setup) -> Result<Self> {
        let server = Server::start("10.77.0.11:8000", Behaviour::Echo).await?;
        let backends = vec![server.address()];
        let relay = Relay::start(place, &Setup { backends, ..setup }).await?;
        Ok(Self { relay, server })
    }

    pub(super) async fn session(&self) -> Result<TcpStream> {
        let mut stream = client::dial(self.relay.listener).await?;
        timeout(Duration::from_secs(3), ping(&mut stream)).await??;
        Ok(stream)
    }

    pub(super) fn pid(&self) -> u32 {
        self.relay.process.pid()
    }
}

/// A wait beside an undisturbed one: at most twice as long, but 10 ms are only the scheduler.
pub(super) fn beside(name: &'static str, disturbed: &[Duration], calm: &[Duration]) -> Figure {
    let limit = (percentile(calm, 99) * 2.0).max(10.0);
    Figure::new(name, percentile(disturbed, 99), "ms")
        .at_most(limit)
        .noise(5.0)
}

/// R2. A limit of connections that the descriptors can't carry.
///
/// # Errors
/// The side can't be started.
pub async fn beyond_descriptors(place: &Place<'_>) -> Result<Vec<Figure>> {
    let limits = "    limits: {connections: 1000}\n";
    let setup = Setup {
        spec: format!("  listener:\n    port: 7000\n{limits}"),
        global: vec!["maxconn 1000".to_owned()],
        descriptors: Some(DESCRIPTORS),
        ..Setup::over(&[SocketAddr::from(([10, 77, 0, 11], 8000))])
    };
    let mut relay = Relay::launch(place, &setup)?;
    let start = Instant::now();
    // Each says what it needs in its own words, and what it has.
    let word = place.by_side("this process may open 128", "limit is 128");
    let told = relay.process.says(word, SOON).await;
    let after = start.elapsed();
    let needs = place.by_side("1000 needs 2032 descriptors", "FD limit to 20");
    let both = told.as_ref().is_ok_and(|line| line.contains(needs));
    Ok(vec![
        Figure::yes("told what it needs and what it has", both),
        Figure::new("told after the start", after.as_secs_f64(), "s")
            .at_most(5.0)
            .noise(2.0),
    ])
}

/// R1. More clients than descriptors.
///
/// # Errors
/// The side doesn't start.
pub async fn out_of_descriptors(place: &Place<'_>) -> Result<Vec<Figure>> {
    let window = Duration::from_secs(place.scaled(2, 15, |_| 15));
    let setup = Setup {
        descriptors: Some(DESCRIPTORS),
        // Else HAProxy doesn't start: it wants the descriptors of all its connections beforehand.
        global: vec!["no strict-limits".to_owned(), "maxconn 1000".to_owned()],
        ..Setup::default()
    };
    let echo = Echo::start(place, setup).await?;
    let mut served = Vec::new();
    while served.len() < 50 {
        match echo.session().await {
            Ok(stream) => served.push(stream),
            Err(_) => break,
        }
    }
    let n_served = served.len();
    let (calm, _) = ping_all(&mut served, Duration::from_secs(1)).await;
    let mut waiting = waiting_clients(&echo).await?;
    // Without traffic first, so that all the processor time there is comes from the shortage.
    let lines = echo.relay.process.log()?.lines().count();
    let before = measure::processor_time(echo.pid())?;
    pass(window).await;
    let used = measure::processor_time(echo.pid())? - before;
    let lines = count(echo.relay.process.log()?.lines().count() - lines);
    let (disturbed, broken) = ping_all(&mut served, window).await;
    let answers = timeout(SOON, echo.relay.ready())
        .await
        .is_ok_and(|ready| ready.is_ok());
    let seconds = window.as_secs_f64();

    served.truncate(n_served - FREED);
    let (waited, turned_away) = first_answers(&mut waiting, FREED).await;
    Ok(vec![
        Figure::new(
            "sessions held with 128 descriptors",
            count(n_served),
            "sessions",
        ),
        Figure::new(
            "processor while out of descriptors",
            measure::percent(used, window),
            "%",
        )
        .at_most(5.0)
        .noise(2.0),
        Figure::new("log lines a second", lines / seconds, "lines")
            .at_most(1.0)
            .noise(1.0),
        Figure::new("open sessions that broke", count(broken), "sessions").at_most(0.0),
        place.timing(beside(
            "their p99, at most twice the calm one",
            &disturbed,
            &calm,
        )),
        Figure::yes("pages answer", answers),
        Figure::new("waiting clients turned away", count(turned_away), "clients").at_most(0.0),
        Figure::new("as many as fit served after", waited, "ms")
            .at_most(1000.0)
            .noise(200.0),
    ])
}

/// Sessions that end, so that as many that wait can be served.
const FREED: usize = 30;

/// Clients beyond the descriptors, each with something to say.
async fn waiting_clients(echo: &Echo) -> Result<Vec<TcpStream>> {
    let mut waiting = Vec::new();
    for _ in 0..500 {
        let mut stream = client::dial(echo.relay.listener).await?;
        // One that is turned away shows when its answer is waited for.
        let _ = stream.write_all(b"p").await;
        waiting.push(stream);
    }
    // Whatever still fits gets in before the state is measured.
    pass(Duration::from_secs(1)).await;
    Ok(waiting)
}

/// How long until that many have an answer, in milliseconds, and how many were turned away.
async fn first_answers(waiting: &mut [TcpStream], wanted: usize) -> (f64, usize) {
    let start = Instant::now();
    let answers = waiting.iter_mut().map(|stream| stream.read_u8());
    let mut answers: FuturesUnordered<_> = answers.collect();
    let (mut served, mut turned_away) = (0, 0);
    while let Ok(Some(answer)) = timeout(Duration::from_secs(5), answers.next()).await {
        match answer {
            Ok(_) => served += 1,
            Err(_) => turned_away += 1,
        }
        if served == wanted {
            return (start.elapsed().as_secs_f64() * 1e3, turned_away);
        }
    }
    (f64::INFINITY, turned_away)
}

/// R13. The side is held for a second while thousands connect.
///
/// # Errors
/// The side doesn't start.
pub async fn accept_queue(place: &Place<'_>) -> Result<Vec<Figure>> {
    let n = place.scaled(500, 4000, |_| 4000);
    let mut echo = Echo::start(place, Setup::default()).await?;
    echo.session().await?;
    let overflows = measure::tcp_counter("ListenOverflows")?;
    echo.relay.process.signal(Signal::STOP)?;
    let held = Instant::now();
    let mut streams = Vec::with_capacity(n);
    for _ in 0..n {
        let Ok(Ok(mut stream)) =
            timeout(Duration::from_secs(1), client::dial(echo.relay.listener)).await
        else {
            break;
        };
        stream.write_all(b"p").await?;
        streams.push(stream);
    }
    pass(Duration::from_secs(1).saturating_sub(held.elapsed())).await;
    echo.relay.process.signal(Signal::CONT)?;
    let established = streams.len();
    let answers = streams
        .iter_mut()
        .map(|stream| timeout(SOON, stream.read_u8()));
    let answers = futures::future::join_all(answers).await;
    let n_served = answers
        .iter()
        .filter(|answer| matches!(answer, Ok(Ok(b'p'))))
        .count();
    let overflows = measure::tcp_counter("ListenOverflows")? - overflows;
    Ok(vec![
        Figure::new(
            "accept queue overflows",
            count(usize::try_from(overflows)?),
            "times",
        )
        .at_most(0.0),
        Figure::share("clients connected while it was held", established, n).all(),
        Figure::share("clients served", n_served, n).all(),
    ])
}
