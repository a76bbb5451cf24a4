//! Pure. A Secret of a manifest. No finding shows what it holds.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde_json::{Map, Value};

use crate::index::{Contents, Secret};
use crate::manifest::text;
use crate::validate::{self, Finding};

/// Reads one as the API server would: `stringData` wins over `data`.
pub(super) fn read(value: &Value) -> Result<Secret, Vec<Finding>> {
    let mut findings = metadata(value);
    let mut data = BTreeMap::new();
    for (field, content) in value.as_object().into_iter().flatten() {
        match (field.as_str(), content) {
            (_, Value::Null) | ("apiVersion" | "kind" | "metadata", _) => {}
            ("type", Value::String(_)) | ("immutable", Value::Bool(_)) => {}
            ("data", Value::Object(entries)) => {
                gather(entries, "data", encoded, &mut data, &mut findings)
            }
            ("stringData", Value::Object(_)) => {}
            ("type" | "immutable" | "data" | "stringData", _) => {
                findings.push(wrong(
                    field,
                    "has the wrong type",
                    "compare it with `kubectl explain secret`",
                ));
            }
            _ => findings.push(wrong(
                field,
                "unknown field",
                "check the spelling, or take it out",
            )),
        }
    }
    if let Some(Value::Object(entries)) = value.get("stringData") {
        gather(entries, "stringData", plain, &mut data, &mut findings);
    }
    match findings.is_empty() {
        true => {
            let data = data
                .iter()
                .map(|(key, bytes)| (key.as_str(), bytes.as_slice()));
            let at = |pointer: &str| text(value, pointer);
            let (namespace, name) = (at("/metadata/namespace"), at("/metadata/name"));
            Ok(Secret::of(namespace, name, Contents::of(data)))
        }
        false => Err(findings),
    }
}

/// What is wrong with its name may be shown; anything else may have slipped in there by an indent.
fn metadata(value: &Value) -> Vec<Finding> {
    let mut findings = validate::metadata(value);
    let of_name = ["metadata.name", "metadata.namespace"];
    let others = findings
        .iter_mut()
        .filter(|f| !of_name.contains(&f.path.as_str()));
    others.for_each(|finding| finding.value.clear());
    findings
}

/// What is wrong, and what to do.
type Wrong = (&'static str, &'static str);

fn gather(
    entries: &Map<String, Value>,
    field: &str,
    read: fn(&Value) -> Result<Vec<u8>, Wrong>,
    data: &mut BTreeMap<String, Vec<u8>>,
    findings: &mut Vec<Finding>,
) {
    for (key, value) in entries.iter().filter(|(_, value)| !value.is_null()) {
        match read(value) {
            Ok(bytes) => drop(data.insert(key.clone(), bytes)),
            Err((message, remedy)) => {
                findings.push(wrong(&format!("{field}.{key}"), message, remedy))
            }
        }
    }
}

fn plain(value: &Value) -> Result<Vec<u8>, Wrong> {
    match value {
        Value::String(text) => Ok(text.clone().into_bytes()),
        _ => Err((
            "has the wrong type",
            "write a text, in quotes if it looks like a number",
        )),
    }
}

fn encoded(value: &Value) -> Result<Vec<u8>, Wrong> {
    // As Go reads it, over as many lines as it was written.
    let lines = value.as_str().map(|text| text.replace(['\n', '\r'], ""));
    let bytes = lines.and_then(|text| serde_json::from_value::<ByteString>(text.into()).ok());
    bytes.map(|bytes| bytes.0).ok_or((
        "is not base64",
        "encode it, or write the text itself under stringData",
    ))
}

fn wrong(field: &str, message: &str, remedy: &str) -> Finding {
    Finding::new(field, None, message, remedy)
}
