//! Every reason that a status may carry has its paragraph.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tcpforward_tests::programs::workspace_root;
use tcpforward_tests::repository;

use crate::assert_none;

const PAGE: &str = "docs/tasks/troubleshooting.md";

/// Where conditions and reasons are named.
const MODULE: &str = "operator/src/status";

/// The texts of `pub const NAME: &str = "Word";`.
fn words() -> Result<Vec<(String, String)>> {
    let mut words = Vec::new();
    for file in repository::rust()? {
        if !file.path.starts_with(MODULE) {
            continue;
        }
        for (_, line) in file.production() {
            let constant = line.strip_prefix("pub const ");
            let constant = constant.and_then(|rest| rest.split_once(": &str = \""));
            if let Some((name, text)) = constant {
                let text = text.trim_end_matches("\";");
                words.push((text.to_owned(), format!("{}: {name}", file.path)));
            }
        }
    }
    Ok(words)
}

/// Headings of one word in CamelCase, each with the length of what is said below it.
fn headings() -> Result<BTreeMap<String, usize>> {
    let text = std::fs::read_to_string(workspace_root().join(PAGE)).context(PAGE)?;
    let mut headings = BTreeMap::new();
    for section in text.split("\n#").skip(1) {
        let (heading, body) = section.split_once('\n').unwrap_or((section, ""));
        let heading = heading.trim_start_matches('#').trim();
        let is_word = heading.chars().all(|c| c.is_ascii_alphabetic());
        if is_word {
            headings.insert(heading.to_owned(), body.trim().len());
        }
    }
    Ok(headings)
}

/// The table at the top of the page is its paragraph.
const SUM: &str = "Ready";

#[test]
fn every_reason_has_a_paragraph_and_every_paragraph_a_reason() -> Result<()> {
    let (words, headings) = (words()?, headings()?);
    assert!(
        words.len() > 20,
        "{MODULE} names its reasons in another way"
    );
    let short = |word: &String| headings.get(word).is_none_or(|length| *length < 80);
    let missing = words.iter().filter(|(word, _)| word != SUM && short(word));
    let missing = missing.map(|(word, place)| format!("{word} ({place})"));
    let missing: Vec<_> = missing.collect();
    assert_none(&format!("a reason without a paragraph in {PAGE}"), &missing);
    let known = |heading: &&String| words.iter().any(|(word, _)| word == *heading);
    let unknown = headings.keys().filter(|heading| !known(heading));
    let unknown: Vec<_> = unknown.cloned().collect();
    assert_none(&format!("{PAGE} explains what no status says"), &unknown);
    Ok(())
}
