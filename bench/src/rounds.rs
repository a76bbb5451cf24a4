//! Edge. Every peer in turn, again and again, so that what the machine does meanwhile meets all alike.

use std::time::Duration;

use anyhow::{Context, Result};
use tcpforward_tests::eventually::pass;
use tcpforward_tests::lab::Lab;
use tokio::task::JoinSet;

use crate::cores::Cores;
use crate::figure::Figure;
use crate::load::{self, Bounds, Pace, Path, Way};
use crate::machine;
use crate::outcome::{Outcome, float};
use crate::peer::{Load, Loads, Peer};
use crate::results::{Results, Scale};
use crate::subject::{Programs, Subject};

/// Connections that carry a stream.
const STREAMS: usize = 4;

/// Clients at a time.
const LANES: usize = 32;

/// Messages a second of the open loop: about a quarter of what one core can.
const PING_PONGS: u32 = 8000;

/// Connections a second of the open loop, by the same measure.
const EXCHANGES: u32 = 1500;

/// No load does more than that, whatever the machine can: 2 TB, or 10 million things.
const MOST_BYTES: u64 = 2 << 40;
const MOST_TIMES: u64 = 10_000_000;

/// How long those who are not ours are watched while idle.
const WATCH: Duration = Duration::from_secs(5);

/// Sessions that a peer has seen before its memory is looked at.
const WARM_UP: usize = 50;

/// Until a peer has done what a load left over.
const SETTLE: Duration = Duration::from_millis(200);

/// One turn of one peer.
struct Turn<'a> {
    peer: Peer,
    wanted: &'a [Load],
    subject: &'a Subject,
    scale: &'a Scale,
    results: &'a mut Results,
    failures: u64,
}

/// Runs all rounds; `told` hears of each turn.
///
/// # Errors
/// A peer can't be started, or ends by itself.
pub async fn run(
    lab: &Lab,
    programs: &Programs,
    peers: &[Peer],
    loads: &[Load],
    scale: Scale,
    told: impl Fn(&str),
) -> Result<Results> {
    let cores = Cores::take()?;
    let peers = peers.iter().copied().filter(|peer| programs.has(*peer));
    let mut peers: Vec<Peer> = peers.collect();
    let mut results = Results {
        machine: machine::describe()?,
        scale,
        versions: machine::versions(&peers, programs)?,
        ..Results::default()
    };
    for round in 1..=scale.rounds {
        for &peer in &peers {
            told(&format!(
                "round {round} of {}: {}",
                scale.rounds,
                peer.name()
            ));
            let what = || format!("round {round} of {}", peer.name());
            for part in Part::of(peer, loads, round == 1) {
                let subject = Subject::start(lab, programs, peer, cores).await?;
                let mut turn = Turn {
                    peer,
                    wanted: loads,
                    subject: &subject,
                    scale: &scale,
                    results: &mut results,
                    failures: 0,
                };
                turn.take(part).await.with_context(what)?;
                subject.end().await.with_context(what)?;
            }
        }
        peers.reverse();
    }
    Ok(results)
}

/// What one process of a peer does. Idle connections have one of their own: it has no memory left over from others,
/// and what they leave behind meets no other load. Go, for one, holds a pipe for each, goes on with those to which the
/// kernel gave a single page, and takes four times as long to stream.
#[derive(Clone, Copy)]
enum Part {
    Idle { is_watched: bool },
    Busy,
}

impl Part {
    fn of(peer: Peer, wanted: &[Load], is_first: bool) -> impl Iterator<Item = Self> + use<> {
        let wants_idle = wanted.contains(&Load::Idle) && peer != Peer::Direct;
        let idle = (peer.loads() == Loads::All && wants_idle).then_some(Self::Idle {
            is_watched: is_first,
        });
        let is_busy = wanted.iter().any(|load| *load != Load::Idle);
        idle.into_iter().chain(is_busy.then_some(Self::Busy))
    }
}

