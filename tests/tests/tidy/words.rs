//! What may stand in no file.

use anyhow::Result;
use tcpforward_tests::repository::{self, Source};

use crate::assert_none;

/// A promise needs the condition under which it is kept, as in `TODO(when kube has leases): …`.
const PROMISES: [&str; 4] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("HA", "CK"),
];

/// Paths of one machine, and hosts that only the tools' own configuration may name.
const PLACES: [&str; 9] = [
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("proxy.", "golang.org"),
    concat!("deb.", "debian.org"),
    concat!("arti", "factory"),
];

/// The lexicon's words for the same things are other ones.
const FOREIGN_WORDS: [&str; 6] = [
    concat!("black", "list"),
    concat!("white", "list"),
    concat!("heart", "beat"),
    concat!("circuit_", "breaker"),
    concat!("upstream_", "host"),
    concat!("load_", "balancer_pool"),
];

/// Written by tools.
fn is_generated(file: &Source) -> bool {
    file.path.ends_with(".lock") || file.path.ends_with("go.sum")
}

fn lines_with(words: &[&str], is_fine: impl Fn(&str, &str) -> bool) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in repository::files()?
        .iter()
        .filter(|file| !is_generated(file))
    {
        for (i, line) in file.text.lines().enumerate() {
            for &word in words {
                if line.contains(word) && !is_fine(word, line) {
                    findings.push(format!("{}:{}: {word}", file.path, i + 1));
                }
            }
        }
    }
    Ok(findings)
}

#[test]
fn a_promise_names_its_condition() -> Result<()> {
    let findings = lines_with(&PROMISES, |word, line| {
        // The house rules themselves may say the word.
        let conditions = ["(when ", "(until ", "s", "`", " without a condition"];
        line.split(word).skip(1).all(|rest| {
            let inside_a_word = rest.starts_with(|c: char| c.is_alphanumeric());
            inside_a_word
                || conditions
                    .iter()
                    .any(|condition| rest.starts_with(condition))
        })
    })?;
    assert_none("say when it can go: `(when …)` or `(until …)`", &findings);
    Ok(())
}

#[test]
fn no_file_names_a_machine() -> Result<()> {
    let findings = lines_with(&PLACES, |_, _| false)?;
    assert_none("a place that only one machine has", &findings);
    Ok(())
}

#[test]
fn one_word_for_one_thing() -> Result<()> {
    let findings = lines_with(&FOREIGN_WORDS, |_, line| line.starts_with("| "))?;
    assert_none("docs/lexicon.md has another word for it", &findings);
    Ok(())
}

#[test]
fn every_text_file_ends_with_a_line_and_has_no_trailing_space() -> Result<()> {
    let mut findings = Vec::new();
    for file in repository::files()?
        .iter()
        .filter(|file| !is_generated(file))
    {
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            findings.push(format!("{}: the last line has no end", file.path));
        }
        for (i, line) in file.text.lines().enumerate() {
            if line.ends_with([' ', '\t', '\r']) {
                findings.push(format!("{}:{}: space at the end", file.path, i + 1));
            }
        }
    }
    assert_none("untidy lines", &findings);
    Ok(())
}
