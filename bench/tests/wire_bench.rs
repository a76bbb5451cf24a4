//! The bench itself, on loopback and for a second a load: every load goes through, every figure is measured, and
//! whatever goes wrong is counted. How fast anything is says nothing here.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum as _;
use tcpforward_bench::backend::Backend;
use tcpforward_bench::figure::Figure;
use tcpforward_bench::load::{self, Bounds, Pace, Path, Way};
use tcpforward_bench::peer::{Load, Peer};
use tcpforward_bench::results::{Results, Scale};
use tcpforward_bench::subject::Programs;
use tcpforward_bench::targets::{By, TARGETS};
use tcpforward_bench::{report, rounds};
use tcpforward_tests::lab::{self, Network};
use tcpforward_tests::ports;
use tcpforward_tests::programs::workspace_root;

const SCALE: Scale = Scale {
    rounds: 1,
    seconds: 1.0,
    idle: 50,
    quiet_seconds: 0.0,
    watch_seconds: 0.5,
};

#[test]
fn ours_and_gos_are_measured_by_every_load_without_a_failure() -> Result<()> {
    lab::raise_descriptors()?;
    lab::run(Network::Loopback, async |lab| {
        let peers = [
            Peer::Ours,
            Peer::OursConnect,
            Peer::OursMany,
            Peer::Go,
            Peer::GoConnect,
        ];
        let programs = Programs::gather(lab, None)?;
        let results = rounds::run(
            lab,
            &programs,
            &peers,
            Load::value_variants(),
            SCALE,
            |_| {},
        )
        .await?;
        for peer in peers {
            let failures = results.value(peer, Figure::Failures);
            ensure!(failures == Some(0.0), "{peer:?}: {failures:?} failures");
        }
        for target in TARGETS {
            let is_here = match target.by {
                By::Itself => true,
                By::Other(other, _) => peers.contains(&other),
            };
            let reached = target.reached(&results);
            ensure!(reached.is_some() == is_here, "{target:?}: {reached:?}");
        }
        for figure in Figure::ALL {
            let value = results
                .value(Peer::Ours, figure)
                .with_context(|| figure.title())?;
            ensure!(value.is_finite(), "{figure:?}: {value}");
        }
        let page = report::page(&results);
        ensure!(page.contains("\n- tcpforward: tcpforward "), "{page}");
        Ok(())
    })
}

#[test]
fn a_load_ends_when_its_time_or_its_count_is_over() -> Result<()> {
    lab::run(Network::Loopback, async |_| {
        let backend = Backend::start((Ipv4Addr::LOCALHOST, 0).into())?;
        let path = path(backend.address());
        let short = bounds(Duration::from_millis(200), u64::MAX);
        let few = bounds(Duration::from_secs(60), 100);
        for way in [Way::Up, Way::Down] {
            let streams = load::bulk(&path, way, 2, short).await?;
            ensure!(streams.units > 0 && streams.failures == 0, "{streams:?}");
            let streams = load::bulk(&path, way, 2, few).await?;
            ensure!(streams.units >= 100 && streams.failures == 0, "{streams:?}");
        }
        for pace in [Pace::Closed, Pace::Open(5000)] {
            let pings = load::ping_pong(&path, pace, 4, few).await?;
            ensure!((pings.units, pings.failures) == (100, 0), "{pings:?}");
            let exchanges = load::exchanges(&path, pace, 4, few).await?;
            ensure!(
                (exchanges.units, exchanges.failures) == (100, 0),
                "{exchanges:?}"
            );
        }
        ensure!(load::idle(&path, 7).await?.len() == 7);
        Ok(())
    })
}

#[test]
fn an_open_loop_keeps_its_pace() -> Result<()> {
    lab::run(Network::Loopback, async |_| {
        let backend = Backend::start((Ipv4Addr::LOCALHOST, 0).into())?;
        let second = bounds(Duration::from_secs(1), u64::MAX);
        let pings = load::ping_pong(&path(backend.address()), Pace::Open(500), 8, second).await?;
        // On a machine that has no time now they come late, and none is left out.
        ensure!((490..=500).contains(&pings.units), "{pings:?}");
        Ok(())
    })
}

#[test]
fn clients_that_nobody_answers_are_failures() -> Result<()> {
    lab::run(Network::Loopback, async |_| {
        let nobody = path(ports::free()?);
        let minute = bounds(Duration::from_secs(60), u64::MAX);
        let exchanges = load::exchanges(&nobody, Pace::Closed, 4, minute).await?;
        ensure!(
            exchanges.units == 0 && exchanges.failures >= 4,
            "{exchanges:?}"
        );
        let reason = exchanges.reason.context("a reason")?;
        ensure!(reason.contains("refused"), "{reason}");
        Ok(())
    })
}

#[test]
fn clients_that_wait_in_vain_are_failures() -> Result<()> {
    lab::run(Network::Loopback, async |_| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let silent = path(listener.local_addr()?);
        let short = bounds(Duration::from_millis(100), u64::MAX);
        let exchanges = load::exchanges(&silent, Pace::Closed, 3, short).await?;
        ensure!(
            (exchanges.units, exchanges.failures) == (0, 3),
            "{exchanges:?}"
        );
        Ok(())
    })
}

#[test]
fn the_page_is_what_the_numbers_say() -> Result<()> {
    let read = |name: &str| std::fs::read_to_string(workspace_root().join("bench").join(name));
    let results: Results = serde_json::from_str(&read("results.json")?)?;
    ensure!(
        read("RESULTS.md")? == report::page(&results),
        "run `make bench`"
    );
    Ok(())
}

fn path(server: SocketAddr) -> Path {
    Path {
        listeners: vec![server],
        tunnel: None,
    }
}

fn bounds(time: Duration, count: u64) -> Bounds {
    Bounds { time, count }
}
