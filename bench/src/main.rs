//! Edge. Measures ours and others and prints one page: `bench --quick`, or `bench --write bench` for the record.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum as _};
use serde::Serialize;
use tcpforward_bench::path::plan::Plan;
use tcpforward_bench::path::{lanes, page};
use tcpforward_bench::peer::{Load, Peer};
use tcpforward_bench::results::Scale;
use tcpforward_bench::subject::Programs;
use tcpforward_bench::{report, rounds, user};
use tcpforward_tests::lab::{self, Network};

/// Measures tcpforward and other relays, each on a core of its own.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
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

/// What else is measured.
#[derive(Debug, Subcommand)]
enum Command {
    /// Times of transfers over a path of 80 ms that loses packets: directly, and through a forwarder. Needs root.
    Path {
        /// One size in a quarter of a minute instead of all in ten.
        #[arg(long)]
        quick: bool,
        /// Folder for PATH.md and path.json; absent: the page is only printed.
        #[arg(long)]
        write: Option<PathBuf>,
    },
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
    match args.command {
        None => peers(args),
        Some(Command::Path { quick, write }) => path(quick, write.as_deref()),
    }
}

fn peers(args: Args) -> Result<()> {
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
    args.write.map_or(Ok(()), |folder| {
        save(&folder, ["RESULTS.md", "results.json"], &page, &results)
    })
}

fn path(quick: bool, write: Option<&Path>) -> Result<()> {
    let plan = if quick { Plan::quick() } else { Plan::full() };
    let mut results = None;
    // Each path makes namespaces of its own.
    lab::run(Network::Loopback, async |lab| {
        let ours = user::ours(lab)?;
        results = Some(lanes::run(&ours, &plan, &|text| eprintln!("{text}"))?);
        Ok(())
    })?;
    let results = results.context("the run ended without a word")?;
    let page = page::page(&results);
    print!("{page}");
    write.map_or(Ok(()), |folder| {
        save(folder, ["PATH.md", "path.json"], &page, &results)
    })
}

/// The page, and the numbers behind it.
fn save(folder: &Path, names: [&str; 2], page: &str, results: &impl Serialize) -> Result<()> {
    let [text, numbers] = names.map(|name| folder.join(name));
    std::fs::write(text, page)?;
    let json = serde_json::to_string_pretty(results)? + "\n";
    Ok(std::fs::write(numbers, json)?)
}
