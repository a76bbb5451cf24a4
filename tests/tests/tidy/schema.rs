//! What holds for every field of the API.

use anyhow::{Context, Result};
use serde_json::Value;
use tcpforward_operator::crd::{self, Kind};
use tcpforward_tests::programs::workspace_root;
use tcpforward_tests::reference;

use crate::assert_none;

const YAML_BOOLEANS: [&str; 6] = ["On", "Off", "Yes", "No", "True", "False"];

#[test]
fn generated_files_are_fresh() -> Result<()> {
    let mut written: Vec<(String, String)> = Vec::new();
    for kind in Kind::ALL {
        written.push((format!("crds/{}", kind.file()), crd::yaml(kind)?));
    }
    let pages = reference::pages().into_iter();
    written.extend(pages.map(|page| (page.path.to_owned(), page.text)));
    let stale = written.into_iter().filter(|(path, text)| {
        let written = std::fs::read_to_string(workspace_root().join(path));
        written.unwrap_or_default() != *text
    });
    let findings: Vec<_> = stale.map(|(path, _)| path).collect();
    assert_none("not what the code says: run `make generate`", &findings);
    Ok(())
}

#[test]
fn every_field_is_described_and_bounded() -> Result<()> {
    let mut findings = Vec::new();
    for kind in Kind::ALL {
        let crd = serde_json::to_value(crd::definition(kind))?;
        for version in crd["spec"]["versions"].as_array().context("versions")? {
            let schema = &version["schema"]["openAPIV3Schema"];
            check(schema, "", Place::Always, &mut findings);
        }
    }
    assert_none("a field breaks a rule of the API", &findings);
    Ok(())
}

/// Where a field stands: a `default` is only safe where its parent always is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Always,
    Sometimes,
}

fn check(schema: &Value, path: &str, place: Place, findings: &mut Vec<String>) {
    let mut find = |what: &str| findings.push(format!("{path}: {what}"));
    if place == Place::Sometimes && schema.get("default").is_some() {
        find("a default in a list item or under an optional parent: GitOps tools would fight it");
    }
    let is_bounded = |keys: &[&str]| keys.iter().any(|key| schema.get(key).is_some());
    match schema["type"].as_str() {
        Some("string") if !is_bounded(&["maxLength", "enum", "format"]) => find("no maxLength"),
        Some("array") if !is_bounded(&["maxItems"]) => find("no maxItems"),
        Some("integer") if !is_bounded(&["format"]) => find("no format: int32 or int64"),
        Some("integer") if !is_bounded(&["minimum"]) => find("no minimum"),
        Some("object") if schema.get("additionalProperties").is_some() => {
            if !is_bounded(&["maxProperties"]) {
                find("a map without maxProperties");
            }
            let path = format!("{path}.*");
            check(&schema["additionalProperties"], &path, place, findings);
            return;
        }
        Some("number") => find("a fraction: use an integer or a Quantity"),
        _ => {}
    }
    for word in schema["enum"].as_array().into_iter().flatten() {
        let text = word.as_str().unwrap_or_default();
        // A condition's status is Kubernetes' own word, and nobody writes it by hand.
        if path.starts_with(".spec") && YAML_BOOLEANS.contains(&text) {
            find("an enum value that YAML 1.1 reads as a boolean");
        }
    }
    check_children(schema, path, place, findings);
}

fn check_children(schema: &Value, path: &str, place: Place, findings: &mut Vec<String>) {
    let required: Vec<_> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if field["description"].as_str().unwrap_or_default().is_empty() {
            findings.push(format!("{path}: no description"));
        }
        let is_there = required.iter().any(|required| *required == name);
        // A scalar's own default is what makes it always there.
        let inner = match place {
            Place::Always if is_there || field.get("properties").is_none() => Place::Always,
            _ => Place::Sometimes,
        };
        check(field, &path, inner, findings);
    }
    if let Some(items) = schema.get("items") {
        check(items, &format!("{path}[]"), Place::Sometimes, findings);
    }
}