impl Turn<'_> {
    async fn take(&mut self, part: Part) -> Result<()> {
        match part {
            Part::Idle { is_watched } => self.idle(is_watched).await?,
            Part::Busy => self.loads().await?,
        }
        self.note(Figure::Failures, float(self.failures));
        Ok(())
    }

    async fn loads(&mut self) -> Result<()> {
        let (loads, wanted) = (self.peer.loads(), self.wanted);
        let wants = |load| wanted.contains(&load);
        if loads == Loads::All && wants(Load::Stream) {
            self.stream(Way::Up).await?;
            self.stream(Way::Down).await?;
        }
        if loads != Loads::Opening && wants(Load::PingPong) {
            self.ping_pong().await?;
        }
        if wants(Load::Exchange) {
            self.exchanges().await?;
        }
        Ok(())
    }

    fn note(&mut self, figure: Figure, value: f64) {
        self.results.note(self.peer, figure, value);
    }

    fn bounds(&self, count: u64) -> Bounds {
        Bounds {
            time: Duration::from_secs_f64(self.scale.seconds),
            count,
        }
    }

    /// Does a load and notes what each unit of it cost, in the millionth part of a second times `per`.
    async fn costed(
        &mut self,
        figure: Figure,
        per: f64,
        load: impl Future<Output = Result<Outcome>>,
    ) -> Result<Outcome> {
        let before = self.subject.cpu()?;
        let outcome = self.counted(load).await?;
        pass(SETTLE).await;
        let cost = self.subject.cpu()? - before;
        if self.subject.pid().is_some() {
            self.note(figure, cost * 1e6 * per / float(outcome.units.max(1)));
        }
        Ok(outcome)
    }

    /// Does a load and counts its failures.
    async fn counted(&mut self, load: impl Future<Output = Result<Outcome>>) -> Result<Outcome> {
        let outcome = load.await?;
        self.failures += outcome.failures;
        if let Some(reason) = &outcome.reason {
            eprintln!(
                "{} failures of {}: {reason}",
                outcome.failures,
                self.peer.name()
            );
        }
        Ok(outcome)
    }

    async fn stream(&mut self, way: Way) -> Result<()> {
        let (cpu, rate) = match way {
            Way::Up => (Figure::UpCpu, Figure::UpRate),
            Way::Down => (Figure::DownCpu, Figure::DownRate),
        };
        let path = self.subject.path.clone();
        let load = load::bulk(&path, way, STREAMS, self.bounds(MOST_BYTES));
        // Microseconds a byte, times a million: milliseconds a gigabyte.
        let outcome = self.costed(cpu, 1e6, load).await?;
        self.note(rate, outcome.rate() * 8.0 / 1e9);
        Ok(())
    }

    async fn ping_pong(&mut self) -> Result<()> {
        let (path, bounds) = (self.subject.path.clone(), self.bounds(MOST_TIMES));
        let load = load::ping_pong(&path, Pace::Closed, LANES, bounds);
        let outcome = self.costed(Figure::PingPongCpu, 1.0, load).await?;
        self.note(Figure::PingPongRate, outcome.rate());
        self.note(Figure::PingPongP99, outcome.percentile(99.0));
        let load = load::ping_pong(&path, Pace::Open(PING_PONGS), LANES, bounds);
        let outcome = self.costed(Figure::PingPongOpenCpu, 1.0, load).await?;
        self.note(Figure::PingPongOpenP99, outcome.percentile(99.0));
        if self.peer == Peer::Ours {
            let outcome = self.counted(beside_slow(&path, bounds)).await?;
            self.note(Figure::BesideSlowP99, outcome.percentile(99.0));
        }
        Ok(())
    }

    async fn exchanges(&mut self) -> Result<()> {
        let (path, bounds) = (self.subject.path.clone(), self.bounds(MOST_TIMES));
        let load = load::exchanges(&path, Pace::Closed, LANES, bounds);
        let outcome = self.costed(Figure::ExchangeCpu, 1.0, load).await?;
        self.note(Figure::ExchangeRate, outcome.rate());
        self.note(Figure::ExchangeP99, outcome.percentile(99.0));
        if self.peer.loads() == Loads::Opening {
            // Not all of them can keep that pace.
            return Ok(());
        }
        let load = load::exchanges(&path, Pace::Open(EXCHANGES), LANES, bounds);
        let outcome = self.costed(Figure::ExchangeOpenCpu, 1.0, load).await?;
        self.note(Figure::ExchangeOpenP99, outcome.percentile(99.0));
        Ok(())
    }

    async fn idle(&mut self, is_watched: bool) -> Result<()> {
        let path = self.subject.path.clone();
        drop(load::idle(&path, WARM_UP).await?);
        pass(SETTLE).await;
        let before = self.subject.memory()?;
        let held = load::idle(&path, self.scale.idle.min(self.peer.most_idle())).await?;
        pass(SETTLE).await;
        let more = self.subject.memory()? - before;
        self.note(Figure::IdleMemory, more / float(u64::try_from(held.len())?));
        self.note(Figure::BaseMemory, before / f64::from(1 << 20));
        if is_watched {
            pass(Duration::from_secs_f64(self.scale.quiet_seconds)).await;
            let ours = Duration::from_secs_f64(self.scale.watch_seconds);
            let watch = if self.peer == Peer::Ours {
                ours
            } else {
                WATCH.min(ours)
            };
            if let Some(switches) = self.subject.switches(watch).await? {
                self.note(Figure::IdleSwitches, switches);
            }
        }
        drop(held);
        pass(SETTLE).await;
        Ok(())
    }
}

/// Round trips at the fixed rate, while one client hardly reads what it asked for.
async fn beside_slow(path: &Path, bounds: Bounds) -> Result<Outcome> {
    let mut slow = JoinSet::new();
    let its = path.clone();
    slow.spawn(async move { load::slow_reader(&its).await });
    let load = load::ping_pong(path, Pace::Open(PING_PONGS), LANES, bounds);
    tokio::select! {
        outcome = load => outcome,
        Some(ended) = slow.join_next() => {
            ended??;
            anyhow::bail!("the slow reader has ended")
        }
    }
}
