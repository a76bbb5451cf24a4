//! What bit other CONNECT proxies: each row of the list has a test that bears its number.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use tcpforward_tests::programs::workspace_root;
use tcpforward_tests::repository;

use crate::assert_none;

const LIST: &str = "docs/reference/connect-pitfalls.md";

/// How many there are.
const LAST: u8 = 35;

#[test]
fn every_pitfall_has_a_test_or_is_refused() -> Result<()> {
    let list = std::fs::read_to_string(workspace_root().join(LIST)).context(LIST)?;
    let rows: Vec<_> = list.lines().filter_map(row).collect();
    let numbers: Vec<u8> = rows.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, Vec::from_iter(1..=LAST), "the rows of {LIST}");
    let tested = tested()?;
    let mut findings = Vec::new();
    for (number, answer) in rows {
        let is_refused = answer.starts_with("Not applicable: ") && answer.contains(" 400");
        if !tested.contains(&number) && !is_refused {
            findings.push(format!("{number}: {answer}"));
        }
    }
    let unknown = tested.iter().filter(|number| **number > LAST);
    findings.extend(unknown.map(|number| format!("{number} isn't in the list")));
    assert_none(
        "name a test `pitfall_N_…`, or say what the request gets",
        &findings,
    );
    Ok(())
}

/// Its number, and what is done about it.
fn row(line: &str) -> Option<(u8, &str)> {
    let mut cells = line.strip_prefix("| ")?.split(" | ");
    let number = cells.next()?.parse().ok()?;
    Some((number, cells.nth(1)?))
}

/// The numbers in the names of all tests.
fn tested() -> Result<BTreeSet<u8>> {
    let all = repository::rust()?;
    let lines = all.iter().flat_map(|file| file.text.lines());
    Ok(lines.flat_map(numbers).collect())
}

/// The numbers in the name of one test: `pitfall_7_…`, `pitfalls_10_to_14_and_27_…`.
fn numbers(line: &str) -> Vec<u8> {
    let name = line.trim_start().trim_start_matches("async ");
    let name = name.strip_prefix("fn pitfall");
    let name = name.map(|name| name.trim_start_matches('s'));
    let Some(name) = name.and_then(|name| name.strip_prefix('_')) else {
        return Vec::new();
    };
    let mut numbers: Vec<u8> = Vec::new();
    let mut is_range = false;
    for word in name.split('_') {
        match (word, word.parse::<u8>()) {
            (_, Ok(number)) => {
                let first = numbers.last().map_or(number, |last: &u8| last + 1);
                numbers.extend(if is_range {
                    first..=number
                } else {
                    number..=number
                });
                is_range = false;
            }
            ("and", Err(_)) => {}
            ("to", Err(_)) => is_range = true,
            (_, Err(_)) => break,
        }
    }
    numbers
}

#[test]
fn numbers_are_read_from_names() {
    assert_eq!(numbers("fn pitfall_7_a_client_of_8() {"), [7]);
    let several = "    async fn pitfalls_1_and_10_to_12_and_27_say() {";
    assert_eq!(numbers(several), [1, 10, 11, 12, 27]);
    assert_eq!(numbers("fn every_pitfall_has_a_test() {"), [0; 0]);
}
