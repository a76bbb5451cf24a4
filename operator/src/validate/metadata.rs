//! Pure. The rules of names that every Kubernetes object obeys, and the fields of its metadata.

use serde_json::Value;

use super::Finding;

/// Findings about `metadata`.
pub(crate) fn check(object: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let metadata = object.get("metadata");
    let Some(fields) = metadata.and_then(Value::as_object) else {
        findings.push(Finding::new(
            "metadata",
            metadata,
            "an object needs metadata",
            "write `metadata: {name: …}`",
        ));
        return findings;
    };
    for key in fields.keys().filter(|key| !FIELDS.contains(&key.as_str())) {
        findings.push(Finding::new(
            format!("metadata.{key}"),
            fields.get(key),
            "unknown field",
            "take it out, or put what belongs to the forward under spec",
        ));
    }
    match fields.get("name") {
        Some(Value::String(name)) if is_subdomain(name) => {}
        name => findings.push(Finding::new(
            "metadata.name",
            name,
            "must be a DNS-1123 name",
            "use at most 253 lower case letters, digits, '-' and '.', with a letter or digit at \
             both ends, like web or db-1",
        )),
    }
    match fields.get("namespace") {
        None => {}
        Some(Value::String(namespace)) if is_label(namespace) => {}
        namespace => findings.push(Finding::new(
            "metadata.namespace",
            namespace,
            "must be a DNS-1123 label",
            "use at most 63 lower case letters, digits and '-', with a letter or digit at both ends",
        )),
    }
    findings
}

/// Whether a text is a DNS-1123 label.
#[must_use]
pub fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_word(text)
}

/// Whether a text is a DNS-1123 subdomain.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_word)
}

/// Whether a text is made of a-z, 0-9 and `-`, with a letter or digit at both ends: a DNS-1123 label
/// but for its length.
pub(crate) fn is_word(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-')
}

/// `metav1.ObjectMeta`, by which the API server decodes strictly.
const FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
