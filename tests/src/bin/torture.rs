//! Edge. Runs rows of faults against ours and HAProxy and prints one table: `torture [ROW…]`, or
//! `torture soak RUNS MINUTES GIBIBYTES [ROW…]`. Exits 1 if a line of the table fails.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use tcpforward_tests::torture::rows::ROWS;
use tcpforward_tests::torture::table::{Entry, Measured, Table};
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

/// Rows that wait all at once, then those that work, one by one.
fn run(rows: &[&Row], scale: Scale) -> Vec<Entry> {
    let results: Vec<[Mutex<Measured>; 2]> =
        rows.iter().map(|_| SIDES.map(|_| not_run())).collect();
    let done = AtomicUsize::new(0);
    let fill = |row: &Row, side, slot: &Mutex<Measured>| {
        let measured = measure(row, side, scale).map_err(|error| format!("{error:#}"));
        let n = done.fetch_add(1, Ordering::Relaxed) + 1;
        // Told at once as well: a run that is broken off has not been for nothing.
        let figures = measured.iter().flatten();
        let figures = figures.map(|figure| format!("{}: {}", figure.name, figure.shown()));
        let (total, number) = (rows.len() * SIDES.len(), row.number);
        let figures = figures.collect::<Vec<_>>().join("; ");
        eprintln!("{n}/{total}: {number} of {}: {figures}", side.name());
        if let Ok(mut slot) = slot.lock() {
            *slot = measured;
        }
    };
    let cells = || {
        rows.iter().zip(&results).flat_map(|(row, slots)| {
            SIDES
                .iter()
                .zip(slots)
                .map(move |(side, slot)| (*row, *side, slot))
        })
    };
    thread::scope(|scope| {
        for (row, side, slot) in cells().filter(|(row, ..)| row.kind == Kind::Waits) {
            scope.spawn(move || fill(row, side, slot));
        }
    });
    for (row, side, slot) in cells().filter(|(row, ..)| row.kind != Kind::Waits) {
        fill(row, side, slot);
    }
    let rows = rows.iter().zip(results);
    rows.map(|(row, [ours, theirs])| Entry {
        number: row.number,
        what: row.what,
        ours: taken(ours),
        theirs: taken(theirs),
    })
    .collect()
}

fn not_run() -> Mutex<Measured> {
    Mutex::new(Err("the row broke".to_owned()))
}

fn taken(slot: Mutex<Measured>) -> Measured {
    slot.into_inner()
        .unwrap_or_else(|_| Err("the row broke".to_owned()))
}
