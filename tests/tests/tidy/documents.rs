//! What pages for people say is there and works.

use anyhow::{Context, Result};
use tcpforward_tests::programs::workspace_root;
use tcpforward_tests::repository::{self, Source, commands};
use tcpforward_tests::walkthrough;

use crate::assert_none;

const METRICS: &str = "docs/reference/metrics.md";

fn pages() -> Result<Vec<Source>> {
    let mut files = repository::files()?;
    files.retain(|file| file.path.ends_with(".md"));
    Ok(files)
}

fn page(path: &str) -> Result<String> {
    std::fs::read_to_string(workspace_root().join(path)).with_context(|| path.to_owned())
}

#[test]
fn every_command_of_the_readme_is_one_that_tests_run() -> Result<()> {
    let blocks = commands(&page("README.md")?);
    assert!(
        !blocks.is_empty(),
        "no commands in README.md: has the fence another name?"
    );
    let lines = blocks.iter().flat_map(|block| &block.lines);
    let unknown = lines.filter(|line| walkthrough::Step::read(line).is_err());
    let findings: Vec<_> = unknown.cloned().collect();
    assert_none(
        "tests/src/walkthrough.rs, with which wire_readme, watch_readme and chart_admit run every command of \
         README.md, doesn't know",
        &findings,
    );
    Ok(())
}

#[test]
fn links_lead_to_files() -> Result<()> {
    let mut findings = Vec::new();
    for page in pages()? {
        let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for link in page.text.split("](").skip(1) {
            let link = link.split([')', '#']).next().unwrap_or_default();
            let is_elsewhere =
                link.is_empty() || link.contains("://") || link.starts_with("mailto:");
            if !is_elsewhere && !workspace_root().join(folder).join(link).exists() {
                findings.push(format!("{}: {link}", page.path));
            }
        }
    }
    assert_none("a link leads nowhere", &findings);
    Ok(())
}

#[test]
fn paths_in_pages_are_there() -> Result<()> {
    let mut findings = Vec::new();
    for page in pages()? {
        // Every second piece between backticks is quoted; a fence's three change nothing in that.
        for quoted in page.text.split('`').skip(1).step_by(2) {
            if is_path(quoted) && !workspace_root().join(quoted).exists() {
                findings.push(format!("{}: `{quoted}`", page.path));
            }
        }
    }
    assert_none("a page names a file that isn't there", &findings);
    Ok(())
}

/// Below a folder of the repository, without placeholders.
fn is_path(quoted: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_-.".contains(c);
    let Some((top, _)) = quoted.split_once('/') else {
        return false;
    };
    let is_ours = !top.is_empty() && top != "target" && workspace_root().join(top).is_dir();
    is_ours && quoted.chars().all(plain)
}

#[test]
fn every_metric_is_documented() -> Result<()> {
    let reference = page(METRICS)?;
    let mut findings = Vec::new();
    for file in repository::rust()?
        .iter()
        .filter(|file| file.stem() == "metrics")
    {
        let production = file.production();
        let strings = production
            .iter()
            .flat_map(|(_, line)| line.split('"').skip(1).step_by(2));
        for name in strings.filter(|text| is_metric(text)) {
            if !reference.contains(&format!("`{name}`")) {
                findings.push(format!("{}: {name}", file.path));
            }
        }
    }
    assert_none(&format!("not in {METRICS}"), &findings);
    Ok(())
}

fn is_metric(text: &str) -> bool {
    let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.strip_prefix("tcpforward_")
        .is_some_and(|rest| rest.chars().all(name))
}
