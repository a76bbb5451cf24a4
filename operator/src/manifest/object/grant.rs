//! Pure. A ReferenceGrant of a manifest, by the schema of Gateway API. One about other kinds is fine, and
//! says nothing here.

use serde_json::{Map, Value};

use crate::index::ReferenceGrant;
use crate::validate::metadata::{is_label, is_subdomain};
use crate::validate::{self, Finding};

/// Reads one; v1 and v1beta1 have the same fields.
pub(super) fn read(value: &Value) -> Result<ReferenceGrant, Vec<Finding>> {
    let plain = validate::without_nulls(value);
    let mut findings = validate::metadata(&plain);
    let top = plain.as_object().into_iter();
    unknown(
        top,
        "",
        &["apiVersion", "kind", "metadata", "spec"],
        &mut findings,
    );
    match plain.get("spec") {
        Some(Value::Object(spec)) => {
            unknown([spec].into_iter(), "spec.", &["from", "to"], &mut findings);
            list(spec, "from", &FROM, &mut findings);
            list(spec, "to", &TO, &mut findings);
        }
        spec => findings.push(wrong("spec", spec)),
    }
    match findings.is_empty() {
        true => Ok(ReferenceGrant::read(&plain)),
        false => Err(findings),
    }
}

/// A field of an entry.
struct Field {
    name: &'static str,
    is_required: bool,
    holds: fn(&str) -> bool,
    remedy: &'static str,
}

const GROUP: Field = Field {
    name: "group",
    is_required: true,
    holds: |text| text.is_empty() || is_subdomain(text),
    remedy: "write the API group: tcpforward.dev for a TcpForward, \"\" for a Service",
};

const KIND: Field = Field {
    name: "kind",
    is_required: true,
    holds: is_kind,
    remedy: "write the kind, like TcpForward or Service",
};

const FROM: [Field; 3] = [
    GROUP,
    KIND,
    Field {
        name: "namespace",
        is_required: true,
        holds: is_label,
        remedy: "write the namespace of those who may come",
    },
];

const TO: [Field; 3] = [
    GROUP,
    KIND,
    Field {
        name: "name",
        is_required: false,
        holds: |text| (1..=253).contains(&text.len()),
        remedy: "write the name of one, or take the field out for all of them",
    },
];

/// Entries of each list, as Gateway API has it.
const ENTRIES: std::ops::RangeInclusive<usize> = 1..=16;

fn list(spec: &Map<String, Value>, name: &str, fields: &[Field], findings: &mut Vec<Finding>) {
    let path = format!("spec.{name}");
    let Some(Value::Array(entries)) = spec.get(name) else {
        return findings.push(wrong(&path, spec.get(name)));
    };
    if !ENTRIES.contains(&entries.len()) {
        let message = format!("has {} entries", entries.len());
        let remedy = "write 1 to 16, and further ones in another ReferenceGrant";
        findings.push(Finding::new(path.as_str(), None, message, remedy));
    }
    for (i, entry) in entries.iter().enumerate() {
        match entry {
            Value::Object(entry) => check(entry, &format!("{path}[{i}]."), fields, findings),
            _ => findings.push(wrong(&format!("{path}[{i}]"), Some(entry))),
        }
    }
}

fn check(entry: &Map<String, Value>, path: &str, fields: &[Field], findings: &mut Vec<Finding>) {
    let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
    unknown([entry].into_iter(), path, &names, findings);
    for field in fields {
        let path = format!("{path}{}", field.name);
        let message = match entry.get(field.name) {
            None if !field.is_required => continue,
            Some(Value::String(text)) if (field.holds)(text) => continue,
            None => "is required",
            Some(_) => "is not valid",
        };
        let value = entry.get(field.name);
        findings.push(Finding::new(path, value, message, field.remedy));
    }
}

fn unknown<'a>(
    objects: impl Iterator<Item = &'a Map<String, Value>>,
    path: &str,
    known: &[&str],
    findings: &mut Vec<Finding>,
) {
    let fields = objects.flatten();
    for (key, value) in fields.filter(|(key, _)| !known.contains(&key.as_str())) {
        findings.push(Finding::new(
            format!("{path}{key}"),
            Some(value),
            "unknown field",
            "check the spelling, or take it out",
        ));
    }
}

fn wrong(path: &str, value: Option<&Value>) -> Finding {
    let message = match value {
        None => "is required",
        Some(_) => "has the wrong type",
    };
    Finding::new(
        path,
        value,
        message,
        "compare it with `kubectl explain referencegrant.spec`",
    )
}

fn is_kind(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(fits)
}
