//! Edge. Runs rows of faults against ours and HAProxy and prints one table: `torture [ROW…]`, or
//! `torture soak RUNS MINUTES GIBIBYTES [ROW…]`. Exits 1 if a line of the table fails.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use tcpforward_tests::torture::rows::ROWS;
use tcpforward_tests::torture::table::{Done, Entry, Measured, Pair, Table};
use tcpforward_tests::torture::way::{Way, Ways};
use tcpforward_tests::torture::{self, Kind, Lengths, Row, Scale, Side, measure};
use tcpforward_tests::{lab, programs};

const SIDES: [Side; 2] = [Side::Ours, Side::HaProxy];

fn main() -> Result<ExitCode> {
    lab::raise_descriptors()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (scale, numbers) = scale(&arguments)?;
    let mut rows: Vec<&Row> = numbers
        .iter()
        .map(|number| torture::row(number))
        .collect::<Result<_>>()?;
    if rows.is_empty() {
        rows = ROWS.iter().filter(|row| row.kind != Kind::Soaks).collect();
    }
    let program = programs::tcpforward()?;
    println!(
        "ours: {}\nHAProxy: {}",
        program.path().display(),
        haproxy_version()?
    );
    let table = Table::of(&run(&rows, scale));
    print!("{}", table.text);
    println!("{} lines fail", table.failing);
    Ok(ExitCode::from(u8::from(table.failing > 0)))
}

fn scale(arguments: &[String]) -> Result<(Scale, &[String])> {
    match arguments {
        [first, rest @ ..] if first == "short" => Ok((Scale::Short, rest)),
        [first, runs, minutes, gibibytes, rest @ ..] if first == "soak" => {
            let lengths = Lengths {
                runs: runs.parse()?,
                minutes: minutes.parse()?,
                gibibytes: gibibytes.parse()?,
            };
            Ok((Scale::Soak(lengths), rest))
        }
        rows => Ok((Scale::Full, rows)),
    }
}

fn haproxy_version() -> Result<String> {
    let output = std::process::Command::new("haproxy").arg("-v").output();
    let output = output.context("can't run `haproxy`: run `tests/setup.sh torture`")?;
    ensure!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// One side's run of a row, one way, and what came of it.
struct Cell<'a> {
    row: &'a Row,
    way: Way,
    side: Side,
    measured: Mutex<Measured>,
}

impl Cell<'_> {
    fn fill(&self, scale: Scale) {
        let measured = measure(self.row, self.side, self.way, scale);
        if let Ok(mut slot) = self.measured.lock() {
            *slot = measured.map_err(|error| format!("{error:#}"));
        }
    }

    fn taken(&self) -> Measured {
        match self.measured.lock() {
            Ok(measured) => measured.clone(),
            Err(_) => Err("the row broke".to_owned()),
        }
    }
}

impl std::fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.row.number, self.side.name())?;
        match self.way {
            Way::Any => f.write_str(": ")?,
            Way::Copied => f.write_str(", copied: ")?,
            Way::Spliced => f.write_str(", by pipes: ")?,
        }
        match self.taken() {
            Ok(figures) => {
                let figures = figures.iter();
                let told = figures.map(|figure| format!("{}: {}", figure.name, figure.shown()));
                f.write_str(&told.collect::<Vec<_>>().join("; "))
            }
            Err(why) => f.write_str(&why),
        }
    }
}

/// Rows that wait all at once, then those that work, one by one.
fn run(rows: &[&Row], scale: Scale) -> Vec<Entry> {
    let mut cells = Vec::new();
    for row in rows {
        for &way in row.ways.all() {
            cells.extend(SIDES.map(|side| Cell {
                row,
                way,
                side,
                measured: Mutex::new(Err("it was not run".to_owned())),
            }));
        }
    }
    let (done, total) = (AtomicUsize::new(0), cells.len());
    let fill = |cell: &Cell<'_>| {
        cell.fill(scale);
        // Told at once as well: a run that is broken off has not been for nothing.
        let n = done.fetch_add(1, Ordering::Relaxed) + 1;
        eprintln!("{n}/{total}: {cell}");
    };
    let (waiting, working): (Vec<_>, Vec<_>) =
        cells.iter().partition(|cell| cell.row.kind == Kind::Waits);
    thread::scope(|scope| {
        for cell in waiting {
            scope.spawn(move || fill(cell));
        }
    });
    working.into_iter().for_each(fill);
    let entries = rows.iter().map(|row| Entry {
        number: row.number,
        what: row.what,
        done: match row.ways {
            Ways::Both => Done::BothWays {
                copied: pair(&cells, row, Way::Copied),
                spliced: pair(&cells, row, Way::Spliced),
            },
            Ways::Once(why) => Done::Once(why, pair(&cells, row, Way::Any)),
        },
    });
    entries.collect()
}

fn pair(cells: &[Cell<'_>], row: &Row, way: Way) -> Pair {
    let of = |side| {
        let is_it =
            |cell: &&Cell<'_>| (cell.row.number, cell.way, cell.side) == (row.number, way, side);
        let cell = cells.iter().find(is_it);
        cell.map_or_else(|| Err("it was not run".to_owned()), Cell::taken)
    };
    Pair {
        ours: of(Side::Ours),
        theirs: of(Side::HaProxy),
    }
}
