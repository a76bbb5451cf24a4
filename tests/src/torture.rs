//! Edge. Faults that bit other proxies, done to ours and to HAProxy side by side.
//!
//! A row is one fault. It sets up the side under test in a network namespace of its own, does the
//! fault and returns figures; [`table`] puts both sides' next to each other. `make torture` runs
//! every row in full, `make soak` the long ones, and `tests/wire_torture.rs` short forms of ours.

use std::pin::Pin;

use anyhow::{Context, Result};

use crate::lab::{self, Lab, Network};
use crate::torture::figure::Figure;
use crate::torture::way::{Way, Ways};

pub mod checks;
pub mod churn;
pub mod dead;
pub mod endings;
pub mod failover;
pub mod figure;
pub mod flood;
pub mod flow;
pub mod leaving;
pub mod load;
pub mod manifest;
pub mod nft;
pub mod outage;
pub mod ports;
pub mod relay;
pub mod resources;
pub mod rows;
pub mod silence;
pub mod stalled;
pub mod table;
pub mod tunnels;
pub mod turns;
pub mod urgent;
pub mod way;

/// Who is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Debian's HAProxy.
    HaProxy,
    /// `tcpforward run`.
    Ours,
}

impl Side {
    /// Its name in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HaProxy => "haproxy",
            Self::Ours => "tcpforward",
        }
    }
}

/// How long and how often a row does what it does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Seconds: a gate of `make test`.
    Short,
    /// At most two minutes: `make torture`.
    Full,
    /// As long as asked: `make soak`.
    Soak(Lengths),
}

/// How long a soak is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lengths {
    /// Of rows that watch for a slow leak or a late cut.
    pub minutes: u32,
    /// Of a row that does one thing again and again.
    pub runs: u32,
    /// To move in small pieces with nothing lost; on one connection twenty times as many.
    pub gibibytes: u32,
}

/// Where and how one row runs.
#[derive(Debug)]
pub struct Place<'a> {
    /// The row's own folder, namespace and thread.
    pub lab: &'a Lab,
    /// Who is under test.
    pub side: Side,
    /// How bytes go.
    pub way: Way,
    /// How long.
    pub scale: Scale,
}

impl Place<'_> {
    /// What this scale takes of three.
    pub fn scaled<T>(&self, short: T, full: T, soak: impl FnOnce(Lengths) -> T) -> T {
        match self.scale {
            Scale::Short => short,
            Scale::Full => full,
            Scale::Soak(lengths) => soak(lengths),
        }
    }

    /// A figure that other work on the machine moves: told, but no gate of `make test`.
    #[must_use]
    pub fn timing(&self, figure: Figure) -> Figure {
        match self.scale {
            Scale::Short => figure.told(),
            Scale::Full | Scale::Soak(_) => figure,
        }
    }

    /// One of two, by the side under test.
    pub fn by_side<T>(&self, ours: T, haproxy: T) -> T {
        match self.side {
            Side::Ours => ours,
            Side::HaProxy => haproxy,
        }
    }
}

/// What a row does to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It makes sense for hours only: it runs when it is named.
    Soaks,
    /// It waits most of the time: many run at once.
    Waits,
    /// It uses the processor or measures it: it runs alone.
    Works,
}

/// What a row's function returns.
pub type Measuring<'a> = Pin<Box<dyn Future<Output = Result<Vec<Figure>>> + 'a>>;

/// One fault.
#[derive(Clone, Copy)]
pub struct Row {
    /// Its number in the list of faults.
    pub number: &'static str,
    /// What is done.
    pub what: &'static str,
    /// What it does to the machine.
    pub kind: Kind,
    /// In which ways bytes go.
    pub ways: Ways,
    /// Does it.
    pub run: for<'a> fn(&'a Place<'a>) -> Measuring<'a>,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.number)
    }
}

/// Runs one row against one side, one way.
///
/// # Errors
/// The row can't be done: a fault that shows in a figure is no error.
pub fn measure(row: &Row, side: Side, way: Way, scale: Scale) -> Result<Vec<Figure>> {
    let mut figures = None;
    lab::run(Network::Namespace, async |lab| {
        let place = Place {
            lab,
            side,
            way,
            scale,
        };
        let measured = (row.run)(&place).await;
        figures = Some(measured.with_context(|| format!("{} of {}", row.number, side.name()))?);
        Ok(())
    })?;
    figures.context("the row ended without a word")
}

/// The row of that number.
///
/// # Errors
/// There is none.
pub fn row(number: &str) -> Result<&'static Row> {
    let row = rows::ROWS.iter().find(|row| row.number == number);
    row.with_context(|| format!("no row {number}"))
}
