//! Edge. Measures ours and others and prints one page: `bench --quick`, or `bench --write bench` for the record.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum as _};
use tcpforward_bench::peer::{Load, Peer};
use tcpforward_bench::results::Scale;
use tcpforward_bench::subject::Programs;
use tcpforward_bench::{report, rounds};
use tcpforward_tests::lab::{self, Network};

/// Measures tcpforward and other relays, each on a core of its own.
#[derive(Debug, Parser)]
struct Args {
    /// One short round instead of five.
    #[arg(long)]
    quick: bool,
    /// Rounds of each peer.
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds of each load.
    #[arg(long)]
    seconds: Option<f64>,
    /// Only those.
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Only those loads.
    #[arg(long, value_enum, value_delimiter = ',')]
    loads: Vec<Load>,
    /// Folder for RESULTS.md and results.json; absent: the page is only printed.
    #[arg(long)]
    write: Option<PathBuf>,
    /// A program of Envoy.
    #[arg(long, env = "ENVOY")]
    envoy: Option<PathBuf>,
}

const PEERS: [Peer; 11] = [
    Peer::Haproxy,
    Peer::Ours,
    Peer::HaproxySplice,
    Peer::OursConnect,
    Peer::Nginx,
    Peer::Go,
    Peer::OursMany,
    Peer::Tinyproxy,
    Peer::GoConnect,
    Peer::Envoy,
    Peer::Direct,
];

fn main() -> Result<()> {
    let args = Args::parse();
    lab::raise_descriptors()?;
    let mut scale = if args.quick {
        Scale::QUICK
    } else {
        Scale::FULL
    };
    scale.rounds = args.rounds.unwrap_or(scale.rounds);
    scale.seconds = args.seconds.unwrap_or(scale.seconds);
    let peers = if args.peers.is_empty() {
        PEERS.to_vec()
    } else {
        args.peers
    };
    let loads = if args.loads.is_empty() {
        Load::value_variants()
    } else {
        &args.loads
    };
    let mut results = None;
    // With a namespace of its own a run has all ports, and nobody's firewall.
    let network = match rustix::process::geteuid().is_root() {
        true => Network::Namespace,
        false => Network::Loopback,
    };
    lab::run(network, async |lab| {
        let programs = Programs::gather(lab, args.envoy.clone())?;
        let tell = |text: &str| eprintln!("{text}");
        results = Some(rounds::run(lab, &programs, &peers, loads, scale, tell).await?);
        Ok(())
    })?;
    let results = results.context("the run ended without a word")?;
    let page = report::page(&results);
    print!("{page}");
    if let Some(folder) = args.write {
        std::fs::write(folder.join("RESULTS.md"), &page)?;
        let json = serde_json::to_string_pretty(&results)? + "\n";
        std::fs::write(folder.join("results.json"), json)?;
    }
    Ok(())
}
