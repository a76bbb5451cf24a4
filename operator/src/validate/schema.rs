//! Pure. A structural schema, run over a value: types, unknown fields, bounds, keys of lists.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Finding;
use super::patterns::PATTERNS;

/// Checks everything but `metadata` and `status`, which have rules of their own.
pub(crate) fn check_root(schema: &Value, root: &Value, findings: &mut Vec<Finding>) {
    let mut rest = root.clone();
    if let Value::Object(fields) = &mut rest {
        fields.retain(|key, _| !OTHERS.contains(&key.as_str()));
    }
    check(schema, &rest, "", findings);
}

const OTHERS: [&str; 4] = ["apiVersion", "kind", "metadata", "status"];

fn check(schema: &Value, value: &Value, path: &str, findings: &mut Vec<Finding>) {
    let takes = |kind: &str| is(schema, "type", kind);
    let either = schema.get("x-kubernetes-int-or-string").is_some();
    match value {
        Value::Object(fields) if takes("object") || either => {
            object(schema, fields, path, findings);
        }
        Value::Bool(_) if takes("boolean") => {}
        Value::Array(list) if takes("array") => array(schema, list, path, findings),
        Value::Number(n) if n.is_i64() && (takes("integer") || either) => {
            number(schema, value, path, findings);
        }
        Value::String(text) if takes("string") || either => {
            string(schema, text, value, path, findings);
        }
        _ => findings.push(Finding::new(
            path,
            Some(value),
            "has the wrong type",
            format!("write {}", wanted(schema)),
        )),
    }
}

fn object(schema: &Value, fields: &Map<String, Value>, path: &str, findings: &mut Vec<Finding>) {
    let none = Map::new();
    let known = schema
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&none);
    let child = |key: &str| match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    };
    let others = schema.get("additionalProperties");
    if let Some(most) = bound(schema, "maxProperties").filter(|most| fields.len() as u64 > *most) {
        let message = format!("is the number of entries; at most {most} are allowed");
        let count = Value::from(fields.len());
        findings.push(Finding::new(path, Some(&count), message, "take some out"));
    }
    for (key, value) in fields {
        match known.get(key).or(others) {
            Some(schema) => check(schema, value, &child(key), findings),
            None => findings.push(Finding::new(
                child(key),
                Some(value),
                "unknown field",
                match known.is_empty() {
                    true => format!("write {}", wanted(schema)),
                    false => format!("known here are {}", listed(known.keys())),
                },
            )),
        }
    }
    let required = schema.get("required").and_then(Value::as_array);
    for key in required.into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(key) {
            let what = known.get(key).map(wanted).unwrap_or_default();
            findings.push(Finding::new(
                child(key),
                None,
                "is required",
                format!("write {what}"),
            ));
        }
    }
}

fn array(schema: &Value, list: &[Value], path: &str, findings: &mut Vec<Finding>) {
    let count = Value::from(list.len());
    let entries = |n: u64| {
        if n == 1 {
            "entry".to_owned()
        } else {
            format!("{n} entries")
        }
    };
    if let Some(least) = bound(schema, "minItems").filter(|least| list.len() < *least as usize) {
        let (message, remedy) = (format!("needs at least one {}", entries(least)), "add one");
        findings.push(Finding::new(
            path,
            Some(&Value::from(list)),
            message,
            remedy,
        ));
    }
    if let Some(most) = bound(schema, "maxItems").filter(|most| list.len() > *most as usize) {
        let message = format!("is the number of entries; at most {most} are allowed");
        // Targets can have forwards of their own; what one port lets in or expects can't.
        let remedy = if path.ends_with(".targets") {
            "split it over several forwards"
        } else {
            "take some out"
        };
        findings.push(Finding::new(path, Some(&count), message, remedy));
        return;
    }
    let mut seen = BTreeSet::new();
    for (i, item) in list.iter().enumerate() {
        let path = format!("{path}[{i}]");
        if let Some(items) = schema.get("items") {
            check(items, item, &path, findings);
        }
        let keys = schema
            .get("x-kubernetes-list-map-keys")
            .and_then(Value::as_array);
        for key in keys.into_iter().flatten().filter_map(Value::as_str) {
            if let Some(value) = item.get(key)
                && !seen.insert((key, value.to_string()))
            {
                let message = format!("another entry has this {key}, too");
                let remedy = format!("give each entry a {key} of its own");
                findings.push(Finding::new(path.as_str(), Some(value), message, remedy));
            }
        }
    }
}

