//! Pure. Says what the API server would say of an object of ours: its schema and rules, run here.
//!
//! `check`, `run` and the operator ask this one function, so a manifest that is fine on a laptop
//! is fine in a cluster. A test on a real API server compares verdict and field for every case.

use std::fmt;
use std::sync::LazyLock;

use kube_cel::CompiledSchema;
use serde_json::Value;

use crate::crd::{self, Kind};

pub mod metadata;
mod patterns;
mod schema;

pub(crate) use metadata::check as metadata;

/// What is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Where: `spec.relay.targets[0].weight`.
    pub path: String,
    /// What is there, cut; empty when there is nothing.
    pub value: String,
    /// What is wrong with it.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)?;
        if !self.value.is_empty() {
            write!(f, " is {}", self.value)?;
        }
        write!(f, ": {}", self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

impl Finding {
    pub(crate) fn new(
        path: impl Into<String>,
        value: Option<&Value>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into(),
            value: value.map(shown).unwrap_or_default(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}

/// The findings about a TcpForward as it was written; none: the API server would take it.
#[must_use]
pub fn tcp_forward(raw: &Value) -> Vec<Finding> {
    object(&TCP_FORWARD, raw)
}

/// The same about a DataPlane.
#[must_use]
pub fn data_plane(raw: &Value) -> Vec<Finding> {
    object(&DATA_PLANE, raw)
}

fn object(rules: &Rules, raw: &Value) -> Vec<Finding> {
    let plain = without_nulls(raw);
    let mut findings = metadata(&plain);
    schema::check_root(&rules.schema, &plain, &mut findings);
    // Rules may only be asked of what has the right types.
    if findings.is_empty() {
        findings = broken_rules(rules, &plain);
    }
    findings
}

/// A field that is null is absent, as for the API server.
#[must_use]
pub(crate) fn without_nulls(raw: &Value) -> Value {
    match raw {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect(),
        Value::Array(list) => list.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

struct Rules {
    schema: Value,
    compiled: CompiledSchema,
}

static DATA_PLANE: LazyLock<Rules> = LazyLock::new(|| Rules::of(Kind::DataPlane));
static TCP_FORWARD: LazyLock<Rules> = LazyLock::new(|| Rules::of(Kind::TcpForward));

impl Rules {
    fn of(kind: Kind) -> Self {
        let schema = crd::schema(kind);
        let compiled = kube_cel::compile_schema(&schema);
        Self { schema, compiled }
    }
}

fn broken_rules(rules: &Rules, object: &Value) -> Vec<Finding> {
    let Err(errors) = kube_cel::validate_compiled(&rules.compiled, object, None) else {
        return Vec::new();
    };
    let mut findings: Vec<Finding> = errors
        .into_vec()
        .into_iter()
        .map(|error| {
            let (message, remedy) = error
                .message
                .split_once(": ")
                .unwrap_or((&error.message, ""));
            let value = at(object, &error.field_path);
            let value = value.filter(|value| !value.is_object() && !value.is_array());
            Finding::new(error.field_path.as_str(), value, message, remedy)
        })
        .collect();
    // The compiled schema is walked in hash order.
    findings.sort();
    findings
}

fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let pointer = path.replace(['.', '['], "/").replace(']', "");
    object.pointer(&format!("/{pointer}"))
}

/// A value as people know it, cut.
pub(crate) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Enough to recognize a value by, short enough for a line.
const SHOWN_CHARS: usize = 80;

#[cfg(test)]
mod tests;
