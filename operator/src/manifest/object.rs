//! Pure. A document's value to an object of the index, strictly.

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Located, Parsed, Place, text};
use crate::index::Object;
use crate::validate;

mod builtin;
mod grant;
mod secret;

/// `TcpForward shop/web`, `DataPlane edge`.
pub(super) fn title(object: &Object) -> String {
    match (object.namespace(), object.name()) {
        ("", name) => format!("{:?} {name}", object.kind()),
        (namespace, name) => format!("{:?} {namespace}/{name}", object.kind()),
    }
}

/// Reads an object, or all objects of a List.
pub(super) fn read(place: &mut Place<'_>, mut value: Value, parsed: &mut Parsed) {
    if !value.is_object() {
        let message = "a manifest is an object with apiVersion, kind and metadata";
        let remedy = "write these, or take the document out";
        parsed.findings.push(place.about("", "", message, remedy));
        return;
    }
    let (version, kind) = (text(&value, "/apiVersion"), text(&value, "/kind"));
    if (version, kind) == ("v1", "List") {
        return read_list(place, &mut value, parsed);
    }
    let (version, kind) = (version.to_owned(), kind.to_owned());
    let namespaced = !OF_CLUSTER.contains(&kind.as_str());
    if namespaced {
        fill_namespace(&mut value);
    }
    place.object = match (namespaced, text(&value, "/metadata/name")) {
        (true, name) => format!("{kind} {}/{name}", text(&value, "/metadata/namespace")),
        (false, name) => format!("{kind} {name}"),
    };
    let object = one(place, (version.as_str(), kind.as_str()), value, parsed);
    if let Some(object) = object {
        parsed.objects.push(Located {
            file: place.file.to_owned(),
            line: place.line(),
            object,
        });
    }
}

/// An object of that version and kind, if there is nothing wrong with it.
fn one(
    place: &Place<'_>,
    (version, kind): (&str, &str),
    value: Value,
    parsed: &mut Parsed,
) -> Option<Object> {
    match (version, kind) {
        ("tcpforward.dev/v1alpha1", "TcpForward") => {
            let findings = validate::tcp_forward(&value);
            tell(place, findings, parsed).then_some(Object::TcpForward(value))
        }
        ("tcpforward.dev/v1alpha1", "DataPlane") => {
            let mut findings = outside(&value);
            findings.extend(validate::data_plane(&value));
            tell(place, findings, parsed).then_some(Object::DataPlane(value))
        }
        ("v1", "Namespace") => {
            decode::<Namespace>(place, &value, |_| outside(&value), parsed).map(|namespace| {
                Object::Namespace {
                    name: namespace.metadata.name.unwrap_or_default(),
                    labels: namespace.metadata.labels.unwrap_or_default(),
                }
            })
        }
        ("v1", "Service") => decode::<Service>(place, &value, builtin::service, parsed)
            .map(|service| Object::Service(Box::new(service))),
        ("v1", "Secret") => match secret::read(&value) {
            Ok(secret) => Some(Object::Secret(secret)),
            Err(findings) => {
                tell(place, findings, parsed);
                None
            }
        },
        (
            "gateway.networking.k8s.io/v1" | "gateway.networking.k8s.io/v1beta1",
            "ReferenceGrant",
        ) => match grant::read(&value) {
            Ok(grant) => Some(Object::ReferenceGrant(grant)),
            Err(findings) => {
                tell(place, findings, parsed);
                None
            }
        },
        ("discovery.k8s.io/v1", "EndpointSlice") => {
            decode::<EndpointSlice>(place, &value, builtin::slice, parsed)
                .map(|slice| Object::EndpointSlice(Box::new(slice)))
        }
        _ => {
            parsed.findings.push(unknown(place, version, kind));
            None
        }
    }
}

fn read_list(place: &Place<'_>, value: &mut Value, parsed: &mut Parsed) {
    let Some(Value::Array(items)) = value.get_mut("items").map(Value::take) else {
        let finding = place.about("items", "", "a List needs items", "write the objects there");
        return parsed.findings.push(finding);
    };
    for (i, item) in items.into_iter().enumerate() {
        let prefix = match place.prefix {
            "" => format!("items[{i}]"),
            prefix => format!("{prefix}.items[{i}]"),
        };
        let mut place = Place {
            prefix: &prefix,
            object: String::new(),
            ..*place
        };
        read(&mut place, item, parsed);
    }
}

