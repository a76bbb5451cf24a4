//! What a module is, how long it may get, and what a pure one may not touch.

use anyhow::Result;
use tcpforward_tests::repository::{self, Source, code};

use crate::assert_none;

/// Modules that name things and decide nothing, so that neither word fits.
const NEITHER: [&str; 3] = ["lib", "metrics", "access_log"];

/// What pure code may not name: IO, clocks, the environment, and what is counted or logged.
const IMPURE: [&str; 19] = [
    "kube::Client",
    "kube::client",
    "kube::runtime",
    "crate::metrics",
    "std::env",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::process",
    "std::thread",
    "tokio::",
    "tokio_util::",
    "tracing::",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "fastrand::",
    "Rng::new",
];

const LONGEST: usize = 500;

/// Ask yourself at that many lines; the answer stands in [`LONG`].
const LONG_FROM: usize = 300;

/// Longer files, and why no part of them has a name of its own.
const LONG: [(&str, &str); 0] = [];

/// The one place of the tests that lets time pass.
const EVENTUALLY: &str = "tests/src/eventually.rs";

/// Names that say nothing: what has no name has no home yet.
const EMPTY_NAMES: [&str; 12] = [
    "common",
    "helper",
    "helpers",
    "manager",
    "misc",
    "mod",
    "shared_utils",
    "stuff",
    "types",
    "util",
    "utilities",
    "utils",
];

fn sources() -> Result<Vec<Source>> {
    let mut files = repository::rust()?;
    files.retain(|file| file.path.contains("/src/"));
    Ok(files)
}

#[test]
fn every_module_says_whether_it_is_pure_or_edge() -> Result<()> {
    let all = sources()?;
    let findings: Vec<_> = all
        .iter()
        .filter(|file| !file.is_test(&all) && !NEITHER.contains(&file.stem()))
        .filter(|file| {
            let (kind, rest) = file.text.split_at_checked(8).unwrap_or_default();
            !["//! Pure", "//! Edge"].contains(&kind) || !rest.starts_with(['.', ','])
        })
        .map(|file| file.path.clone())
        .collect();
    assert_none(
        "the first line must start with `//! Pure.` or `//! Edge.`",
        &findings,
    );
    Ok(())
}

#[test]
fn pure_modules_stay_pure() -> Result<()> {
    let all = sources()?;
    let mut findings = Vec::new();
    for file in all.iter().filter(|file| file.text.starts_with("//! Pure.")) {
        for (number, line) in file.production() {
            // A generator that is passed in, or seeded, is no chance of its own.
            let code = code(line).replace("fastrand::Rng", "Rng");
            for name in IMPURE.iter().filter(|&&name| code.contains(name)) {
                findings.push(format!("{}:{number}: {name}", file.path));
            }
        }
    }
    assert_none(
        "pure code names IO, a clock or the environment: pass the value in",
        &findings,
    );
    Ok(())
}

#[test]
fn no_file_is_too_long() -> Result<()> {
    let all = repository::rust()?;
    let mut findings = Vec::new();
    for file in all.iter().filter(|file| !file.is_test(&all)) {
        let lines = file.production().len();
        let answered = LONG.iter().any(|(path, _)| *path == file.path);
        if lines > LONGEST || lines > LONG_FROM && !answered {
            findings.push(format!("{}: {lines} lines without its tests", file.path));
        }
        if lines <= LONG_FROM && answered {
            findings.push(format!(
                "{}: no longer long, take it out of LONG",
                file.path
            ));
        }
    }
    assert_none(
        "split by what has a name of its own, or answer in LONG",
        &findings,
    );
    Ok(())
}

#[test]
fn every_file_has_a_name_that_says_something() -> Result<()> {
    let empty = |file: &&Source| EMPTY_NAMES.contains(&file.stem());
    let all = repository::rust()?;
    let findings: Vec<_> = all
        .iter()
        .filter(empty)
        .map(|file| file.path.clone())
        .collect();
    assert_none(
        "a module is named for what it does; `foo.rs` and `foo/bar.rs`",
        &findings,
    );
    Ok(())
}

#[test]
fn tests_wait_for_conditions_and_are_never_left_out() -> Result<()> {
    let all = repository::rust()?;
    let mut findings = Vec::new();
    for file in &all {
        let mut lines = file.test_code();
        if file.is_test(&all) || file.path.starts_with("tests/src/") {
            lines.extend(file.production());
        }
        // Under paused time a sleep takes no time and stands for what it waits out.
        let may_sleep = file.text.contains("start_paused") || file.path == EVENTUALLY;
        for (number, line) in lines {
            let sleeps = code(line).contains("sleep(") && !may_sleep;
            if sleeps || line.trim_start().starts_with(concat!("#[", "ignore")) {
                findings.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    assert_none(
        "use `eventually` with a deadline; no test is ignored",
        &findings,
    );
    Ok(())
}
