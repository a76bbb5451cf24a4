//! The rules of the house, held by tests: each failure names every place and what to do.

#[path = "tidy/crates.rs"]
mod crates;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/modules.rs"]
mod modules;
#[path = "tidy/pitfalls.rs"]
mod pitfalls;
#[path = "tidy/reasons.rs"]
mod reasons;
#[path = "tidy/schema.rs"]
mod schema;
#[path = "tidy/words.rs"]
mod words;

/// Fails with all findings at once, and the rule that they break.
fn assert_none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}\n  {}", findings.join("\n  "));
}