fn unknown(place: &Place<'_>, version: &str, kind: &str) -> super::Finding {
    let (field, value, message) = match (version, kind) {
        ("", _) => ("apiVersion", "", "apiVersion is required".to_owned()),
        (_, "") => ("kind", "", "kind is required".to_owned()),
        (
            _,
            "TcpForward" | "DataPlane" | "Service" | "EndpointSlice" | "ReferenceGrant" | "Secret"
            | "Namespace",
        ) => (
            "apiVersion",
            version,
            format!("this version of {kind} is not known"),
        ),
        _ => ("kind", kind, "this kind is not used here".to_owned()),
    };
    let remedy = "known are TcpForward and DataPlane of tcpforward.dev/v1alpha1, Service, Secret, Namespace \
                  and List of v1, EndpointSlice of discovery.k8s.io/v1, and ReferenceGrant of \
                  gateway.networking.k8s.io/v1 or v1beta1; take everything else out";
    let value = match value {
        "" => String::new(),
        value => format!("{value:?}"),
    };
    place.about(field, &value, message, remedy)
}

/// Kinds without a namespace.
const OF_CLUSTER: [&str; 2] = ["DataPlane", "Namespace"];

/// What has no namespace must not say one.
fn outside(value: &Value) -> Vec<validate::Finding> {
    let namespace = value.pointer("/metadata/namespace");
    let said = namespace
        .filter(|namespace| !namespace.is_null())
        .into_iter();
    said.map(|namespace| {
        validate::Finding::new(
            "metadata.namespace",
            Some(namespace),
            "this kind has none",
            "take it out",
        )
    })
    .collect()
}

/// An absent namespace is `default`, as for kubectl.
fn fill_namespace(value: &mut Value) {
    if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
        let namespace = metadata.entry("namespace").or_insert(Value::Null);
        if namespace.is_null() {
            *namespace = json!("default");
        }
    }
}

/// Notes the findings; whether there were none.
fn tell(place: &Place<'_>, findings: Vec<validate::Finding>, parsed: &mut Parsed) -> bool {
    let fine = findings.is_empty();
    for finding in findings {
        let validate::Finding {
            path,
            value,
            message,
            remedy,
        } = finding;
        parsed
            .findings
            .push(place.about(&path, &value, message, remedy));
    }
    fine
}

/// Decodes a built-in object; what does not come back when it is encoded again was unknown.
fn decode<T: DeserializeOwned + Serialize>(
    place: &Place<'_>,
    value: &Value,
    check: impl FnOnce(&T) -> Vec<validate::Finding>,
    parsed: &mut Parsed,
) -> Option<T> {
    let mut findings = validate::metadata(value);
    let decoded = match serde_json::from_value::<T>(value.clone()) {
        Ok(decoded) => decoded,
        Err(error) => {
            let remedy = "compare it with `kubectl explain`";
            findings.push(validate::Finding::new("", None, error.to_string(), remedy));
            tell(place, findings, parsed);
            return None;
        }
    };
    let known = serde_json::to_value(&decoded).unwrap_or_default();
    lost(value, &known, "", &mut findings);
    findings.extend(check(&decoded));
    tell(place, findings, parsed).then_some(decoded)
}

fn lost(written: &Value, known: &Value, path: &str, findings: &mut Vec<validate::Finding>) {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            for (key, value) in written.iter().filter(|(_, value)| !value.is_null()) {
                let path = match path {
                    "" => key.clone(),
                    path => format!("{path}.{key}"),
                };
                match known.get(key) {
                    Some(known) => lost(value, known, &path, findings),
                    // Metadata has its own check.
                    None if path.starts_with("metadata.") => {}
                    None => findings.push(validate::Finding::new(
                        path,
                        Some(value),
                        "unknown field",
                        "check the spelling, or take it out",
                    )),
                }
            }
        }
        (Value::Array(written), Value::Array(known)) => {
            for (i, (written, known)) in written.iter().zip(known).enumerate() {
                lost(written, known, &format!("{path}[{i}]"), findings);
            }
        }
        _ => {}
    }
}
