//! Pure. The definition that is installed: what kube derives from the types, made tidy.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde::ser::Error as _;
use serde_json::Value;

use super::{DataPlane, TcpForward};

/// The kinds of this API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A pool.
    DataPlane,
    /// What a pool serves.
    TcpForward,
}

impl Kind {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::DataPlane, Self::TcpForward];

    /// The file of its definition in `crds/`.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::DataPlane => "tcpforward.dev_dataplanes.yaml",
            Self::TcpForward => "tcpforward.dev_tcpforwards.yaml",
        }
    }

    fn derived(self) -> CustomResourceDefinition {
        match self {
            Self::DataPlane => DataPlane::crd(),
            Self::TcpForward => TcpForward::crd(),
        }
    }
}

/// The CustomResourceDefinition, as it is committed and installed.
///
/// # Panics
/// Never: the derived definition is made of JSON objects, which a test builds.
#[must_use]
pub fn definition(kind: Kind) -> CustomResourceDefinition {
    #[expect(
        clippy::expect_used,
        reason = "a constant of this program, built by a test"
    )]
    let mut json = serde_json::to_value(kind.derived()).expect("a definition is JSON");
    tidy(&mut json);
    #[expect(
        clippy::expect_used,
        reason = "a constant of this program, built by a test"
    )]
    serde_json::from_value(json).expect("a tidied definition is a definition")
}

/// The schema of a kind, rules included.
#[must_use]
pub fn schema(kind: Kind) -> Value {
    let versions = definition(kind).spec.versions.into_iter();
    let mut schemas = versions.filter_map(|version| version.schema?.open_api_v3_schema);
    let schema = schemas.next().map(serde_json::to_value);
    let mut json = schema.and_then(Result::ok).unwrap_or_default();
    plain_numbers(&mut json);
    json
}

/// The definition as the YAML of `crds/`.
///
/// # Errors
/// Never, but the serializer can't know.
pub fn yaml(kind: Kind) -> Result<String, serde_saphyr::ser::Error> {
    let mut json =
        serde_json::to_value(definition(kind)).map_err(serde_saphyr::ser::Error::custom)?;
    plain_numbers(&mut json);
    let yaml = serde_saphyr::to_string(&json)?;
    Ok(format!(
        "# Generated from operator/src/crd.rs by `make generate`; not to be edited.\n{yaml}"
    ))
}

/// Absent is the only way to say nothing, so no field is nullable; a description is one line.
fn tidy(json: &mut Value) {
    match json {
        Value::Object(map) => {
            if map.get("nullable") == Some(&Value::Bool(true)) {
                map.remove("nullable");
            }
            if let Some(Value::String(description)) = map.get_mut("description") {
                *description = description.replace('\n', " ");
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(list) => list.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// Bounds are floats in the types of Kubernetes; people read `65535`, not `65535.0`.
fn plain_numbers(json: &mut Value) {
    match json {
        Value::Object(map) => map.values_mut().for_each(plain_numbers),
        Value::Array(list) => list.iter_mut().for_each(plain_numbers),
        Value::Number(number) => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "bounds of ports, lengths, counts"
            )]
            let whole = number
                .as_f64()
                .filter(|f| f.fract() == 0.0)
                .map(|f| f as i64);
            if let Some(whole) = whole {
                *json = whole.into();
            }
        }
        _ => {}
    }
}