fn number(schema: &Value, value: &Value, path: &str, findings: &mut Vec<Finding>) {
    let number = value.as_i64().unwrap_or_default();
    let low = schema
        .get("minimum")
        .and_then(Value::as_i64)
        .unwrap_or(i64::MIN);
    let high = schema
        .get("maximum")
        .and_then(Value::as_i64)
        .unwrap_or(i64::MAX);
    if number < low || number > high {
        findings.push(Finding::new(
            path,
            Some(value),
            "is out of bounds",
            format!("write {}", wanted(schema)),
        ));
    }
}

fn string(schema: &Value, text: &str, value: &Value, path: &str, findings: &mut Vec<Finding>) {
    let chars = text.chars().count() as u64;
    let mut wrong = |message: String| {
        findings.push(Finding::new(
            path,
            Some(value),
            message,
            format!("write {}", wanted(schema)),
        ));
    };
    let allowed = schema.get("enum").and_then(Value::as_array);
    if allowed.is_some_and(|allowed| !allowed.contains(value)) {
        return wrong("is not one of the values that this version knows".to_owned());
    }
    if bound(schema, "minLength").is_some_and(|least| chars < least) {
        return wrong("is too short".to_owned());
    }
    if let Some(most) = bound(schema, "maxLength").filter(|most| chars > *most) {
        return wrong(format!(
            "has {chars} characters, at most {most} are allowed"
        ));
    }
    let pattern = schema.get("pattern").and_then(Value::as_str);
    if pattern
        .and_then(|p| PATTERNS.get(p))
        .is_some_and(|p| !p.regex.is_match(text))
    {
        wrong("is not of the right form".to_owned());
    }
}

/// What to write, in words.
fn wanted(schema: &Value) -> String {
    let pattern = schema.get("pattern").and_then(Value::as_str);
    let range = match (schema.get("minimum"), schema.get("maximum")) {
        (Some(low), Some(high)) => format!("a whole number from {low} to {high}"),
        _ => "a whole number".to_owned(),
    };
    let text = match pattern.and_then(|p| PATTERNS.get(p)) {
        Some(pattern) => pattern.words.to_owned(),
        None => "a text".to_owned(),
    };
    match schema.get("type").and_then(Value::as_str) {
        Some("integer") => range,
        Some("object") => {
            let known = schema.get("properties").and_then(Value::as_object);
            format!(
                "an object with {}",
                listed(known.into_iter().flat_map(Map::keys))
            )
        }
        Some("array") => "a list".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("string") => match schema.get("enum").and_then(Value::as_array) {
            Some(allowed) => one_of(allowed),
            None => text,
        },
        _ => format!("{range}, or {text}"),
    }
}

fn one_of(allowed: &[Value]) -> String {
    let mut words: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
    let last = words.pop().unwrap_or_default();
    match words.is_empty() {
        true => last.to_owned(),
        false => format!("{} or {last}", words.join(", ")),
    }
}

fn listed<S: AsRef<str>>(names: impl Iterator<Item = S>) -> String {
    names
        .map(|name| name.as_ref().to_owned())
        .collect::<Vec<_>>()
        .join(", ")
}

fn is(schema: &Value, key: &str, text: &str) -> bool {
    schema.get(key).and_then(Value::as_str) == Some(text)
}

fn bound(schema: &Value, key: &str) -> Option<u64> {
    schema.get(key).and_then(Value::as_u64)
}
