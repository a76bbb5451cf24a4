//! Edge. The Helm chart: its sets of values, what it makes of them, and its objects.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::lab::Lab;
use crate::process::Program;
use crate::programs::workspace_root;

/// The chart's folder.
pub const CHART: &str = "charts/tcpforward";

/// The chart of the CustomResourceDefinitions.
pub const CRDS: &str = "charts/tcpforward-crds";

/// The namespace of every golden rendering.
pub const NAMESPACE: &str = "tcpforward-system";

const SETS: &str = "tests/chart";

/// Names of all sets of values, sorted.
///
/// # Errors
/// The folder can't be read.
pub fn sets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for file in fs::read_dir(workspace_root().join(SETS))? {
        let name = file?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".values.yaml").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// What the chart makes of a set of values now.
///
/// # Errors
/// Helm refuses.
pub async fn render(lab: &Lab, set: &str) -> Result<String> {
    let script = workspace_root().join(SETS).join("render.sh");
    // With the environment of the test: it says where helm is built.
    lab.output(&Program::new(script).arg(set)).await
}

/// Where the golden rendering of a set is.
#[must_use]
pub fn golden(set: &str) -> PathBuf {
    workspace_root()
        .join(SETS)
        .join(format!("{set}.golden.yaml"))
}

/// The objects of the golden rendering of a set.
///
/// # Errors
/// It is missing, or no YAML.
pub fn objects(set: &str) -> Result<Vec<Value>> {
    let path = golden(set);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    parse(&text)
}

/// The objects of a stream of YAML.
///
/// # Errors
/// It is no YAML.
pub fn parse(text: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
    Ok(documents.into_iter().filter(Value::is_object).collect())
}

/// The text at a JSON pointer; empty: there is none.
#[must_use]
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}

/// The entries of the list at a JSON pointer.
pub fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let found = value.pointer(pointer).and_then(Value::as_array);
    found.into_iter().flatten()
}
